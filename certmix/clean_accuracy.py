"""Clean accuracy of a mixture as an exact step function of its weight: no grid, no search.

The mixture (1 - a) g + a h is linear in a, so that each input is right on an interval of weights.
Differs: the paper (Bai et al., arXiv:2301.12554, Section A.3) tunes the weight by trying values.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from certmix.errors import InvalidArgument

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class CleanAccuracy:
    """Clean accuracy as an exact step function of the mixing weight.

    Attributes:
        breakpoints: weights where an input may change, ascending from 0 to 1, shape (points,).
        at: accuracy at each breakpoint, shape (points,).
        after: accuracy on the open interval after each breakpoint but the last, shape (points - 1,).
    """

    breakpoints: Floats
    at: Floats
    after: Floats

    def __call__(self, mixing_weight: ArrayLike) -> Floats:
        """Accuracy at weights in [0, 1], their shape."""
        weight = np.asarray(mixing_weight, dtype=np.float64)
        place = np.searchsorted(self.breakpoints, weight, side="right") - 1
        on = self.breakpoints[place] == weight
        return np.where(on, self.at[place], self.after[np.minimum(place, len(self.after) - 1)])

    def largest_weight(self, target: float) -> float:
        """The largest weight whose accuracy is at least the target; the last float below an end point not attained.

        Raises: InvalidArgument: no weight reaches the target; the best accuracy and its weight are named.
        """
        return self._largest(lambda accuracy: accuracy >= target - 1e-12, target)

    def matched_weight(self, target: float) -> float:
        """The largest weight whose accuracy is the smallest one at or above the target: the paper's choice.

        Raises: as `largest_weight`.
        """
        reached = np.concatenate([self.at, self.after])
        reached = reached[reached >= target - 1e-12]
        nearest = reached.min() if len(reached) else np.inf
        return self._largest(lambda accuracy: np.abs(accuracy - nearest) < 1e-12, target)

    def _largest(self, wanted: Callable[[Floats], NDArray[np.bool_]], target: float) -> float:
        points, inside = np.flatnonzero(wanted(self.at)), np.flatnonzero(wanted(self.after))
        # An open interval may be so short that it holds no float of its own.
        below = np.nextafter(self.breakpoints[inside + 1], 0.0)
        below = below[below > self.breakpoints[inside]]
        candidates = np.concatenate([self.breakpoints[points], below])
        if not len(candidates):
            best = int(self.at.argmax())
            raise InvalidArgument(
                f"target clean accuracy must be one that some weight reaches, got {target:.4f}: the best is "
                f"{max(self.at.max(), self.after.max()):.4f} (about weight {self.breakpoints[best]:.4f})."
            )
        return float(candidates.max())


def right_weights(accurate: ArrayLike, robust: ArrayLike, labels: ArrayLike) -> tuple[Floats, Floats]:
    """For each input the open interval of weights at which the mixture is right; ties are wrong.

    The mixture (1 - a) g + a h is linear in a, so that being right is c - 1 linear inequalities. An end point of -1 or 2
    means that weight 0 or 1 itself is inside; an empty set has low >= high.

    Args:
        accurate: g's probabilities (one-hot for hardmax), shape (inputs, classes).
        robust: h's vote counts or shares, shape (inputs, classes); each row is divided by its sum.
        labels: true classes, shape (inputs,).
    Returns: (low, high), each of shape (inputs,).
    """
    g, votes, truth = np.asarray(accurate, dtype=np.float64), np.asarray(robust, dtype=np.float64), np.asarray(labels)
    rows = np.arange(len(truth))
    total = np.maximum(votes.sum(axis=1, keepdims=True), np.finfo(np.float64).tiny)
    # Differences times the row's total: with counts and one-hot g both are integers, and ties are exact.
    from_g = total * (g[rows, truth][:, None] - g)
    from_h = votes[rows, truth][:, None] - votes
    rival = np.ones(g.shape, dtype=bool)
    rival[rows, truth] = False
    with np.errstate(divide="ignore", invalid="ignore"):
        crossing = from_g / (from_g - from_h)
    rising, falling = from_h > from_g, from_h < from_g
    low = np.where(rival & rising & (from_g <= 0), crossing, -1.0).max(axis=1)
    high = np.where(rival & falling & (from_h <= 0), crossing, 2.0).min(axis=1)
    never = (rival & ~rising & (from_g <= 0) & (from_h <= 0)).any(axis=1)
    return np.where(never, 1.0, low), np.where(never, 0.0, high)


def clean_accuracy(accurate: ArrayLike, robust: ArrayLike, labels: ArrayLike) -> CleanAccuracy:
    """The step function of clean accuracy; arguments as `right_weights`."""
    return step_function(*right_weights(accurate, robust, labels))


def step_function(low: Floats, high: Floats) -> CleanAccuracy:
    """Accuracy where input i is right on the open interval (low[i], high[i]) of weights, as `right_weights` gives them."""
    inputs = len(low)
    some = low < high
    low, high = np.sort(low[some]), np.sort(high[some])
    inner = np.concatenate([low, high])
    points = np.unique(np.concatenate([[0.0, 1.0], inner[(inner >= 0) & (inner <= 1)]]))

    def count(opened: str, closed: str, at: Floats) -> Floats:
        begun = np.searchsorted(low, at, side=opened)  # type: ignore[call-overload]
        ended = np.searchsorted(high, at, side=closed)  # type: ignore[call-overload]
        return np.asarray((begun - ended) / max(inputs, 1), dtype=np.float64)

    return CleanAccuracy(points, count("left", "right", points), count("right", "right", points[:-1]))
