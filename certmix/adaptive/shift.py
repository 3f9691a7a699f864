"""Where to shift an adaptive mixture's gate so that clean accuracy meets a target: exactly, without a search.

For every input, the gates at which the mixture is right form an open interval; the gate is an increasing function of
one number (the shift of the sigmoid, or the floor of the range), so the same holds for that number, and clean accuracy is
a step function of it. Source: arXiv:2301.12554, Section C.2 ("we add an appropriate constant"), which searches instead.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from certmix.clean_accuracy import right_weights
from certmix.errors import InvalidArgument
from certmix.tables import shapes_repr

Floats = NDArray[np.float64]
FLOAT32_WIDTH = 1e-4  # narrower intervals of shifts are passed over: a float32 network might not hit them


@dataclass(frozen=True)
class Shift:
    """A shift that meets a target.

    Attributes:
        value: of the sigmoid's argument; in the middle of the interval of shifts with the same predictions.
        clean_accuracy: of the mixture at that shift on the inputs it was chosen on.
        gate: a(x) of these inputs at that shift, shape (inputs,).
    """

    value: float
    clean_accuracy: float
    gate: Floats

    __repr__ = shapes_repr


def calibrated_shift(
    accurate: ArrayLike,
    robust: ArrayLike,
    numbers: ArrayLike,
    labels: ArrayLike,
    *,
    target: float,
    scale: float,
    gate_range: tuple[float, float],
) -> Shift:
    """The largest shift (most weight on the robust model) at which clean accuracy is at least the target.

    Args:
        accurate, robust: probabilities of g and h, shape (inputs, classes), as `AdaptiveMixture.base_outputs` gives them.
        numbers: of the mixing network, shape (inputs,).
        labels: true classes, shape (inputs,).
        target: clean accuracy, in [0, 1].
        scale: of the sigmoid's argument, > 0.
        gate_range: (a_min, a_max).
    Raises: InvalidArgument: no shift reaches the target; the best is named.
    """
    low, high = gate_range
    argument = scale * np.asarray(numbers, dtype=np.float64)
    right_low, right_high = right_weights(accurate, robust, labels)
    with np.errstate(divide="ignore"):  # a share of 0 or 1 is a shift of minus or plus infinity
        below = special.logit(np.clip((right_low - low) / (high - low), 0.0, 1.0)) - argument
        above = special.logit(np.clip((right_high - low) / (high - low), 0.0, 1.0)) - argument
    some = right_low < right_high
    shift = _largest(below[some], above[some], target, len(some))
    gate = low + (high - low) * special.expit(argument + shift)
    return Shift(shift, float(((right_low < gate) & (gate < right_high)).mean()), gate)


def _largest(below: Floats, above: Floats, target: float, inputs: int) -> float:
    """The middle of the highest interval between steps where enough inputs are right; 1 beyond a last step at infinity."""
    steps = np.unique(np.concatenate([below, above]))
    steps = steps[np.isfinite(steps)]
    if not len(steps):
        steps = np.zeros(1)
    middles = np.concatenate([[steps[0] - 1.0], (steps[1:] + steps[:-1]) / 2, [steps[-1] + 1.0]])
    right = np.searchsorted(np.sort(below), middles, side="left") - np.searchsorted(
        np.sort(above), middles, side="right"
    )
    reached = right / max(inputs, 1) >= target - 1e-12
    wide = np.concatenate([[True], np.diff(steps) > FLOAT32_WIDTH, [True]])
    good = np.flatnonzero(reached & wide) if (reached & wide).any() else np.flatnonzero(reached)
    if not len(good):
        best = right.argmax()
        raise InvalidArgument(
            f"target clean accuracy must be one that some shift reaches, got {target:.4f}: the best is "
            f"{right[best] / max(inputs, 1):.4f} (shift {middles[best]:.3f}); lower the target or widen the gate's range."
        )
    return float(middles[good[-1]])


def check_target(target: float) -> None:
    """Raise InvalidArgument unless the target is a share."""
    if not (0.0 <= target <= 1.0 and math.isfinite(target)):
        raise InvalidArgument(f"target must be in [0, 1] (share of inputs), got {target}.")
