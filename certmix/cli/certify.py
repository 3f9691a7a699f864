"""`certmix certify`: radii at any weight by any certifier, from stored draws, from new ones, or from a table of votes."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from certmix.cli import app
from certmix.cli.command import command, need, option_names, refuse_others
from certmix.cli.options import (
    DrawOptions,
    ExecutionOptions,
    ForceOption,
    PromiseOptions,
    RadiiOption,
    RunOption,
    RunsArgument,
    Sources,
)
from certmix.cli.output import Output
from certmix.cli.values import Numbers

MixtureOption = Annotated[
    str | None,
    typer.Option(
        "--mixture", metavar="FILE", help="Adaptive mixture: certify at its floor too.", rich_help_panel=Sources.panel
    ),
]
_ANSWER = option_names(PromiseOptions, Output) | {"out", "radii"}


@command(app, "certify")
def certify_command(
    context: typer.Context,
    *,
    runs: RunsArgument = None,
    counts: Annotated[
        str | None,
        typer.Option(
            "--counts",
            metavar="FILE[,selection=FILE]",
            help="Text table of votes made elsewhere.",
            rich_help_panel=Sources.panel,
        ),
    ] = None,
    sources: Sources,
    mixture: MixtureOption = None,
    draws: DrawOptions,
    execution: ExecutionOptions,
    promise: PromiseOptions,
    out: RunOption = None,
    force: ForceOption = False,
    radii: RadiiOption = None,
    output: Output,
) -> None:
    """Certify l2 radii of the mixed classifier, whatever g does.

    \b
    Stored draws, without any model; --out takes what is derived of several parts:
      certmix certify runs/half --mixing-weight 0.9 --certifier exact --certifier theorem-a1
      certmix certify runs/part-0 runs/part-1 --out certified
    With a model, draws what is missing in --out first (as certmix sample):
      certmix certify --robust h.safetensors --accurate g.safetensors --dataset digits \\
        --sigma 0.5 --out runs/half --mixing-weight 0.79 --mixing-weight 1 --max 300
    A table of votes made elsewhere (per line: a count per class, then the label):
      certmix certify --counts counts.txt --sigma 0.5
    An adaptive mixture is certified at the floor of its gate; clean accuracy is at the gate itself:
      certmix certify --robust h.safetensors --accurate g.safetensors --mixture mixture.safetensors \\
        --dataset digits --sigma 0.5 --out runs/half
    """
    if counts is not None:
        from certmix.cli.counts import certify_counts

        own = option_names(Output) | {"mixing_weight", "certifier", "failure_probability", "interval"}
        refuse_others(context, "certify --counts", own | {"counts", "sigma", "out", "force", "radii"})
        need("certify --counts", sigma=draws.sigma)
        certify_counts(counts, draws.sigma or 0.0, promise, radii, output, out=out, force=force)
    elif runs:
        refuse_others(context, "certify RUN", _ANSWER | {"runs"})
        certify_runs(runs, promise, radii, output, out=out)
    else:
        sampling = _ANSWER | option_names(Sources, DrawOptions, ExecutionOptions) | {"mixture"}
        refuse_others(context, "certify --robust", sampling)
        need("without run folders, certify", robust=sources.robust, dataset=sources.dataset, sigma=draws.sigma, out=out)
        assert out is not None
        if draw_to_certify(sources, draws, execution, promise, mixture, out, output):
            certify_runs([out], promise, radii, output)


def draw_to_certify(
    sources: Sources,
    draws: DrawOptions,
    execution: ExecutionOptions,
    promise: PromiseOptions,
    mixture: str | None,
    out: Path,
    output: Output,
) -> bool:
    """Draw what a run lacks, after everything that would refuse its certificates. Returns whether this process reports."""
    from certmix.certification.certify import DEFAULT_FAILURE_PROBABILITY
    from certmix.cli.adaptive_report import check_mixture, record_mixture
    from certmix.cli.sample import Plan, draw

    err = DEFAULT_FAILURE_PROBABILITY if promise.failure_probability is None else promise.failure_probability
    plan = Plan(sources, draws, execution, out, tuple(promise.weights), err, promise.interval)
    check_promise(promise, draws)
    if mixture is not None:
        check_mixture(mixture, robust=str(sources.robust), accurate=sources.accurate)
    leads = draw(plan, output)
    if leads and mixture is not None:
        part = {"split": sources.split, "skip": sources.skip, "max": sources.max_inputs, "indices": sources.indices}
        choice = {**part, "spec": sources.dataset, "trust_model": sources.trust_model}
        record_mixture(out, mixture, dataset=choice, robust=str(sources.robust), accurate=sources.accurate)
    return leads


def check_promise(promise: PromiseOptions, draws: DrawOptions) -> None:
    """Refuse certificates that the draws asked for cannot give. Raises InvalidArgument."""
    from certmix.errors import InvalidArgument

    soft = draws.votes != "hard"
    if promise.certify_votes == "soft" and not soft:
        raise InvalidArgument("--certify-votes soft needs --votes soft or both, got hard.")
    if "cdf" in promise.certifiers and not soft:
        raise InvalidArgument("--certifier cdf needs --votes soft or both, got hard.")
    if "cdf" in promise.certifiers and promise.interval != "pair":
        raise InvalidArgument(f"--certifier cdf needs --interval pair, got {promise.interval}; it bounds every rival.")
    if promise.real_valued and draws.noise == "float":
        raise InvalidArgument("--real-valued needs integer noise, got --noise float.")


def certify_runs(
    folders: Sequence[Path], promise: PromiseOptions, radii: Numbers | None, output: Output, *, out: Path | None = None
) -> None:
    """Certify stored draws, write certificates.parquet and the Cohen-format logs, and print the table."""
    from certmix.cli.accuracy import accuracy_rows, accuracy_table, caption, describe
    from certmix.cli.adaptive_report import summarise_adaptive
    from certmix.cli.derived import derived_folder, write_certificates
    from certmix.runs.grouping import read_runs

    found = read_runs(folders)
    targets = [derived_folder(run, out, len(found)) for run in found]
    adaptive = summarise_adaptive(folders)
    floors = {entry["floor"] for entry in adaptive}
    weights = sorted({*(promise.mixing_weight or []), *floors}) if adaptive else promise.weights
    rows, runs = [], []
    for run, target in zip(found, targets, strict=True):
        made = [_certify(run.statistics, weights, name, promise) for name in promise.certifiers]
        rows += accuracy_rows(made, radii)
        files = write_certificates(target, run.statistics, made, rule=promise.interval, bound=promise.mean_bound)
        named = {"run": [str(folder) for folder in run.folders], "files": files}
        runs.append({**named, **describe(run, made[0])})
    values = {"interval": promise.interval, "runs": runs, "certified_accuracy": rows}
    notes = [*(entry["text"] for entry in adaptive), *map(caption, runs)]
    table = accuracy_table(rows, output.table_format)
    output.show({**values, **({"adaptive": adaptive} if adaptive else {})}, table, notes)


def _certify(statistics: Any, weights: Sequence[float], certifier: str, promise: PromiseOptions) -> Any:
    import certmix

    return certmix.certify(
        statistics,
        mixing_weight=weights,
        certifier=certifier,
        failure_probability=promise.failure_probability,
        rule=promise.interval,
        votes=promise.certify_votes,
        bound=promise.mean_bound,
        real_valued=promise.real_valued,
    )
