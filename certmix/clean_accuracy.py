"""Clean accuracy as an exact step function of a rule's parameter: no grid, no search.

Each input is right on an interval of weights, or of thresholds; the end points are known exactly.
Differs: the paper (Bai et al., arXiv:2301.12554, Section A.3) tunes the weight by trying values.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from certmix.errors import InvalidArgument
from certmix.tables import shapes_repr

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class CleanAccuracy:
    """Clean accuracy as an exact step function of a parameter.

    Attributes:
        breakpoints: values where an input may change, ascending over the whole range of the parameter, shape (points,).
        at: accuracy at each breakpoint, shape (points,).
        after: accuracy on the open interval after each breakpoint but the last, shape (points - 1,).
        radii_grow: whether certified radii grow with the parameter (a weight), or fall (a threshold; the end of its range
            is no threshold).
    """

    breakpoints: Floats
    at: Floats
    after: Floats
    radii_grow: bool = True

    __repr__ = shapes_repr

    def __call__(self, parameter: ArrayLike) -> Floats:
        """Accuracy at values in the parameter's range, their shape."""
        value = np.asarray(parameter, dtype=np.float64)
        place = np.searchsorted(self.breakpoints, value, side="right") - 1
        on = self.breakpoints[place] == value
        return np.where(on, self.at[place], self.after[np.minimum(place, len(self.after) - 1)])

    def best(self, target: float) -> float:
        """Of the values with at least that accuracy, the one of the largest radii: largest weight, smallest threshold.

        A weight may be the last float below an end point that is not attained.
        Raises: InvalidArgument: no value reaches the target; the best accuracy and where it is are named.
        """
        return self._first_choice(target, np.inf)

    def matched(self, target: float) -> float:
        """As `best`, of the values whose accuracy is the smallest one at or above the target: the paper's choice.

        Raises: as `best`.
        """
        reached = self._candidates()[1]
        reached = reached[reached >= target - 1e-12]
        return self._first_choice(target, reached.min() if len(reached) else -np.inf)

    def _candidates(self) -> tuple[Floats, Floats]:
        """Every value that could be chosen, and its accuracy."""
        if not self.radii_grow:
            return self.breakpoints[:-1], self.at[:-1]
        # An open interval may be so short that it holds no float of its own.
        below = np.nextafter(self.breakpoints[1:], 0.0)
        own = below > self.breakpoints[:-1]
        return np.concatenate([self.breakpoints, below[own]]), np.concatenate([self.at, self.after[own]])

    def _first_choice(self, target: float, most: float) -> float:
        values, accuracy = self._candidates()
        wanted = values[(accuracy >= target - 1e-12) & (accuracy <= most + 1e-12)]
        if not len(wanted):
            name, best = "weight" if self.radii_grow else "threshold", int(accuracy.argmax())
            raise InvalidArgument(
                f"target clean accuracy must be one that some {name} reaches, got {target:.4f}: the best is "
                f"{accuracy[best]:.4f} (about {name} {values[best]:.4f})."
            )
        return float(wanted.max() if self.radii_grow else wanted.min())


def right_weights(
    accurate: ArrayLike, robust: ArrayLike, labels: ArrayLike, *, draws: ArrayLike | None = None
) -> tuple[Floats, Floats]:
    """For each input the open interval of weights at which the mixture is right; ties are wrong.

    The mixture (1 - a) g + a h is linear in a, so that being right is c - 1 linear inequalities. An end point of -1 or 2
    means that weight 0 or 1 itself is inside; an empty set has low >= high.

    Args:
        accurate: g's probabilities (one-hot for hardmax), shape (inputs, classes).
        robust: h's vote counts or shares, shape (inputs, classes).
        labels: true classes, shape (inputs,).
        draws: as `vote_shares`.
    Returns: (low, high), each of shape (inputs,).
    """
    g, votes, truth = np.asarray(accurate, dtype=np.float64), np.asarray(robust, dtype=np.float64), np.asarray(labels)
    rows = np.arange(len(truth))
    total = votes.sum(axis=1) if draws is None else np.asarray(draws, dtype=np.float64)
    total = np.maximum(total, np.finfo(np.float64).tiny)[:, None]
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


def clean_accuracy(
    accurate: ArrayLike, robust: ArrayLike, labels: ArrayLike, *, draws: ArrayLike | None = None
) -> CleanAccuracy:
    """The step function of clean accuracy; arguments as `right_weights`."""
    return step_function(*right_weights(accurate, robust, labels, draws=draws))


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


def threshold_accuracy(
    accurate: ArrayLike, robust: ArrayLike, labels: ArrayLike, *, draws: ArrayLike | None = None
) -> CleanAccuracy:
    """The step function of "h's class if its share exceeds c, else g's class" in c, from 0 to 1.

    Args:
        accurate: g's probabilities (one-hot for hardmax), shape (inputs, classes).
        robust: h's vote counts or shares, shape (inputs, classes).
        labels: true classes, shape (inputs,).
        draws: as `vote_shares`.
    """
    g, h = np.asarray(accurate, dtype=np.float64), vote_shares(robust, draws)
    score = h.max(axis=1, initial=0.0)
    return kept_accuracy(score, alone_on_top(h, labels), alone_on_top(g, labels), 0.0, 1.0)


def kept_accuracy(score: Floats, h_right: Mask, g_right: Mask, start: float, end: float) -> CleanAccuracy:
    """Accuracy of "h's class where score > tau, else g's class" for tau from start to end, exactly.

    Only inputs where one of g and h is right can change: where h is, right below the score; where g is, from it on.

    Args:
        score: shape (inputs,).
        h_right, g_right: whether each model is right, shape (inputs,).
        start, end: range of tau; end itself is no threshold.
    """
    gained, lost = np.sort(score[g_right & ~h_right]), np.sort(score[h_right & ~g_right])
    inner = np.concatenate([gained, lost])
    points = np.unique(np.concatenate([[start, end], inner[(inner > start) & (inner < end)]]))
    right = np.searchsorted(gained, points, side="right") + len(lost) - np.searchsorted(lost, points, side="right")
    accuracy = (right + (h_right & g_right).sum()) / max(len(score), 1)
    return CleanAccuracy(points, accuracy, accuracy[:-1], radii_grow=False)


def vote_shares(votes: ArrayLike, draws: ArrayLike | None = None) -> Floats:
    """Votes divided by the draws, the last axis being classes; rows without a vote are 0.

    Args:
        votes: counts or shares, shape (..., classes).
        draws: votes in all, shape (...,), where some were deferred or invalid; each row's sum where left out.
    """
    counts = np.asarray(votes, dtype=np.float64)
    total = counts.sum(axis=-1) if draws is None else np.asarray(draws, dtype=np.float64)
    return np.asarray(counts / np.maximum(total, np.finfo(np.float64).tiny)[..., None])


def alone_on_top(values: Floats, labels: ArrayLike) -> Mask:
    """Whether the true class has the largest value and shares it with no other, shape (inputs,): ties are wrong."""
    own = np.take_along_axis(values, np.asarray(labels)[:, None], axis=1)
    return np.asarray(((values >= own).sum(axis=1) == 1) & (own[:, 0] > 0))
