"""The one type every interval produces and every certifier consumes."""

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from certmix.promise import Norm, Promise
from certmix.tables import shapes_repr

ABSTAIN = -1


@dataclass(frozen=True)
class ProbabilityBounds:
    """Simultaneous bounds on the robust model's smoothed probabilities, one row per input.

    Guarantee: for each input separately, with probability at least 1 - `promise.failure_probability` over the draws,
    P[h(x + noise) = prediction] >= top_lower and P[h(x + noise) = i] <= rival_upper for every other class i.

    Attributes:
        prediction: class index, shape (inputs,), int64; ABSTAIN (-1) where no class was selected.
        top_lower: lower bound on the prediction's probability, shape (inputs,), in [0, 1).
        rival_upper: upper bound on every other class's probability, shape (inputs,), in (0, 1].
        sigma: standard deviation of the Gaussian noise, or Lambda of splitting noise, in [0, 1] pixel units.
        promise: how the failure probability was spent; None where the source does not say.
        labels: true classes, shape (inputs,), int64, when known.
        indices: stable positions in the data set, shape (inputs,), int64, when known.
        splitting_levels: G of splitting noise, whose certificates are about l1 balls on the grid of 1/G; None for Gaussian.
    """

    prediction: NDArray[np.int64]
    top_lower: NDArray[np.float64]
    rival_upper: NDArray[np.float64]
    sigma: float
    promise: Promise | None = None
    labels: NDArray[np.int64] | None = None
    indices: NDArray[np.int64] | None = None
    splitting_levels: int | None = None

    @property
    def norm(self) -> Norm:
        """Of the balls that the noise certifies."""
        return "l2" if self.splitting_levels is None else "l1"

    __repr__ = shapes_repr

    def __len__(self) -> int:
        return len(self.prediction)

    def rows(self, chosen: NDArray[np.int64]) -> "ProbabilityBounds":
        """The bounds of some of the inputs."""
        values: dict[str, Any] = {}
        for field in fields(self):
            value = getattr(self, field.name)
            values[field.name] = value[chosen] if isinstance(value, np.ndarray) else value
        return type(self)(**values)


@dataclass(frozen=True, kw_only=True, repr=False)
class DistributionBounds(ProbabilityBounds):
    """Bounds on the means of soft votes, and on the distributions of the class's probability and of class - rival.

    Attributes:
        top_tail_lower: L_j <= P[p_y >= (1 + s_j) / 2], shape (inputs, 64).
        tail_lower: L_ij <= P[D_i >= s_j] for the thresholds s_j of `histograms.THRESHOLDS`, shape (inputs, rivals, 64).
        by_distribution: whether an input is certified by the distribution, or by the means; shape (inputs,), bool.
    """

    top_tail_lower: NDArray[np.float64]
    tail_lower: NDArray[np.float64]
    by_distribution: NDArray[np.bool_]
