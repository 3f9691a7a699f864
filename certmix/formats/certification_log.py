"""Certification logs in the format of Cohen et al. 2019: `idx label predict radius correct time`, tab-separated."""

import csv
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
from numpy.typing import NDArray
from scipy import special

from certmix.certification.certify import Certificates
from certmix.certifiers.arguments import check_sigma
from certmix.errors import InvalidArgument, check_choice
from certmix.files import MOST_BYTES, read_whole, write_whole
from certmix.intervals import ABSTAIN, ProbabilityBounds
from certmix.tables import floor_text

if TYPE_CHECKING:
    from certmix.runs.store import Statistics

PrintedRounding = Literal["down", "trust"]
COLUMNS = ("idx", "label", "predict", "radius", "correct", "time")
_NUDGE = 4e-12  # makes up for the exact certificate's rounding down, far below the printed digits


def read_certification_log(
    path: str | Path, *, sigma: float, printed_rounding: PrintedRounding = "down"
) -> ProbabilityBounds:
    """Bounds from a published log: p_A = Phi(radius / sigma), p_B = 1 - p_A.

    Source: github locuslab/smoothing; logs with more columns (such as those of ACES) are read too.
    Guarantee: that of the log. Printed radii are rounded to the nearest, so up in half of the rows: "down" takes off half
    a unit of the last digit that the log really prints (the larger of what its decimals and its significant digits
    allow). "trust" takes them as printed, so that weight 1 gives back the published radii.

    Args:
        path: the log.
        sigma: standard deviation that it was made with, > 0 (a log does not say).
        printed_rounding: "down" or "trust".
    Returns: ProbabilityBounds with labels and indices; abstentions have prediction -1.
    Raises: InvalidArgument: no such file, not a log, or a malformed row (by its line).
    """
    check_choice("printed_rounding", printed_rounding, get_args(PrintedRounding))
    scale = float(check_sigma(sigma))
    indices, labels, predictions, printed = _read_rows(Path(path), ("idx", "label", "predict", "radius"))
    trusted = printed_rounding == "trust"
    radius = np.array([float(value) for value in (printed if trusted else _rounded_down(printed))])
    certified = (predictions != ABSTAIN) & (radius > 0)
    top = special.ndtr(radius / scale * (1.0 + (_NUDGE if trusted else 0.0)))
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


def write_predictions(path: str | Path, statistics: "Statistics", *, force: bool = False) -> None:
    """Write the accurate model's class of every input of a run as a log that `read_predictions` reads.

    Raises: InvalidArgument: a run without an accurate model, or a file that exists (unless `force`).
    """
    g = statistics.accurate_probabilities
    if g is None:
        raise InvalidArgument("a log of the accurate model needs a run drawn with --accurate, got one without.")
    rows = zip(statistics.indices.tolist(), statistics.labels.tolist(), g.argmax(axis=1).tolist(), strict=True)
    lines = [f"{index}\t{label}\t{guess}\t{int(guess == label)}" for index, label, guess in rows]
    write_whole(path, "\n".join(["idx\tlabel\tpredict\tcorrect", *lines]) + "\n", force=force)


def log_text(certificates: Certificates, rule_position: int = 0, seconds: NDArray[np.float64] | None = None) -> str:
    """A log of one rule's certificates; radii are rounded down, abstentions have predict -1 and radius 0.

    Args:
        certificates: with labels and indices.
        rule_position: which of its rules.
        seconds: sampling time per input; 0 where left out.
    Raises: InvalidArgument: certificates without labels or indices.
    """
    if certificates.labels is None or certificates.indices is None:
        raise InvalidArgument("a certification log needs labels and indices, got certificates without them.")
    radius = certificates.radius[rule_position]
    predict = np.where(radius > 0, certificates.prediction, ABSTAIN)
    times = np.zeros(len(radius)) if seconds is None else seconds
    lines = ["\t".join(COLUMNS)]
    for index, label, guess, value, took in zip(
        certificates.indices, certificates.labels, predict, radius, times, strict=True
    ):
        lines.append(f"{index}\t{label}\t{guess}\t{floor_text(value, 6)}\t{int(guess == label)}\t{took:.3f}")
    return "\n".join(lines) + "\n"


def _read_rows(
    path: Path, needed: tuple[str, ...]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64], list[Decimal]]:
    try:
        text = read_whole(path, "certification log", MOST_BYTES).decode()
        rows = list(csv.DictReader(text.splitlines(), delimiter="\t"))
    except (UnicodeDecodeError, csv.Error):
        raise InvalidArgument(f"{path} must be a tab-separated certification log, got something else.") from None
    if not rows or any(name not in rows[0] for name in needed):
        raise InvalidArgument(
            f"{path} must be a certification log with columns {', '.join(needed)} and one row or more."
        )
    integers: list[list[int]] = []
    radii: list[Decimal] = []
    for number, row in enumerate(rows, start=2):
        try:
            integers.append([int(row[name]) for name in needed[:3]])
            radii.append(Decimal(row["radius"] if "radius" in needed else 0))
            if not 0 <= radii[-1] < 1e150 or radii[-1].adjusted() < -400:
                raise ValueError
        except (TypeError, ValueError, InvalidOperation):
            raise InvalidArgument(
                f"{path} line {number} must hold numbers, with radius >= 0, got {dict(row)}."
            ) from None
    columns = np.array(integers, dtype=np.int64)
    if len(np.unique(columns[:, 0])) != len(columns):
        raise InvalidArgument(f"{path} must name each input once, got repeated idx.")
    return columns[:, 0], columns[:, 1], columns[:, 2], radii


def _rounded_down(printed: list[Decimal]) -> list[Decimal]:
    """Each radius less half a unit of its last printed digit.

    Writers print so many decimals, or so many significant digits without trailing zeros. The log's most of either says
    which digit that is; the larger unit is taken, which holds for both.
    """
    shown = [value for value in printed if value]
    decimals = max((-_exponent(value) for value in shown), default=0)
    digits = max((len(value.as_tuple().digits) for value in shown), default=1)
    half = [max(Decimal(1).scaleb(-decimals), Decimal(1).scaleb(v.adjusted() - digits + 1)) / 2 for v in printed]
    return [max(value - part, Decimal(0)) for value, part in zip(printed, half, strict=True)]


def _exponent(value: Decimal) -> int:
    exponent = value.as_tuple().exponent
    assert isinstance(exponent, int)  # finite: checked where it was read
    return exponent
