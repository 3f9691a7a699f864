"""Tables of votes as text, the way others exchange them: one line per image, a count per class, then the label."""

import re
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from certmix.certification.certify import bound_probabilities
from certmix.errors import InvalidArgument
from certmix.files import write_whole
from certmix.intervals import ProbabilityBounds

Table = tuple[NDArray[np.int64], NDArray[np.int64]]


def read_count_table(path: str | Path) -> Table:
    """Counts and labels of a text file: c counts and the label per line, between spaces, tabs or commas.

    Lines that are empty or start with # are passed over. Whole numbers may be written as floats ("100.0", "1e+02").

    Args:
        path: the file.
    Returns: (counts of shape (inputs, classes), labels of shape (inputs,)), int64.
    Raises: InvalidArgument: no such file, or a line that is none, by its number.
    """
    try:
        lines = Path(path).read_text().splitlines()
    except FileNotFoundError:
        raise InvalidArgument(f"count table must exist, got {str(path)!r}; check the path.") from None
    except (UnicodeDecodeError, OSError):
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


def bound_counts(
    counts: ArrayLike,
    *,
    sigma: float,
    failure_probability: float = 1e-3,
    rule: str = "pair",
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
        rule: "pair" or "cohen".
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
    share = (
        failure_probability if selection_counts is not None or votes.ndim != 2 else failure_probability / votes.shape[1]
    )
    bounds = bound_probabilities(
        choose, votes, sigma=sigma, failure_probability=share, rule=rule, labels=labels, indices=np.arange(len(votes))
    )
    return replace(bounds, failure_probability=failure_probability)


def _whole(cell: str, path: str | Path, number: int) -> int:
    try:
        value = float(cell)
        if value != int(value) or abs(value) > 2**53:
            raise ValueError
    except (ValueError, OverflowError):
        raise InvalidArgument(f"{path} line {number} must hold whole numbers, got {cell[:40]!r}.") from None
    return int(value)


def _check_row(rows: list[list[int]], path: str | Path, number: int) -> None:
    *votes, label = rows[-1]
    if len(votes) < 2 or len(rows[-1]) != len(rows[0]):
        raise InvalidArgument(
            f"{path} line {number} must hold {max(len(rows[0]) - 1, 2)} counts and a label, got {len(rows[-1])} numbers."
        )
    if min(votes) < 0 or not sum(votes):
        raise InvalidArgument(f"{path} line {number} must hold counts >= 0 that are not all 0, got {votes[:8]}.")
    if not 0 <= label < len(votes):
        raise InvalidArgument(f"{path} line {number} must end with a label in 0..{len(votes) - 1}, got {label}.")
