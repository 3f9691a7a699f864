"""`certmix pareto`: the alpha-sigma frontier at fixed clean accuracy, from stored draws or published logs."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast

import typer

from certmix.cli import values
from certmix.cli.command import command, option, option_names, refuse_others
from certmix.cli.options import (
    CERTIFICATES,
    AccurateVoteOption,
    CertifiedVotesOption,
    CertifierOption,
    ConfidencesOption,
    FailureProbabilityOption,
    IntervalOption,
    LipschitzOption,
    MeanBoundOption,
    PromiseOptions,
    RadiiOption,
    RunsArgument,
    SeedOption,
    StemOption,
)
from certmix.cli.output import Output
from certmix.cli.root import app
from certmix.cli.values import choice

if TYPE_CHECKING:
    from certmix.pareto import Candidate

RULES = ("linear", "threshold")
_SWEEP = option_names(Output) | {"baseline", "target", "mode", "choose_on", "seed", "rule", "accurate_vote"}
_SWEEP |= {"certifier", "radii", "out"}
_CAPTION = "Certified accuracy in %, rounded down, at radii in pixel units. "  # of a paper's table, before the remarks


@command(app, "pareto")
def pareto_command(
    context: typer.Context,
    *,
    runs: RunsArgument = None,
    log: Annotated[
        list[str] | None, typer.Option("--log", metavar="FILE:SIGMA", help="Published certification log; repeatable.")
    ] = None,
    accurate_log: Annotated[
        Path | None, typer.Option("--accurate-log", metavar="FILE", help="Log of the accurate model's predictions.")
    ] = None,
    printed_rounding: Annotated[
        str,
        option(
            "--printed-rounding",
            "HOW",
            "A log's radii: down (half a printed digit off) or trust.",
            choice("down", "trust"),
        ),
    ] = "down",
    baseline: Annotated[
        float | None,
        typer.Option(
            "--baseline", metavar="SIGMA", help="Sigma whose clean accuracy at weight 1 is kept.", parser=values.SIGMA
        ),
    ] = None,
    target: Annotated[
        float | None,
        typer.Option("--target", metavar="ACC", help="Clean accuracy to keep, in [0, 1].", parser=values.WEIGHT),
    ] = None,
    mode: Annotated[
        str,
        typer.Option(
            "--mode",
            metavar="NAME",
            help="all (weights that keep it) or matched (nearest above it).",
            parser=values.choice("all", "matched"),
        ),
    ] = "all",
    choose_on: Annotated[
        float | None,
        typer.Option(
            "--choose-on", metavar="SHARE", help="Choose on this share, report on the rest.", parser=values.SHARE
        ),
    ] = None,
    seed: SeedOption = 0,
    adaptive: Annotated[
        bool, typer.Option("--adaptive", help="Add the adaptive mixtures stored in the runs, floor as the weight.")
    ] = False,
    rule: Annotated[
        list[str] | None,
        option("--rule", "NAME", f"{', '.join(RULES)}; repeatable, linear by default.", choice(*RULES), CERTIFICATES),
    ] = None,
    accurate_vote: AccurateVoteOption = "class",
    certifier: CertifierOption = None,
    failure_probability: FailureProbabilityOption = None,
    certify_votes: CertifiedVotesOption = None,
    confidence: ConfidencesOption = None,
    mean_bound: MeanBoundOption = "betting",
    interval: IntervalOption = "pair",
    lipschitz: LipschitzOption = None,
    radii: RadiiOption = None,
    out: StemOption = None,
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

    votes_of_g = cast(Any, accurate_vote)
    if log:
        refuse_others(context, "pareto --log", _SWEEP | {"log", "accurate_log", "printed_rounding"})
        candidates = _from_logs(log, accurate_log, printed_rounding)
    else:
        own = {"runs", "adaptive", "failure_probability", "interval", "certify_votes", "mean_bound", "confidence"}
        own |= {"lipschitz"}
        refuse_others(context, "pareto RUN", _SWEEP | own)
        spent = PromiseOptions(
            certifier=certifier, failure_probability=failure_probability, interval=interval,
            certify_votes=certify_votes, mean_bound=mean_bound, lipschitz=lipschitz,
        )  # fmt: skip
        candidates = _from_runs(runs, spent, adaptive, confidence or [])
    results = [
        pareto_frontier(
            candidates,
            rules=rule or ["linear"],
            accurate_vote=votes_of_g,
            baseline=baseline,
            target=target,
            certifier=name,
            radii=radii.values if radii else None,
            mode=cast(Any, mode),
            split=choose_on,
            seed=seed,
        )
        for name in certifier or (None,)
    ]
    files = write_sweep(results, out) if out is not None else []
    sweeps = [result.to_json() for result in results]
    said = remarks(results[0], bool(log))
    tables = "\n\n".join(sweep_table(result, output.table_format, _CAPTION + " ".join(said)) for result in results)
    notes = [*said, *([f"Written: {', '.join(files)}"] if files else [])]
    output.show({**sweeps[0], "sweeps": sweeps, "files": files}, tables, notes)


def _from_runs(
    runs: list[Path] | None, promise: PromiseOptions, adaptive: bool, confidences: list[float]
) -> "list[Candidate]":
    from certmix.adaptive.certification import adaptive_candidate, read_gate
    from certmix.errors import InvalidArgument
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
        for kappa in () if run.statistics.draws.confidence else confidences:
            found.append(candidate_from_statistics(run.statistics, **{**how, "votes": None}, confidence=kappa))  # type: ignore[arg-type]
        weights = read_gate(*run.folders) if adaptive else None
        if weights is not None:
            found.append(adaptive_candidate(run.statistics, weights, **how))  # type: ignore[arg-type]
    if adaptive and all(candidate.kind == "fixed" for candidate in found):
        raise InvalidArgument("--adaptive needs a run with an adaptive mixture; certify one with --mixture.")
    return found


def _from_logs(logs: list[str], accurate_log: Path | None, rounding: str) -> "list[Candidate]":
    import numpy as np

    from certmix.errors import InvalidArgument
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
