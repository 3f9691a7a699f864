"""Certification logs in the format of Cohen et al. 2019: `idx label predict radius correct time`, tab-separated."""

import csv
from decimal import Decimal, InvalidOperation
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from certmix.certification.certify import Certificates
from certmix.certifiers.arguments import check_sigma
from certmix.errors import InvalidArgument
from certmix.files import write_whole
from certmix.intervals import ABSTAIN, ProbabilityBounds
from certmix.tables import floor_text

COLUMNS = ("idx", "label", "predict", "radius", "correct", "time")
_NUDGE = 4e-12  # makes up for the exact certificate's rounding down, far below the printed digits


def read_certification_log(path: str | Path, *, sigma: float, printed_rounding: str = "trust") -> ProbabilityBounds:
    """Bounds from a published log: p_A = Phi(radius / sigma), p_B = 1 - p_A.

    Source: github locuslab/smoothing; logs with more columns (such as those of ACES) are read too.
    Guarantee: that of the log. Printed radii have three digits and can be rounded up: "trust" takes them as printed, so
    that weight 1 gives back the published radii; "down" takes off half a unit of the last digit printed.

    Args:
        path: the log.
        sigma: standard deviation that it was made with, > 0 (a log does not say).
        printed_rounding: "trust" or "down".
    Returns: ProbabilityBounds with labels and indices; abstentions have prediction -1.
    Raises: InvalidArgument: no such file, not a log, or a malformed row (by its line).
    """
    from scipy import special

    if printed_rounding not in ("trust", "down"):
        raise InvalidArgument(f"printed_rounding must be trust or down, got {printed_rounding!r}.")
    scale = float(check_sigma(sigma))
    indices, labels, predictions, radii = _read_rows(Path(path), ("idx", "label", "predict", "radius"))
    radius = np.array([_printed(text, printed_rounding) for text in radii])
    certified = (predictions != ABSTAIN) & (radius > 0)
    top = special.ndtr(radius / scale * (1.0 + _NUDGE))
    if (top[certified] >= 1.0).any():
        raise InvalidArgument(
            f"sigma must be the one that {path} was made with, got {sigma}: a radius is far above it."
        )
    return ProbabilityBounds(
        prediction=np.where(certified, predictions, ABSTAIN),
        top_lower=np.where(certified, top, 0.0),
        rival_upper=np.where(certified, 1.0 - top, 1.0),
        sigma=scale,
        labels=labels,
        indices=indices,
    )


def read_predictions(path: str | Path) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """(indices, labels, predictions) of a log of a classifier's predictions: columns idx, label and predict."""
    indices, labels, predictions, _ = _read_rows(Path(path), ("idx", "label", "predict"))
    return indices, labels, predictions


def write_certification_log(
    path: str | Path,
    certificates: Certificates,
    *,
    weight_position: int = 0,
    seconds: NDArray[np.float64] | None = None,
) -> None:
    """Write one mixing weight's certificates as a log; radii are rounded down, abstentions have predict -1, radius 0.

    Args:
        path: where; overwritten.
        certificates: with labels and indices.
        weight_position: which of its mixing weights.
        seconds: sampling time per input; 0 where left out.
    Raises: InvalidArgument: certificates without labels or indices.
    """
    if certificates.labels is None or certificates.indices is None:
        raise InvalidArgument("a certification log needs labels and indices, got certificates without them.")
    radius = certificates.radius[weight_position]
    predict = np.where(radius > 0, certificates.prediction, ABSTAIN)
    times = np.zeros(len(radius)) if seconds is None else seconds
    lines = ["\t".join(COLUMNS)]
    for index, label, guess, value, took in zip(
        certificates.indices, certificates.labels, predict, radius, times, strict=True
    ):
        lines.append(f"{index}\t{label}\t{guess}\t{floor_text(value, 6)}\t{int(guess == label)}\t{took:.3f}")
    write_whole(path, "\n".join(lines) + "\n", force=True)


def _read_rows(
    path: Path, needed: tuple[str, ...]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], list[str]]:
    if not path.is_file():
        raise InvalidArgument(f"certification log must exist, got {str(path)!r}; check the path.")
    try:
        rows = list(csv.DictReader(path.read_text().splitlines(), delimiter="\t"))
    except (UnicodeDecodeError, csv.Error):
        raise InvalidArgument(f"{path} must be a tab-separated certification log, got something else.") from None
    if not rows or any(name not in rows[0] for name in needed):
        raise InvalidArgument(
            f"{path} must be a certification log with columns {', '.join(needed)} and one row or more."
        )
    integers: list[list[int]] = []
    for number, row in enumerate(rows, start=2):
        try:
            integers.append([int(row[name]) for name in needed[:3]])
            if "radius" in needed and not Decimal(row["radius"]) >= 0:
                raise ValueError
        except (TypeError, ValueError, InvalidOperation):
            raise InvalidArgument(
                f"{path} line {number} must hold numbers, with radius >= 0, got {dict(row)}."
            ) from None
    columns = np.array(integers, dtype=np.int64)
    if len(np.unique(columns[:, 0])) != len(columns):
        raise InvalidArgument(f"{path} must name each input once, got repeated idx.")
    return columns[:, 0], columns[:, 1], columns[:, 2], [row.get("radius", "0") for row in rows]


def _printed(text: str, printed_rounding: str) -> float:
    value = Decimal(text)
    if printed_rounding == "down":
        # Three significant digits were printed with trailing zeros dropped: 0.5 stands for 0.500.
        unit = Decimal(1).scaleb(value.adjusted() - 2) if value else Decimal(0)
        value = max(value - unit / 2, Decimal(0))
    return float(value)
