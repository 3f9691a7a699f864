"""A sweep over rules and sigmas as a table, in words, and as files."""

from collections.abc import Sequence
from pathlib import Path

from certmix.certifiers import get_certifier
from certmix.pareto import ParetoResult
from certmix.tables import percent_text, render_table


def sweep_table(result: ParetoResult, table_format: str, caption: str = "") -> str:
    """Certified accuracy in percent, rounded down, with intervals: a row per radius, a column per pair.

    Args: as `render_table`.
    """
    columns = [("baseline", result.baseline)] if result.baseline else []
    columns += [("matched", pair) for pair in result.matched]
    headers = [f"{get_certifier(result.certifier).label}: radius", *(f"{kind} {pair.label}" for kind, pair in columns)]
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
    return render_table([*headers, "frontier"], rows, table_format, caption)


def frontiers_table(results: Sequence[ParetoResult], table_format: str) -> str:
    """Sweeps of one baseline side by side: a row per tenth of a pixel unit, a column per sweep, with its best sigma."""

    def cell(result: ParetoResult, k: int) -> str:
        if k >= len(result.radii) or result.frontier[k] == 0:
            return "0.0"
        return f"{percent_text(result.frontier[k])} (sigma {result.matched[result.frontier_pair[k]].sigma:g})"

    radii = max((result.radii for result in results), key=len)
    names = [f"{get_certifier(result.certifier).label}, {result.matched[0].rule.title}" for result in results]
    rows = [[f"{radii[k]:.3g}", *(cell(result, k) for result in results)] for k in range(0, len(radii), 2)]
    return render_table(["radius", *names], rows, table_format)


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
    return said + [f"Sigma {entry.sigma:g}, {entry.rule}, is left out: {entry.why}" for entry in result.unreached]


def write_sweep(results: Sequence[ParetoResult], stem: Path) -> list[str]:
    """Write the figure (PNG, PDF), its numbers (CSV) and every point (Parquet); returns the paths."""
    from certmix.formats import sweeps
    from certmix.plots.frontier import plot_frontiers

    files = plot_frontiers(results, stem)
    return [*files, sweeps.write_sweep(results, f"{stem}.parquet")]
