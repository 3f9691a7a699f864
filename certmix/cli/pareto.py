"""`certmix pareto`: the alpha-sigma frontier at fixed clean accuracy, from stored draws or published logs."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, cast

import typer

from certmix.cli import options, values
from certmix.cli.command import command, option, option_names, own, refuse_others
from certmix.cli.output import Output
from certmix.cli.root import app
from certmix.errors import InvalidArgument

if TYPE_CHECKING:
    from certmix.pareto import Candidate

RULES = ("linear", "threshold")
_CAPTION = "Certified accuracy in %, rounded down, at radii in pixel units. "  # of a paper's table, before the remarks


@dataclass(frozen=True)
class LogOptions:
    """Published logs, in place of runs."""

    panel: ClassVar[str] = "Options"
    log: list[str] | None = own(None, "--log", "FILE:SIGMA", "Published certification log; repeatable.")
    accurate_log: Path | None = own(None, "--accurate-log", "FILE", "Log of the accurate model's predictions.")
    printed_rounding: str = own(
        "down", "--printed-rounding", "HOW", "A log's radii: down (half a printed digit off) or trust.",
        values.choice("down", "trust"),
    )  # fmt: skip


@dataclass(frozen=True)
class SweepOptions:
    """What is kept, and on which inputs that is chosen."""

    panel: ClassVar[str] = "Options"
    baseline: float | None = own(
        None, "--baseline", "SIGMA", "Sigma whose clean accuracy at weight 1 is kept.", values.SIGMA
    )
    target: float | None = own(None, "--target", "ACC", "Clean accuracy to keep, in [0, 1].", values.WEIGHT)
    mode: str = own(
        "all", "--mode", "NAME", "all (weights that keep it) or matched (nearest above it).",
        values.choice("all", "matched"),
    )  # fmt: skip
    choose_on: float | None = own(
        None, "--choose-on", "SHARE", "Choose on this share, report on the rest.", values.SHARE
    )
    seed: options.SeedOption = 0


@dataclass(frozen=True)
class PairOptions(options.CertifierOptions):
    """Rules, and how they are certified."""

    rule: list[str] | None = own(
        None, "--rule", "NAME", f"{', '.join(RULES)}; repeatable, linear by default.", values.choice(*RULES)
    )
    accurate_vote: options.AccurateVoteOption = "class"
    confidence: options.ConfidencesOption = None


_SWEEP = option_names(Output, SweepOptions) | {"rule", "accurate_vote", "certifier", "radii", "out"}
_OF_RUNS = option_names(PairOptions) | {"runs", "adaptive"}


@command(app, "pareto")
def pareto_command(
    context: typer.Context,
    *,
    runs: options.RunsArgument = None,
    logs: LogOptions,
    sweep: SweepOptions,
    adaptive: Annotated[
        bool, option("--adaptive", None, "Add the adaptive mixtures stored in the runs, floor as the weight.")
    ] = False,
    spent: PairOptions,
    radii: options.RadiiOption = None,
    out: options.StemOption = None,
    output: Output,
) -> None:
    """Sweep weights and sigmas at one clean accuracy: the frontier.

    \b
    From stored draws, or from published logs without any model:
      certmix pareto runs/quarter runs/half runs/one --baseline 0.25 --out figures/frontier
      certmix pareto --log s25.tsv:0.25 --log s50.tsv:0.5 --accurate-log g.tsv --baseline 0.25
    """
    from certmix.cli.frontier import remarks, sweep_table, write_sweep
    from certmix.pareto import pareto_frontier

    if logs.log:
        refuse_others(context, "pareto --log", _SWEEP | option_names(LogOptions))
        candidates = _from_logs(logs.log, logs.accurate_log, logs.printed_rounding)
    else:
        refuse_others(context, "pareto RUN", _SWEEP | _OF_RUNS)
        candidates = _from_runs(runs, spent, adaptive)
    results = [
        pareto_frontier(
            candidates,
            rules=spent.rule or ["linear"],
            accurate_vote=cast(Any, spent.accurate_vote),
            baseline=sweep.baseline,
            target=sweep.target,
            certifier=name,
            radii=radii.values if radii else None,
            mode=cast(Any, sweep.mode),
            split=sweep.choose_on,
            seed=sweep.seed,
        )
        for name in spent.certifier or (None,)
    ]
    files = write_sweep(results, out) if out is not None else []
    sweeps = [result.to_json() for result in results]
    said = remarks(results[0], bool(logs.log))
    tables = "\n\n".join(sweep_table(result, output.table_format, _CAPTION + " ".join(said)) for result in results)
    notes = [*said, *([f"Written: {', '.join(files)}"] if files else [])]
    output.show({**sweeps[0], "sweeps": sweeps, "files": files}, tables, notes)


def _from_runs(runs: list[Path] | None, promise: PairOptions, adaptive: bool) -> "list[Candidate]":
    from certmix.adaptive.certification import adaptive_candidate, read_gate
    from certmix.pareto import candidate_from_statistics
    from certmix.runs.grouping import read_runs

    if not runs:
        raise InvalidArgument("pareto needs run folders, or --log FILE:SIGMA with --accurate-log FILE; see --help.")
    promise.check_lipschitz()
    votes, constant = promise.certify_votes, promise.lipschitz
    found: list[Candidate] = []
    for run in read_runs(runs):
        how = {
            "failure_probability": promise.failure_probability,
            "interval": promise.interval,
            "votes": votes if constant is None else votes or "soft",
            "distributions": "cdf" in promise.certifiers,
        }
        bound = cast(Any, promise.mean_bound)
        found.append(candidate_from_statistics(run.statistics, mean_bound=bound, lipschitz=constant, **how))  # type: ignore[arg-type]
        for kappa in () if run.statistics.draws.confidence else promise.confidence or []:
            found.append(candidate_from_statistics(run.statistics, **{**how, "votes": None}, confidence=kappa))  # type: ignore[arg-type]
        weights = read_gate(*run.folders) if adaptive else None
        if weights is not None:
            found.append(adaptive_candidate(run.statistics, weights, **how))  # type: ignore[arg-type]
    if adaptive and all(candidate.kind == "fixed" for candidate in found):
        raise InvalidArgument("--adaptive needs a run with an adaptive mixture; certify one with --mixture.")
    return found


def _from_logs(logs: list[str], accurate_log: Path | None, rounding: str) -> "list[Candidate]":
    import numpy as np

    from certmix.formats.certification_log import read_certification_log, read_predictions
    from certmix.pareto import candidate_from_log

    if accurate_log is None:
        raise InvalidArgument("--log needs --accurate-log FILE.")
    indices, _, predictions = read_predictions(accurate_log)
    candidates = []
    for text in logs:
        path, _, sigma = text.rpartition(":")
        try:
            bounds = read_certification_log(path, sigma=float(sigma), printed_rounding=cast(Any, rounding))
        except ValueError as error:
            if isinstance(error, InvalidArgument):
                raise
            raise InvalidArgument(f"--log must be FILE:SIGMA, got {text!r}; for example log.tsv:0.5.") from None
        if bounds.indices is None or not np.array_equal(bounds.indices, indices):
            raise InvalidArgument(f"{path} and {accurate_log} must be over the same inputs, got different idx columns.")
        candidates.append(candidate_from_log(bounds, predictions))
    return candidates
