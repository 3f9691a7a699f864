"""The one type every interval produces and every certifier consumes."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

ABSTAIN = -1


@dataclass(frozen=True)
class ProbabilityBounds:
    """Simultaneous bounds on the robust model's smoothed probabilities, one row per input.

    Guarantee: for each input separately, with probability at least 1 - `failure_probability` over the draws,
    P[h(x + noise) = prediction] >= top_lower and P[h(x + noise) = i] <= rival_upper for every other class i.

    Attributes:
        prediction: class index, shape (inputs,), int64; ABSTAIN (-1) where no class was selected.
        top_lower: lower bound on the prediction's probability, shape (inputs,), in [0, 1).
        rival_upper: upper bound on every other class's probability, shape (inputs,), in (0, 1].
        sigma: standard deviation of the Gaussian noise, in [0, 1] pixel units.
        failure_probability: the chance, per input, that a bound is wrong; None where the source does not say.
        labels: true classes, shape (inputs,), int64, when known.
        indices: stable positions in the data set, shape (inputs,), int64, when known.
    """

    prediction: NDArray[np.int64]
    top_lower: NDArray[np.float64]
    rival_upper: NDArray[np.float64]
    sigma: float
    failure_probability: float | None = None
    labels: NDArray[np.int64] | None = None
    indices: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self.prediction)
