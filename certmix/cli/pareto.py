"""`certmix pareto`: the alpha-sigma frontier at fixed clean accuracy, from stored draws or published logs."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from certmix.cli import app
from certmix.cli.options import (
    CertifiedVotesOption,
    CertifierOption,
    FailureProbabilityOption,
    FormatOption,
    JsonOption,
    QuietOption,
    RadiiOption,
    RuleOption,
)

if TYPE_CHECKING:
    from certmix.pareto import Candidate, MatchedPair, ParetoResult


@app.command("pareto")
def pareto_command(
    runs: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[RUN]...", help="Run folders with --accurate recorded, one per sigma."),
    ] = None,
    log: Annotated[
        list[str] | None, typer.Option("--log", metavar="FILE:SIGMA", help="Published certification log; repeatable.")
    ] = None,
    accurate_log: Annotated[
        Path | None, typer.Option("--accurate-log", metavar="FILE", help="Log of the accurate model's predictions.")
    ] = None,
    baseline: Annotated[
        float | None,
        typer.Option("--baseline", metavar="SIGMA", help="Sigma whose clean accuracy at weight 1 is kept."),
    ] = None,
    target: Annotated[
        float | None,
        typer.Option("--target", metavar="ACC", help="Clean accuracy to keep, in [0, 1], without a baseline."),
    ] = None,
    certifier: CertifierOption = None,
    mode: Annotated[
        str, typer.Option("--mode", help="all (weights at or above the target) or matched (nearest above it).")
    ] = "all",
    soft_accurate: Annotated[
        bool, typer.Option("--soft-accurate", help="Mix the accurate model's softmax, not its class.")
    ] = False,
    adaptive: Annotated[
        bool, typer.Option("--adaptive", help="Add the adaptive mixtures stored in the runs, floor as the weight.")
    ] = False,
    split: Annotated[
        float | None, typer.Option("--split", metavar="SHARE", help="Choose weights on this share, report on the rest.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Of the split.")] = 0,
    failure_probability: FailureProbabilityOption = None,
    votes: CertifiedVotesOption = None,
    rule: RuleOption = "pair",
    radii: RadiiOption = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="STEM", help="Write figure, CSV and Parquet there.")
    ] = None,
    table_format: FormatOption = "markdown",
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Sweep mixing weights and sigmas at fixed clean accuracy: the best certified accuracy at each radius.

    \b
    From stored draws, or from published logs without any model:
      certmix pareto runs/quarter runs/half runs/one --baseline 0.25 --out figures/frontier
      certmix pareto --log s25.tsv:0.25 --log s50.tsv:0.5 --accurate-log g.tsv --baseline 0.25
    """
    from certmix.cli.report import check_radii
    from certmix.pareto import pareto_frontier

    wanted = check_radii(radii)
    from_runs = (runs, soft_accurate, failure_probability, rule, votes, adaptive)
    candidates = _from_logs(log, accurate_log, runs) if log else _from_runs(*from_runs)
    results = [
        pareto_frontier(
            candidates,
            baseline=baseline,
            target=target,
            certifier=name,
            radii=wanted,
            mode=mode,
            split=split,
            seed=seed,
        )
        for name in certifier or ["exact"]
    ]
    files = write_sweep(results, out) if out is not None else []
    if as_json:
        print(
            json.dumps(
                {**sweep_values(results[0]), "sweeps": [sweep_values(r) for r in results], "files": files}, indent=2
            )
        )
        return
    print("\n\n".join(sweep_table(result, table_format) for result in results))
    if not quiet:
        for line in remarks(results[0], bool(log)):
            print(line, file=sys.stderr)
        if files:
            print(f"Written: {', '.join(files)}", file=sys.stderr)


def _from_runs(
    runs: list[Path] | None,
    soft: bool,
    failure_probability: float | None,
    rule: str,
    votes: str | None,
    adaptive: bool,
) -> "list[Candidate]":
    from certmix.adaptive.certification import adaptive_candidate, read_adaptive_weights
    from certmix.errors import InvalidArgument
    from certmix.pareto import candidate_from_statistics
    from certmix.runs.grouping import read_runs

    if not runs:
        raise InvalidArgument("pareto needs run folders, or --log FILE:SIGMA with --accurate-log FILE; see --help.")
    found = []
    for run in read_runs(runs):
        folders, drawn = run.folders, run.statistics
        how = {"failure_probability": failure_probability, "rule": rule, "votes": votes}
        found.append(candidate_from_statistics(drawn, hard_accurate=not soft, **how))  # type: ignore[arg-type]
        weights = read_adaptive_weights(*folders) if adaptive else None
        if weights is not None:
            found.append(adaptive_candidate(drawn, weights, **how))  # type: ignore[arg-type]
    if adaptive and all(candidate.kind == "fixed" for candidate in found):
        raise InvalidArgument("--adaptive needs a run with an adaptive mixture; certify one with --mixture.")
    return found


def _from_logs(logs: list[str], accurate_log: Path | None, runs: list[Path] | None) -> "list[Candidate]":
    import numpy as np

    from certmix.errors import InvalidArgument
    from certmix.formats.certification_log import read_certification_log, read_predictions
    from certmix.pareto import candidate_from_log

    if accurate_log is None or runs:
        raise InvalidArgument("--log needs --accurate-log FILE, and no run folders.")
    indices, _, predictions = read_predictions(accurate_log)
    candidates = []
    for text in logs:
        path, _, sigma = text.rpartition(":")
        try:
            bounds = read_certification_log(path, sigma=float(sigma))
        except ValueError as error:
            if isinstance(error, InvalidArgument):
                raise
            raise InvalidArgument(f"--log must be FILE:SIGMA, got {text!r}; for example log.tsv:0.5.") from None
        if bounds.indices is None or not np.array_equal(bounds.indices, indices):
            raise InvalidArgument(f"{path} and {accurate_log} must be over the same inputs, got different idx columns.")
        candidates.append(candidate_from_log(bounds, predictions))
    return candidates


def sweep_values(result: "ParetoResult") -> dict[str, Any]:
    """A sweep as plain values: the object that --json prints."""

    def pair(matched: "MatchedPair") -> dict[str, Any]:
        return {
            "sigma": matched.sigma,
            "kind": matched.kind,
            "mixing_weight": matched.mixing_weight,
            "clean_accuracy": matched.clean_accuracy,
            "radii": matched.curve.radii.tolist(),
            "certified_accuracy": matched.curve.accuracy[0].tolist(),
            "lower": matched.curve.lower[0].tolist(),
            "upper": matched.curve.upper[0].tolist(),
            "p_value_against_baseline": matched.p_value.tolist() if result.baseline else None,
        }

    return {
        "certifier": result.certifier,
        "target_clean_accuracy": result.target,
        "selection": result.selection(),
        "baseline": pair(result.baseline) if result.baseline else None,
        "matched": [pair(matched) for matched in result.matched],
        "standalone": [pair(alone) for alone in result.standalone],
        "unreached": [{"sigma": sigma, "why": why} for sigma, why in result.unreached],
        "frontier": {
            "radii": result.radii.tolist(),
            "certified_accuracy": result.frontier.tolist(),
            "sigma": [result.matched[i].sigma for i in result.frontier_pair],
            "mixing_weight": [result.matched[i].mixing_weight for i in result.frontier_pair],
        },
    }


def sweep_table(result: "ParetoResult", table_format: str) -> str:
    """Certified accuracy in percent, rounded down, with intervals: a row per radius, a column per pair."""
    from certmix.certifiers import LABELS
    from certmix.tables import percent_text, render_table

    columns = [("baseline", result.baseline)] if result.baseline else []
    columns += [("matched", pair) for pair in result.matched]
    headers = [f"{LABELS[result.certifier]}: radius"]
    headers += [
        f"{kind} sigma {pair.sigma:g}, {'floor' if pair.kind == 'adaptive' else 'weight'} {pair.mixing_weight:.4g}"
        for kind, pair in columns
    ]
    rows = [["clean"] + [percent_text(pair.clean_accuracy) for _, pair in columns] + [""]]
    step = max(1, len(result.radii) // 16)
    for k in range(0, len(result.radii), step):
        cells = [
            f"{percent_text(pair.curve.accuracy[0, k])} "
            f"[{percent_text(pair.curve.lower[0, k])}, {percent_text(pair.curve.upper[0, k], up=True)}]"
            for _, pair in columns
        ]
        best = result.matched[result.frontier_pair[k]].sigma
        frontier = f"{percent_text(result.frontier[k])} (sigma {best:g})" if result.frontier[k] > 0 else "0.0"
        rows.append([f"{result.radii[k]:.3g}", *cells, frontier])
    return render_table([*headers, "frontier"], rows, table_format)


def remarks(result: "ParetoResult", from_logs: bool) -> list[str]:
    """What a reader of the table must know."""
    said = [f"Clean accuracy kept: {100 * result.target:.1f} %. {result.selection()} Intervals: 95 %, of the test set."]
    if from_logs:
        said.append(
            "Logs hold p_A only: clean accuracy takes h's other votes to be on the accurate model's class, and where h "
            "abstains, the accurate model decides (for the baseline too). Certificates do not depend on this."
        )
    else:
        said.append("Clean accuracy mixes h's vote shares, which estimate the smoothed h.")
    said += [f"Sigma {sigma:g} is left out: {why}" for sigma, why in result.unreached]
    return said


def write_sweep(results: "list[ParetoResult]", stem: Path) -> list[str]:
    """Write the figure (PNG, PDF), its numbers (CSV) and every point (Parquet); returns the paths."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    from certmix.certifiers import LABELS
    from certmix.plots.certified import plot_frontiers

    files = plot_frontiers([(LABELS[r.certifier], r) for r in results], stem)
    rows = []
    for result in results:
        values = sweep_values(result)
        for kind, pairs in (("standalone", values["standalone"]), ("matched", values["matched"])):
            for pair in pairs:
                for k, radius in enumerate(pair["radii"]):
                    point = {name: pair[name] for name in ("sigma", "mixing_weight", "clean_accuracy")}
                    point |= {name: pair[name][k] for name in ("certified_accuracy", "lower", "upper")}
                    rows.append({"certifier": result.certifier, "kind": kind, "radius": radius, **point})
    files.append(f"{stem}.parquet")
    pq.write_table(pa.Table.from_pylist(rows), files[-1], compression="zstd")
    return files
