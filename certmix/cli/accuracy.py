"""Certified accuracy as values and as a table, and the sentence that says what is behind it."""

from collections.abc import Sequence
from typing import Any

from certmix.certification.certify import Certificates
from certmix.cli.values import Numbers
from certmix.curves import CertifiedAccuracyCurve, certified_accuracy
from certmix.runs.grouping import Run
from certmix.tables import percent_text, render_table

DEFAULT_RADII = (0.0, 0.25, 0.5, 0.75, 1.0, 1.5, 2.0, 2.5, 3.0)


def accuracy_rows(made: Sequence[Certificates], radii: Numbers | None) -> list[dict[str, Any]]:
    """Certified accuracy of certificates of the same inputs: a row per certifier and weight, as plain values.

    Args:
        made: certificates with labels, one entry per certifier.
        radii: where to evaluate; round ones up to the largest radius where left out.
    """
    reach = max(float(certificates.radius.max(initial=0.0)) for certificates in made)
    at = radii.values if radii else [radius for radius in DEFAULT_RADII if radius <= max(reach, 0.5)]
    return [row for certificates in made for row in _rows(certified_accuracy(certificates, _labels(certificates), at))]


def _labels(certificates: Certificates) -> Any:
    assert certificates.labels is not None
    return certificates.labels


def _rows(curve: CertifiedAccuracyCurve) -> list[dict[str, Any]]:
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


def describe(run: Run, certificates: Certificates) -> dict[str, Any]:
    """What a table must say about the draws it comes from and about its promise."""
    statistics, draws = run.statistics, run.statistics.draws
    full = len(statistics) * draws.num_estimation
    used = int(statistics.estimation_draws.sum())
    return {
        "dataset": draws.dataset.spec,
        "subset": dict(draws.dataset.subset),
        "subset_text": draws.dataset.subset_text,
        "inputs": len(statistics),
        "inputs_of": run.wanted,
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
    missing = run["inputs_of"] - run["inputs"]
    return (
        f"{' '.join(run['run'])}: {run['inputs']} of {run['inputs_of']} inputs of {run['dataset']} ({run['subset_text']})"
        + (f", {missing} are MISSING (a part that was not named, or a run that is not finished)" if missing else "")
        + f", sigma {run['sigma']:g}, {draws}. Accuracies in % with 95 % intervals of the test set; "
        f"each certificate is wrong with probability at most {run['failure_probability']:g}, whatever the accurate model "
        f"does{scope}. Written: {', '.join(run['files'])}."
    )
