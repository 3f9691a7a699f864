"""Tables of votes as text, the way others exchange them: one line per image, a count per class, then the label."""

import re
from dataclasses import replace
from decimal import Decimal, InvalidOperation
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from certmix.certification.bounds import bound_probabilities
from certmix.errors import InvalidArgument
from certmix.files import MOST_BYTES, read_whole, write_whole
from certmix.intervals import ProbabilityBounds
from certmix.promise import DEFAULT_FAILURE_PROBABILITY, Interval, Promise

if TYPE_CHECKING:
    from certmix.runs.store import Statistics

MOST_VOTES = 2**53  # of one image: beyond it the intervals' floats would round
Table = tuple[NDArray[np.int64], NDArray[np.int64]]


def read_count_table(path: str | Path) -> Table:
    """Counts and labels of a text file: c counts and the label per line, between spaces, tabs or commas.

    Lines that are empty or start with # are passed over. Whole numbers, up to 2**53, may be written as floats ("100.0",
    "1e+02").

    Args:
        path: the file.
    Returns: (counts of shape (inputs, classes), labels of shape (inputs,)), int64.
    Raises: InvalidArgument: no such file, or a line that is none, by its number.
    """
    try:
        lines = read_whole(path, "count table", MOST_BYTES).decode().splitlines()
    except UnicodeDecodeError:
        raise InvalidArgument(f"{path} must be a text file of counts, got something else.") from None
    rows: list[list[int]] = []
    for number, line in enumerate(lines, start=1):
        cells = [cell for cell in re.split(r"[,\s]+", line) if cell]
        if not cells or cells[0].startswith("#"):
            continue
        rows.append([_whole(cell, path, number) for cell in cells])
        _check_row(rows, path, number)
    if not rows:
        raise InvalidArgument(f"{path} must hold a line of counts per image, got none.")
    table = np.array(rows, dtype=np.int64)
    return table[:, :-1], table[:, -1]


def write_count_table(path: str | Path, counts: ArrayLike, labels: ArrayLike, *, force: bool = False) -> None:
    """Write counts and labels as `read_count_table` reads them, with single spaces.

    Args:
        path: where; must not exist unless `force`.
        counts: votes, shape (inputs, classes), integers >= 0.
        labels: true classes, shape (inputs,).
        force: overwrite.
    Raises: InvalidArgument: the file exists, or arrays of other shapes.
    """
    votes, truth = np.asarray(counts), np.asarray(labels)
    if votes.ndim != 2 or truth.shape != (len(votes),) or votes.dtype.kind not in "iu" or truth.dtype.kind not in "iu":
        raise InvalidArgument(
            "counts and labels must be integers of shapes (inputs, classes) and (inputs,), "
            f"got {votes.dtype} of {votes.shape} and {truth.dtype} of {truth.shape}."
        )
    lines = [" ".join(map(str, [*row, label])) for row, label in zip(votes.tolist(), truth.tolist(), strict=True)]
    write_whole(path, "".join(f"{line}\n" for line in lines), force=force)


def export_counts(
    statistics: "Statistics", counts: str | Path, selection: str | Path | None = None, *, force: bool = False
) -> None:
    """Write a run's estimation votes, and its selection votes where a path is given, as count tables.

    Raises: InvalidArgument: votes that the format cannot tell the truth about (invalid ones, or those of a run that could
        stop early, whose bounds need its schedule), or a file that exists.
    """
    if statistics.estimation_invalid.any() or statistics.selection_invalid.any():
        raise InvalidArgument(
            "a count table cannot hold invalid votes, and the run has some: leaving them out would overstate; use the run."
        )
    if statistics.draws.schedule is not None:
        raise InvalidArgument(
            "a count table cannot hold the schedule of a run that could stop early, and its counts alone would overstate; "
            "certify the run itself, or sample without --stop-at-radius and --radius-tolerance."
        )
    if statistics.draws.enumerated:
        raise InvalidArgument(
            "a count table is of draws of Gaussian noise, got all values of splitting noise; use the run."
        )
    write_count_table(counts, statistics.estimation_counts, statistics.labels, force=force)
    if selection is not None:
        write_count_table(selection, statistics.selection_counts, statistics.labels, force=force)


def bound_counts(
    counts: ArrayLike,
    *,
    sigma: float,
    failure_probability: float = DEFAULT_FAILURE_PROBABILITY,
    interval: Interval = "pair",
    selection_counts: ArrayLike | None = None,
    labels: NDArray[np.int64] | None = None,
) -> ProbabilityBounds:
    """Bounds on the smoothed probabilities from counts that someone else made.

    Guarantee: with `selection_counts` of other draws, that of `certmix.bound_probabilities`. Without them the counts
    choose the class and bound it too; bounds are then taken at failure_probability / classes, so that they hold for every
    class at once, and with it for the one chosen, whichever it is. That the counts are independent draws of Gaussian
    noise of this sigma, the file cannot show.

    Args:
        counts: votes per class, shape (inputs, classes).
        sigma: standard deviation of the noise that they were drawn with, > 0, in [0, 1] pixel units.
        failure_probability: in (0, 1), per input.
        interval: "pair" or "cohen".
        selection_counts: votes of other draws that choose the class, same shape.
        labels: true classes, shape (inputs,).
    Raises: InvalidArgument: a value out of range, shapes that differ, or too few draws to certify anything.
    Example:
        >>> votes = np.array([[990, 10]])
        >>> fresh = bound_counts(votes, sigma=0.5, selection_counts=np.array([[99, 1]]))
        >>> reused = bound_counts(votes, sigma=0.5)
        >>> bool(reused.top_lower[0] < fresh.top_lower[0])
        True
    """
    votes = np.asarray(counts)
    choose = votes if selection_counts is None else np.asarray(selection_counts)
    if choose.shape != votes.shape:
        raise InvalidArgument(f"selection counts must have shape {votes.shape} as the counts, got {choose.shape}.")
    if selection_counts is not None and np.array_equal(choose, votes):
        raise InvalidArgument(
            "selection counts must be of other draws than the counts, got an equal table; leave it out to pay for choosing "
            "and bounding by the same draws."
        )
    asked = Promise(failure_probability, interval)
    paid = failure_probability if selection_counts is not None else failure_probability / max(votes.shape[-1], 1)
    bounds = bound_probabilities(
        choose,
        votes,
        sigma=sigma,
        failure_probability=paid,
        interval=interval,
        labels=labels,
        indices=np.arange(len(votes)),
    )
    return replace(bounds, promise=asked)


def _whole(cell: str, path: str | Path, number: int) -> int:
    try:
        value = Decimal(cell)
        if not abs(value) <= MOST_VOTES or value != int(value):
            raise ValueError
    except (ValueError, InvalidOperation):
        raise InvalidArgument(f"{path} line {number} must hold whole numbers up to 2**53, got {cell[:40]!r}.") from None
    return int(value)


def _check_row(rows: list[list[int]], path: str | Path, number: int) -> None:
    *votes, label = rows[-1]
    if len(votes) < 2 or len(rows[-1]) != len(rows[0]):
        raise InvalidArgument(
            f"{path} line {number} must hold {max(len(rows[0]) - 1, 2)} counts and a label, got {len(rows[-1])} numbers."
        )
    if min(votes) < 0 or not 0 < sum(votes) <= MOST_VOTES:
        raise InvalidArgument(
            f"{path} line {number} must hold counts >= 0 that are not all 0 and at most 2**53 together, got {votes[:8]}."
        )
    if not 0 <= label < len(votes):
        raise InvalidArgument(f"{path} line {number} must end with a label in 0..{len(votes) - 1}, got {label}.")
