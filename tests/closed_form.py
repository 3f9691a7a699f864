"""Classifiers whose smoothed probabilities, margins and true radii are known: half-spaces under Gaussian noise."""

from dataclasses import dataclass

import numpy as np
from scipy import special


@dataclass(frozen=True)
class HalfSpaces:
    """Class 0 where u.x <= left, class 1 where u.x >= right (left <= right), class 2 between; u a unit vector.

    The input is at u.x = 0; moving it by d along u makes the smoothed probabilities functions of d / sigma alone.
    """

    left: float
    right: float
    sigma: float

    def smoothed(self, along: float) -> np.ndarray:
        """h at the input moved by `along`, shape (3,)."""
        low = special.ndtr((self.left - along) / self.sigma)
        high = special.ndtr((along - self.right) / self.sigma)
        return np.array([low, high, max(0.0, 1.0 - low - high)])

    def mixture_class(self, along: float, weight: float, accurate_class: int) -> int:
        """Class of the mixture with g one-hot on `accurate_class`; a tie goes to the adversary."""
        mixed = weight * self.smoothed(along)
        mixed[accurate_class] += 1.0 - weight
        rivals = [i for i in range(3) if i != 0 and mixed[i] >= mixed[0]]
        return rivals[0] if rivals else 0

    def true_radius(self, weight: float) -> float:
        """Distance to the nearest point where some one-hot g makes the mixture leave class 0, by dense search."""
        best = np.inf
        for direction in (1.0, -1.0):
            for rival in (1, 2):

                def margin(d: float, direction: float = direction, rival: int = rival) -> float:
                    h = self.smoothed(direction * d)
                    return float(weight * (h[0] - h[rival]) - (1.0 - weight))

                grid = np.linspace(0.0, 12.0 * self.sigma, 4001)
                below = np.flatnonzero([margin(d) <= 0 for d in grid])
                if not len(below):
                    continue
                if below[0] == 0:
                    return 0.0
                low, high = grid[below[0] - 1], grid[below[0]]
                for _ in range(100):
                    middle = 0.5 * (low + high)
                    low, high = (low, middle) if margin(middle) <= 0 else (middle, high)
                best = min(best, low)
        return float(best)
