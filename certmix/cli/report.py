"""Stored draws -> the table on stdout and the derived files of a run folder."""

import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from certmix.certification.certify import Certificates, certify
from certmix.curves import CertifiedAccuracyCurve, certified_accuracy
from certmix.errors import InvalidArgument
from certmix.formats.certification_log import write_certification_log
from certmix.runs.grouping import read_runs
from certmix.runs.store import Statistics
from certmix.tables import percent_text, render_table

DEFAULT_RADII = (0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 2.5, 3.0)


def check_radii(text: str | None) -> list[float] | None:
    """Radii of a comma-separated option; None where nothing was asked."""
    if text is None:
        return None
    try:
        radii = [float(part) for part in text.split(",")]
    except ValueError:
        raise InvalidArgument(
            f"--radii must be numbers separated by commas, got {text!r}; for example 0,0.5,1."
        ) from None
    if any(not 0 <= radius < float("inf") for radius in radii):
        raise InvalidArgument(f"--radii must be >= 0 and finite (pixel units), got {text!r}.")
    return sorted(set(radii))


def check_numbers(option: str, text: str) -> list[float]:
    """Numbers of a comma-separated option, finite and >= 0. Raises InvalidArgument otherwise."""
    try:
        numbers = [float(part) for part in text.split(",")]
    except ValueError:
        raise InvalidArgument(f"{option} must be numbers separated by commas, got {text!r}.") from None
    if any(not 0 <= number < float("inf") for number in numbers):
        raise InvalidArgument(f"{option} must be >= 0 and finite, got {text!r}.")
    return numbers


def report_runs(
    folders: Sequence[Path],
    *,
    weights: Sequence[float],
    certifiers: Sequence[str],
    failure_probability: float | None,
    rule: str,
    votes: str | None,
    bound: str,
    real_valued: bool,
    radii: Sequence[float] | None,
    table_format: str,
    as_json: bool,
    quiet: bool,
    adaptive: Sequence[dict[str, Any]] = (),
) -> None:
    """Certify stored draws, write certificates.parquet and the Cohen-format logs, and print the table."""
    rows: list[dict[str, Any]] = []
    runs = []
    for run in read_runs(folders):
        group, statistics = run.folders, run.statistics
        made = []
        for name in certifiers:
            certificates = certify(
                statistics,
                mixing_weight=weights,
                certifier=name,
                failure_probability=failure_probability,
                rule=rule,
                votes=votes,
                bound=bound,
                real_valued=real_valued,
            )
            made.append(certificates)
        reach = max(float(certificates.radius.max()) for certificates in made)
        wanted = radii or [radius for radius in DEFAULT_RADII if radius <= max(reach, 0.5)]
        for certificates in made:
            rows += curve_rows(certified_accuracy(certificates, statistics.labels, wanted))
        files = write_certificates(group[0], statistics, made, rule=rule, bound=bound)
        runs.append(
            {
                "run": [str(folder) for folder in group],
                **describe(statistics, made[0]),
                "files": files,
            }
        )
    if as_json:
        summary = {"rule": rule, "runs": runs, "certified_accuracy": rows}
        print(json.dumps({**summary, "adaptive": list(adaptive)} if adaptive else summary, indent=2))
        return
    print(accuracy_table(rows, table_format))
    for entry in adaptive:
        print(entry["text"], file=sys.stdout if table_format == "markdown" else sys.stderr)
    if not quiet:
        for run in runs:
            print(caption(run), file=sys.stderr)


def curve_rows(curve: CertifiedAccuracyCurve) -> list[dict[str, Any]]:
    """One row per mixing weight of a curve, as plain values."""
    return [
        {
            "sigma": curve.sigma,
            "certifier": curve.certifier,
            "votes": curve.votes,
            "mixing_weight": float(weight),
            "inputs": curve.num_inputs,
            "radii": [float(radius) for radius in curve.radii],
            "certified_accuracy": [float(value) for value in curve.accuracy[position]],
            "lower": [float(value) for value in curve.lower[position]],
            "upper": [float(value) for value in curve.upper[position]],
        }
        for position, weight in enumerate(curve.mixing_weight)
    ]


def accuracy_table(rows: Sequence[dict[str, Any]], table_format: str) -> str:
    """Certified accuracy in percent, rounded down, with its 95 % interval, one column per radius."""
    radii = sorted({radius for row in rows for radius in row["radii"]})
    headers = ["sigma", "certifier", "mixing weight", *(f"r = {radius:g}" for radius in radii)]
    body = []
    for row in rows:
        cells = {
            radius: f"{percent_text(value)} [{percent_text(low)}, {percent_text(high, up=True)}]"
            for radius, value, low, high in zip(
                row["radii"], row["certified_accuracy"], row["lower"], row["upper"], strict=True
            )
        }
        body.append(
            [
                f"{row['sigma']:g}",
                row["certifier"] + (", soft votes" if row["votes"] == "soft" else ""),
                f"{row['mixing_weight']:g}",
                *(cells.get(r, "") for r in radii),
            ]
        )
    return render_table(headers, body, table_format)


def describe(statistics: Statistics, certificates: Certificates) -> dict[str, Any]:
    """What a table must say about the draws it comes from and about its promise."""
    draws = statistics.draws
    full = len(statistics) * draws.num_estimation
    used = int(statistics.estimation_counts.sum() + statistics.estimation_invalid.sum())
    return {
        "dataset": draws.dataset.spec,
        "subset": draws.dataset.subset,
        "inputs": len(statistics),
        "sigma": statistics.sigma,
        "num_selection": draws.num_selection,
        "num_estimation": draws.num_estimation,
        "estimation_draws_used": used,
        "estimation_draws_saved": full - used,
        "schedule": None if draws.schedule is None else draws.schedule.describe(),
        "votes": draws.votes,
        "noise": draws.noise.kind,
        "failure_probability": certificates.failure_probability,
        "real_valued": certificates.real_valued,
    }


def caption(run: dict[str, Any]) -> str:
    """The subset, the draws and the promise behind a table, in words."""
    subset = ", ".join(f"{key} {value}" for key, value in run["subset"].items() if value is not None)
    scope = {
        (False, False): "; perturbed inputs on the data's own grid",
        (False, True): "; any perturbed input, for a predictor that rounds it to the data's grid first",
    }.get((run["noise"] == "float", run["real_valued"]), "; up to float rounding of the noisy input")
    draws = f"{run['num_selection']} + {run['num_estimation']} draws each"
    if run["schedule"] is not None:
        used, saved = run["estimation_draws_used"], run["estimation_draws_saved"]
        draws = (
            f"{run['num_selection']} + up to {run['num_estimation']} draws each, stopped early: {used} estimation draws "
            f"used, {saved} ({100 * saved / (used + saved):.1f} %) saved; radii that it did not stop for are valid but "
            "smaller than a full run's"
        )
    if run["votes"] != "hard":
        draws += "; rows of soft votes are about mean class probabilities, the others about the shares of classes"
    return (
        f"{' '.join(run['run'])}: {run['inputs']} inputs of {run['dataset']} ({subset or 'all'}), sigma {run['sigma']:g}, "
        f"{draws}. Accuracies in % with 95 % intervals of the test set; "
        f"each certificate is wrong with probability at most {run['failure_probability']:g}, whatever the accurate model "
        f"does{scope}. Written: {', '.join(run['files'])}."
    )


def write_certificates(
    folder: Path,
    statistics: Statistics,
    made: Sequence[Certificates],
    *,
    rule: str,
    bound: str = "betting",
) -> list[str]:
    """Write certificates.parquet and one Cohen-format log per certifier and weight; returns their paths."""
    columns: dict[str, list[Any]] = {name: [] for name in ("index", "label", "prediction", "certifier")}
    columns |= {"mixing_weight": [], "radius": []}
    files = [str(folder / "certificates.parquet")]
    several = len(made) * len(made[0].mixing_weight) > 1
    for certificates in made:
        for position, weight in enumerate(certificates.mixing_weight):
            count = len(statistics)
            columns["index"] += statistics.indices.tolist()
            columns["label"] += statistics.labels.tolist()
            columns["prediction"] += certificates.prediction.tolist()
            columns["certifier"] += [certificates.certifier] * count
            columns["mixing_weight"] += [float(weight)] * count
            columns["radius"] += certificates.radius[position].tolist()
            stem = f"certificates-{certificates.certifier}-{weight:g}" if several else "certificates"
            files.append(str(folder / f"{stem}.tsv"))
            write_certification_log(files[-1], certificates, weight_position=position, seconds=statistics.seconds)
    promise = {
        "sigma": statistics.sigma,
        "failure_probability": made[0].failure_probability,
        "rule": rule,
        "votes": made[0].votes,
        "bound": bound,
        "real_valued": made[0].real_valued,
        "dataset": statistics.draws.to_json()["dataset"],
    }
    table = pa.table(columns).replace_schema_metadata({b"certmix": json.dumps(promise).encode()})
    pq.write_table(table, files[0], compression="zstd")
    return files
