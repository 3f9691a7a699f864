"""Early stopping: group-sequential looks at the votes, whose bounds stay valid whenever the sampling stops.

Every look has its own share of the failure probability, fixed beforehand, so that the bounds of all looks hold together
and any stopping rule may choose among them. An input stops when its radius is decided, or when it hardly can be.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from certmix.certifiers import exact_radius
from certmix.certifiers.arguments import check_mixing_weight
from certmix.errors import InvalidArgument
from certmix.intervals import clopper_pearson_lower, clopper_pearson_upper

FUTILITY = 1e-2  # two-sided level of the estimates by which an input is given up; no promise depends on it
FIRST_LOOK, GROWTH = 100, 3


@dataclass(frozen=True)
class Schedule:
    """When an input's votes are looked at, and what each look may spend.

    Guarantee: with bounds at look l of failure probability spending[l] each, all looks' bounds hold together with
    probability at least 1 - failure_probability, so that those of the look where sampling stopped hold, whatever rule
    stopped it. Half is spent on the last look, half on the others evenly.

    Attributes:
        looks: estimation draws at each look, ascending; the last is the full number.
        failure_probability: of all looks together, per input, in (0, 1).
        sigma: standard deviation of the noise, in [0, 1] pixel units.
        mixing_weight: at which the radius is decided.
        target_radius: stop when the radius is known to reach it, or not to; pixel units. None: see `radius_tolerance`.
        radius_tolerance: stop when the radius is within this share of what all draws would give; in (0, 1).
    """

    looks: tuple[int, ...]
    failure_probability: float
    sigma: float
    mixing_weight: float
    target_radius: float | None = None
    radius_tolerance: float | None = None

    @property
    def spending(self) -> tuple[float, ...]:
        """Failure probability of each look's bounds; their sum is `failure_probability`."""
        return look_spending(self.looks, self.failure_probability)

    def spent_at(self, draws: ArrayLike) -> NDArray[np.float64]:
        """The failure probability of bounds after so many estimation draws, the shape of `draws`."""
        place = np.searchsorted(self.looks, np.asarray(draws))
        return np.asarray(np.array(self.spending)[place])

    def stops(self, counts: NDArray[np.int64], draws: int, accurate: NDArray[np.float64] | None) -> bool:
        """`decided` for one input's votes, shape (2, classes + 1): selection and estimation, the last column invalid."""
        winner = int(counts[0, :-1].argmax())
        rival = max(int(count) for i, count in enumerate(counts[1]) if i != winner)
        return bool(self.decided(int(counts[1, winner]), rival, draws))

    def decided(self, top: ArrayLike, rival: ArrayLike, draws: int) -> NDArray[np.bool_]:
        """Whether sampling stops at a look.

        Args:
            top: votes of the selected class, shape (inputs,).
            rival: the largest rival count (invalid votes count), shape (inputs,).
            draws: estimation draws so far, one of `looks`.
        Returns: shape (inputs,).
        """
        k, r = np.asarray(top, dtype=np.float64), np.asarray(rival, dtype=np.float64)
        if draws >= self.looks[-1]:
            return np.ones(k.shape, dtype=bool)
        radius = self._radius(k, r, draws, self.spent_at(draws))
        # What all draws could give, if the shares are as good as they may be.
        best_top = clopper_pearson_upper(k, draws, FUTILITY / 2)
        best_rival = np.minimum(clopper_pearson_lower(r, draws, FUTILITY / 2), 1.0 - best_top)
        hoped = self._full_radius(best_top, best_rival)
        if self.target_radius is not None:
            wanted = np.maximum(self.target_radius, np.finfo(float).tiny)
            return np.asarray((radius >= wanted) | (hoped < wanted))
        expected = self._full_radius(k / draws, r / draws)
        assert self.radius_tolerance is not None
        return np.asarray((radius >= (1.0 - self.radius_tolerance) * expected) & (radius > 0) | (hoped <= 0))

    def _full_radius(self, top_share: NDArray[np.float64], rival_share: NDArray[np.float64]) -> NDArray[np.float64]:
        last = self.looks[-1]
        rival = np.minimum(np.floor(rival_share * last), last - np.floor(top_share * last))
        return self._radius(np.floor(top_share * last), rival, last, np.array(self.spending[-1]))

    def _radius(
        self, top: NDArray[np.float64], rival: NDArray[np.float64], draws: int, spent: NDArray[np.float64]
    ) -> NDArray[np.float64]:
        lower = clopper_pearson_lower(top, draws, spent / 2)
        upper = np.minimum(clopper_pearson_upper(rival, draws, spent / 2), np.nextafter(1.0 - lower, 2.0))
        return exact_radius(lower, np.minimum(upper, 1.0), self.mixing_weight, self.sigma)

    def describe(self) -> dict[str, Any]:
        """What defines the schedule, for the manifest."""
        return {
            "looks": list(self.looks),
            "spending": list(self.spending),
            "failure_probability": self.failure_probability,
            "mixing_weight": self.mixing_weight,
            "target_radius": self.target_radius,
            "radius_tolerance": self.radius_tolerance,
        }


def look_schedule(num_estimation: int) -> tuple[int, ...]:
    """Looks at 100, 300, 900, ... draws, and at all of them."""
    looks, look = [], FIRST_LOOK
    while look < num_estimation:
        looks.append(look)
        look *= GROWTH
    return (*looks, num_estimation)


def look_spending(looks: tuple[int, ...], failure_probability: float) -> tuple[float, ...]:
    """Half of the failure probability for the last look, the other half evenly over those before."""
    early = len(looks) - 1
    if not early:
        return (failure_probability,)
    return (*[failure_probability / 2 / early] * early, failure_probability / 2)


def make_schedule(
    num_estimation: int,
    *,
    sigma: float,
    failure_probability: float = 1e-3,
    mixing_weight: float = 1.0,
    target_radius: float | None = None,
    radius_tolerance: float | None = None,
) -> Schedule:
    """Looks at 100, 300, 900, ... and at all draws; see `Schedule`.

    Args:
        num_estimation: draws of the last look.
        sigma, failure_probability, mixing_weight, target_radius, radius_tolerance: as `Schedule`.
    Raises: InvalidArgument: a value out of range, neither or both of target and tolerance, or a target out of reach.
    """
    check_mixing_weight(mixing_weight)
    if (target_radius is None) == (radius_tolerance is None):
        raise InvalidArgument("early stopping needs either a target radius or a radius tolerance; give exactly one.")
    if not 0.0 < failure_probability < 1.0:
        raise InvalidArgument(f"failure_probability must be in (0, 1), got {failure_probability}; 0.001 is customary.")
    if radius_tolerance is not None and not 0.0 < radius_tolerance < 1.0:
        raise InvalidArgument(f"radius_tolerance must be in (0, 1), got {radius_tolerance}; 0.05 is 5 %.")
    if num_estimation < 1:
        raise InvalidArgument(f"num_estimation must be >= 1, got {num_estimation}; the paper draws 10,000.")
    schedule = Schedule(
        look_schedule(num_estimation), failure_probability, sigma, float(mixing_weight), target_radius, radius_tolerance
    )
    if target_radius is not None:
        spent = schedule.spending[-1]
        top = clopper_pearson_lower(num_estimation, num_estimation, spent / 2)
        reach = float(exact_radius(top, min(float(np.nextafter(1.0 - top, 2.0)), 1.0), mixing_weight, sigma))
        if not 0.0 <= target_radius <= reach:
            raise InvalidArgument(
                f"target radius must be in [0, {reach:.4f}], what {num_estimation} draws can certify at mixing weight "
                f"{mixing_weight:g}, got {target_radius}; draw more, or stop at less."
            )
    return schedule
