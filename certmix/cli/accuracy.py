"""Certified accuracy as values and as a table, and the sentence that says what is behind it."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from certmix.certification.certify import Certificates
from certmix.certifiers import CERTIFIERS, USUAL_CERTIFIER
from certmix.cli.values import Numbers
from certmix.curves import certified_accuracy, radii_within
from certmix.promise import Promise
from certmix.runs.grouping import Run
from certmix.summary import RunSummary, summarise
from certmix.tables import percent_text, render_table

if TYPE_CHECKING:
    from certmix.runs.store import Statistics


def accuracy_rows(
    made: Sequence[Certificates], radii: Numbers | None, statistics: "Statistics | None" = None
) -> list[dict[str, Any]]:
    """Certified accuracy of certificates of the same inputs: a row per certifier and rule, as plain values.

    Args:
        made: certificates with labels, one entry per certifier.
        radii: where to evaluate; round ones up to the largest radius where left out.
        statistics: that they are of, for clean accuracy, abstentions, draws and seconds beside it.
    """
    at = radii.values if radii else radii_within(made)
    rows: list[dict[str, Any]] = []
    for certificates in made:
        if certificates.labels is not None:
            found = certified_accuracy(certificates, certificates.labels, at).to_json()
            beside = (
                [] if statistics is None else [{"summary": vars(one)} for one in summarise(statistics, certificates)]
            )
            rows += [{**row, **more} for row, more in zip(found, beside or [{}] * len(found), strict=True)]
    return rows


def accuracy_table(rows: Sequence[dict[str, Any]], table_format: str, captions: Sequence[str] = ()) -> str:
    """Certified accuracy in percent, rounded down, with its 95 % interval, one column per radius.

    Args:
        rows: of `accuracy_rows`.
        table_format: see `render_table`; LaTeX gets the captions, where there are any, and in them what all rows share.
        captions: what is behind the rows, in sentences.
    """
    paper = table_format == "latex" and bool(rows) and bool(captions)
    radii = sorted({radius for row in rows for radius in row["radii"]})
    norms = sorted({row["norm"] for row in rows})
    scale = "Lambda" if {row["certifier"] for row in rows} <= {USUAL_CERTIFIER["l1"]} else "sigma"
    summarised = any("summary" in row for row in rows)
    headers = [scale, "certifier", "rule", *(RunSummary.headers if summarised else ())]
    headers += [f"r = {radius:g}" for radius in radii]
    if norms != ["l2"]:  # said where it is not the usual one
        headers.insert(1, "norm")
    body = []
    for row in rows:
        cells = {
            radius: f"{percent_text(value)} [{percent_text(low)}, {percent_text(high, up=True)}]"
            for radius, value, low, high in zip(
                row["radii"], row["certified_accuracy"], row["lower"], row["upper"], strict=True
            )
        }
        name = CERTIFIERS[row["certifier"]].label if paper else row["certifier"]
        certifier = name + ("" if row["votes"] == "hard" else f", {row['votes']} votes")
        norm = [row["norm"]] if norms != ["l2"] else []
        beside = RunSummary(**row["summary"]).cells() if summarised else []
        body.append([f"{row['sigma']:g}", *norm, certifier, row["rule"], *beside, *(cells.get(r, "") for r in radii)])
    if not paper:
        return render_table(headers, body, table_format)
    headers, body, shared = _apart(headers, body, (scale, "draws", "s per input"))
    said = [f"Certified accuracy at {' or '.join(norms)} radius r (pixel units)."]
    said += ["Clean: of the mixture, with h as its draws estimate it."] if summarised else []
    said += [f"In every row: {shared}."] if shared else []
    return render_table(headers, body, table_format, " ".join([*said, *captions]))


def _apart(headers: list[str], body: list[list[str]], names: Sequence[str]) -> tuple[list[str], list[list[str]], str]:
    """A table without those of the named columns that say the same in every row, and what they say."""
    columns = dict(zip(headers, zip(*body, strict=True), strict=True))
    shared = {name: columns[name][0] for name in names if name in columns and len(set(columns[name])) == 1}
    kept = [position for position, name in enumerate(headers) if name not in shared]
    rows = [[row[position] for position in kept] for row in body]
    return [headers[position] for position in kept], rows, ", ".join(f"{name} {cell}" for name, cell in shared.items())


def describe(run: Run, promise: Promise, files: Sequence[str]) -> dict[str, Any]:
    """What a table must say about the draws it comes from and about its promise, as plain values."""
    draws, used = run.statistics.draws, int(run.statistics.estimation_draws.sum())
    return {
        "run": [str(folder) for folder in run.folders],
        "inputs": len(run.statistics),
        "inputs_wanted": run.wanted,
        "estimation_draws_used": used,
        "estimation_draws_saved": len(run.statistics) * draws.num_estimation - used,
        "draws": draws.to_json(),
        "promise": promise.to_json(),
        "files": list(files),
    }


def caption(run: Run, promise: Promise) -> str:
    """The subset, the draws and the promise behind a table, in words."""
    draws, missing = run.statistics.draws, run.wanted - len(run.statistics)
    made = f"{draws.num_selection} + {draws.num_estimation} draws each"
    if draws.enumerated:
        made = f"all {draws.num_estimation} values of splitting noise, {draws.norm} radii"
    if draws.schedule is not None:
        used, full = int(run.statistics.estimation_draws.sum()), len(run.statistics) * draws.num_estimation
        made = (
            f"{draws.num_selection} + up to {draws.num_estimation} draws each, stopped early: {used} estimation draws used, "
            f"{full - used} ({100 * (full - used) / full:.1f} %) saved; radii that it did not stop for are valid but smaller "
            "than a full run's"
        )
    if draws.confidence is not None:
        made += f", of which those below {draws.confidence} were deferred"
    if draws.votes != "hard":
        made += "; rows of soft votes are about mean class probabilities, the others about the shares of classes"
    gap = f", {missing} are MISSING (a part that was not named, or a run that is not finished)" if missing else ""
    return (
        f"{run.name}: {run.coverage} of {draws.dataset.spec} ({draws.dataset.subset_text}){gap}, {draws.scale_text}, "
        f"{made}. Accuracies in %, rounded down, with 95 % intervals of the test set. {promise.text} "
        f"{_scope(run, promise)}{_units(run)}"
    )


def _units(run: Run) -> str:
    """What a radius is in the units of data in another range than [0, 1]."""
    draws, bounds = run.statistics.draws, run.statistics.draws.dataset.bounds
    if bounds is None:
        return ""
    lost = bounds.distance(1.0) - bounds.radius(1.0, draws.size)
    return (
        f" Sigma and radii are in [0, 1] units; in the data's own, of {bounds}, they are {bounds.distance(1.0):g} times as "
        f"large (a radius less {1.01 * lost:.2g}, for rounding)."
    )


def _scope(run: Run, promise: Promise) -> str:
    """Which perturbed inputs the certificates are about."""
    if run.statistics.draws.grid_levels is None:
        return "Perturbed inputs: any, up to float rounding of the noisy input."
    if promise.real_valued:
        return "Perturbed inputs: any, for a predictor that rounds them to the data's grid first."
    return "Perturbed inputs: those on the data's own grid."
