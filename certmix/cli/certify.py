"""`certmix certify`: radii at any weight by any certifier, from stored draws, from new ones, or from a table of votes."""

import shlex
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from certmix.cli import options
from certmix.cli.command import command, need, option, option_names, refuse_others
from certmix.cli.exits import if_stopped
from certmix.cli.output import Output
from certmix.cli.root import app
from certmix.cli.values import Numbers, choice
from certmix.errors import InvalidArgument

if TYPE_CHECKING:
    from certmix.certification.certify import Certificates
    from certmix.rules import Rule
    from certmix.runs.grouping import Run

MixtureOption = Annotated[
    str | None, option("--mixture", "FILE", "Adaptive mixture: certify at its floor too.", None, options.Sources.panel)
]
CountsOption = Annotated[
    str | None,
    option("--counts", "FILE[,selection=FILE]", "Text table of votes made elsewhere.", None, options.Sources.panel),
]
NORMS = ("l1", "l2", "linf")
BallOption = Annotated[
    str | None,
    option(
        "--norm",
        "NAME",
        "Radii of the table in l1, l2 or linf; the noise's own if none.",
        choice(*NORMS),
        options.OUTPUT,
    ),
]
_ANSWER = option_names(options.PromiseOptions, Output) | {"out", "radii", "norm"}


@command(app, "certify")
def certify_command(
    context: typer.Context,
    *,
    runs: options.RunsArgument = None,
    counts: CountsOption = None,
    sources: options.Sources,
    mixture: MixtureOption = None,
    draws: options.DrawOptions,
    execution: options.ExecutionOptions,
    promise: options.PromiseOptions,
    out: options.RunOption = None,
    force: options.ForceOption = False,
    radii: options.RadiiOption = None,
    norm: BallOption = None,
    output: Output,
) -> None:
    """Certify radii of the mixed classifier, whatever g does.

    \b
    Stored draws, without any model; --out takes what is derived of several parts:
      certmix certify runs/half --mixing-weight 0.9 --certifier exact --certifier theorem-a1
      certmix certify runs/part-0 runs/part-1 --out certified
    With a model, draws what is missing in --out first (as certmix sample):
      certmix certify --robust h.safetensors --accurate g.safetensors --dataset digits \\
        --sigma 0.5 --out runs/half --mixing-weight 0.79 --mixing-weight 1 --max 300
    A table of votes made elsewhere (per line: a count per class, then the label):
      certmix certify --counts counts.txt --sigma 0.5
    Radii are in l2, or in l1 for runs of splitting noise; --norm linf shows what they say about another norm.
    An adaptive mixture is certified at the floor of its gate; clean accuracy is at the gate itself:
      certmix certify --robust h.safetensors --accurate g.safetensors --mixture mixture.safetensors \\
        --dataset digits --sigma 0.5 --out runs/half
    """
    if counts is not None:
        from certmix.cli.counts import certify_counts

        own = option_names(Output) | {"mixing_weight", "threshold", "certifier", "failure_probability", "interval"}
        refuse_others(context, "certify --counts", own | {"counts", "sigma", "out", "force", "radii"})
        need("certify --counts", sigma=draws.sigma)
        certify_counts(counts, draws.sigma or 0.0, promise, radii, output, out=out, force=force)
    elif runs:
        refuse_others(context, "certify RUN", _ANSWER | {"runs", "force"})
        certify_runs(runs, promise, radii, output, out=out, force=force, norm=norm)
    else:
        sampling = _ANSWER | option_names(options.Sources, options.DrawOptions, options.ExecutionOptions) | {"mixture"}
        refuse_others(context, "certify --robust", sampling)
        need("without run folders, certify", robust=sources.robust, dataset=sources.dataset, **draws.scale, out=out)
        assert out is not None
        with if_stopped():
            if draw_to_certify(sources, draws, execution, promise, mixture, out, output):
                certify_runs([out], promise, radii, output, norm=norm)


def draw_to_certify(
    sources: options.Sources,
    draws: options.DrawOptions,
    execution: options.ExecutionOptions,
    promise: options.PromiseOptions,
    mixture: str | None,
    out: Path,
    output: Output,
) -> bool:
    """Draw what a run lacks, after everything that would refuse its certificates. Returns whether this process reports."""
    from certmix.cli.adaptive.report import check_mixture, record_mixture
    from certmix.cli.sample import Plan, draw

    planned = draws.planned(promise.failure_probability, promise.interval)
    declared = promise.confidence if draws.votes == "hard" else None
    plan = Plan(sources, draws, execution, out, promise.rules(), planned, declared)
    check_promise(promise, draws)
    if mixture is not None:
        check_mixture(mixture, sources, promise.certify_votes or ("soft" if draws.votes == "soft" else "hard"))
    leads = draw(plan, output)
    if leads and mixture is not None:
        record_mixture(out, mixture, sources, execution.device)
    return leads


def check_promise(promise: options.PromiseOptions, draws: options.DrawOptions) -> None:
    """Refuse certificates that the draws asked for cannot give. Raises InvalidArgument."""
    from certmix.certifiers import check_noise, get_certifier

    promise.able(promise.rules())
    soft = draws.votes != "hard"
    for name in promise.certifier or []:
        check_noise(get_certifier(name), "l1" if draws.enumerated else "l2")
    if draws.enumerated and (soft or promise.real_valued):
        raise InvalidArgument("--noise splitting takes --votes hard, and certifies inputs on the data's grid alone.")
    promise.check_lipschitz()
    if promise.lipschitz is not None and not (soft and draws.noise == "float"):
        raise InvalidArgument(
            "--certifier lipschitz-smoothed needs --votes soft or both, and --noise float (rounding to a grid jumps), got "
            f"--votes {draws.votes} and --noise {draws.noise}."
        )
    if promise.certify_votes == "soft" and not soft:
        raise InvalidArgument("--certify-votes soft needs --votes soft or both, got hard.")
    if "cdf" in promise.certifiers and not soft:
        raise InvalidArgument("--certifier cdf needs --votes soft or both, got hard.")
    if "cdf" in promise.certifiers and promise.interval != "pair":
        raise InvalidArgument(f"--certifier cdf needs --interval pair, got {promise.interval}; it bounds every rival.")
    if promise.real_valued and draws.noise == "float":
        raise InvalidArgument("--real-valued needs integer noise, got --noise float.")


def certify_runs(
    folders: Sequence[Path],
    promise: options.PromiseOptions,
    radii: Numbers | None,
    output: Output,
    *,
    out: Path | None = None,
    force: bool = False,
    norm: str | None = None,
) -> None:
    """Certify stored draws, write what is derived of them beside them (or into `out`), and print the table."""
    from certmix.cli.accuracy import accuracy_rows, accuracy_table, caption, describe
    from certmix.cli.adaptive.report import summarise_adaptive
    from certmix.rules import LinearRule
    from certmix.runs.grouping import read_runs

    found = read_runs(folders)
    targets = [derived_folder(run, out, len(found)) for run in found]
    adaptive = summarise_adaptive(folders, promise.certify_votes)  # type: ignore[arg-type]  # checked while parsing
    floors: list[Rule] = [LinearRule(floor) for floor in sorted({entry["floor"] for entry in adaptive})]
    asked = promise.rules() if promise.mixing_weight or promise.threshold or not floors else []
    wanted = list(dict.fromkeys([*asked, *floors]))
    rows: list[dict[str, Any]] = []
    runs, captions, written = [], list[str](), list[str]()
    for run, target in zip(found, targets, strict=True):
        made, draws = promise.certify(run.statistics, wanted), run.statistics.draws
        shown = [one.in_norm(norm or draws.norm, draws.size) for one in made]  # type: ignore[arg-type]
        rows += accuracy_rows(shown, radii, run.statistics)
        files = publish(run, target, made, radii, force=force)
        promises = [one.promise for one in made if one.promise is not None]
        stated = next((one for one in promises if one.lipschitz is not None), promises[0])  # the one that supposes most
        runs.append(describe(run, stated, files))
        captions.append(caption(run, stated))
        written += files
    captions += promise.left_out(wanted)
    values = {"runs": runs, "certified_accuracy": rows, **({"adaptive": adaptive} if adaptive else {})}
    notes = [*(entry["text"] for entry in adaptive), *captions, f"Written: {', '.join(written)}"]
    output.show(values, accuracy_table(rows, output.table_format, captions), notes)


def publish(
    run: "Run", folder: Path, made: "Sequence[Certificates]", radii: Numbers | None, *, force: bool = False
) -> list[str]:
    """Write a run's certificates, its logs, result.json and model_card.md as one set, and return their paths."""
    from certmix.cli.accuracy import accuracy_rows, accuracy_table
    from certmix.formats.certificates import write_certificates
    from certmix.formats.result import result_of, result_text
    from certmix.report.card import model_card

    table = accuracy_table(accuracy_rows(made, radii, run.statistics), "markdown")
    promises = [one.promise for one in made if one.promise is not None]
    beside = () if folder in run.folders else ("--certificates", str(folder))
    check = ["certmix", "verify", *map(str, run.folders), *beside, "--sample", "16"]
    commands = [shlex.join(words) for words in (["certmix", *sys.argv[1:]], check)]
    summaries = {
        "result.json": result_text(result_of(run.statistics, made, radii.values if radii else None)),
        "model_card.md": model_card(run, promises, table, commands),
    }
    return write_certificates(folder, made, seconds=run.statistics.seconds, summaries=summaries, force=force)


def derived_folder(run: "Run", out: Path | None, runs: int) -> Path:
    """Where certificates of a run go: beside its draws, or into `out`, which is in no other run's folder.

    Args:
        run: of which they are.
        out: of the command line.
        runs: how many runs there are.
    Raises: InvalidArgument: parts without `out`, several runs with it, or a folder of other draws.
    """
    if out is None:
        if len(run.folders) > 1:
            raise InvalidArgument(f"{run.name} are parts of one run: give --out FOLDER for what is derived of them.")
        return run.folders[0]
    if runs > 1:
        raise InvalidArgument(f"--out takes what is derived of one run, got {runs} runs of other draws; certify each.")
    outside_runs(out, own=run.folders)
    return out


def outside_runs(out: Path, own: Sequence[Path] = ()) -> None:
    """Refuse a folder that is, or lies in, a run's, but for the one folder of a run's own. Raises InvalidArgument."""
    from certmix.runs.manifest import MANIFEST

    for folder in (out, *out.absolute().parents):
        if (folder / MANIFEST).exists() and [folder.resolve()] != [part.resolve() for part in own]:
            raise InvalidArgument(f"--out must not be in another run's folder, got {out} in {folder}; choose another.")
