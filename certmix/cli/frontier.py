"""A sweep over mixing weights and sigmas as values, as a table, and as files."""

from pathlib import Path
from typing import Any

from certmix.pareto import MatchedPair, ParetoResult


def sweep_values(result: ParetoResult) -> dict[str, Any]:
    """A sweep as plain values: the object that --json prints."""

    def pair(matched: MatchedPair) -> dict[str, Any]:
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


def sweep_table(result: ParetoResult, table_format: str) -> str:
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


def remarks(result: ParetoResult, from_logs: bool) -> list[str]:
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


def write_sweep(results: list[ParetoResult], stem: Path) -> list[str]:
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
