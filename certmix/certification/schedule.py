"""Early stopping: group-sequential looks at the votes, whose bounds stay valid whenever the sampling stops.

Every look has its own share of the failure probability, fixed beforehand, so that the bounds of all looks hold together
and any stopping rule may choose among them. An input stops when its radius is decided, or when it hardly can be.
"""

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from certmix.certifiers import CERTIFIERS
from certmix.errors import InvalidArgument, RunError
from certmix.intervals import ProbabilityBounds, clopper_pearson_lower, clopper_pearson_upper
from certmix.json_fields import Fields
from certmix.promise import DEFAULT_FAILURE_PROBABILITY, check_failure_probability
from certmix.rules import LinearRule, Rule, rule_from_json

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
        rule: by which the radius is decided, with the exact certificate.
        target_radius: stop when the radius is known to reach it, or not to; pixel units. None: see `radius_tolerance`.
        radius_tolerance: stop when the radius is within this share of what all draws would give; in (0, 1).
    """

    looks: tuple[int, ...]
    failure_probability: float
    sigma: float
    rule: Rule
    target_radius: float | None = None
    radius_tolerance: float | None = None

    @property
    def spending(self) -> tuple[float, ...]:
        """Failure probability of each look's bounds; their sum is `failure_probability`."""
        return look_spending(self.looks, self.failure_probability)

    @property
    def reach(self) -> float:
        """The radius that all draws certify where every one of them votes for the class; 0 where no radius can be."""
        last = np.array([float(self.looks[-1])])
        return float(self._radius(last, 0.0 * last, self.looks[-1], np.array(self.spending[-1]))[0])

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
        lower = np.atleast_1d(clopper_pearson_lower(top, draws, spent / 2))
        upper = np.minimum(clopper_pearson_upper(rival, draws, spent / 2), np.nextafter(1.0 - lower, 2.0))
        bounds = ProbabilityBounds(np.zeros(len(lower), dtype=np.int64), lower, np.minimum(upper, 1.0), self.sigma)
        return self.rule.radius(CERTIFIERS["exact"], bounds).reshape(np.shape(top))

    def to_json(self) -> dict[str, object]:
        """As plain values, without sigma, which a run's draws hold."""
        return {
            "looks": list(self.looks),
            "spending": list(self.spending),
            "failure_probability": self.failure_probability,
            "rule": self.rule.to_json(),
            "target_radius": self.target_radius,
            "radius_tolerance": self.radius_tolerance,
        }

    @classmethod
    def from_json(cls, tree: Fields, *, sigma: float, num_estimation: int) -> "Schedule":
        """Of what `to_json` made, for a run of this sigma and so many draws.

        Raises: RunError: a field that is missing, unknown or breaks its rule, or a spending that its looks do not imply.
        """
        looks = tree.integers("looks", 1, num_estimation)
        err = tree.number("failure_probability", 5e-324, 1.0 - 2**-53)
        ascending = looks and all(low < high for low, high in itertools.pairwise(looks))
        if not ascending or looks[-1] != num_estimation:
            raise RunError(f"{tree.where}: looks must ascend to num_estimation, {num_estimation}, got {looks!r:.80}.")
        if tree.numbers("spending", 0.0, 1.0) != look_spending(looks, err):
            raise RunError(f"{tree.where}: spending must be half on the last look, and even before; sample anew.")
        made = cls(
            looks,
            err,
            sigma,
            rule_from_json(tree.part("rule")),
            tree.optional("target_radius", lambda: tree.number("target_radius", 0.0)),
            tree.optional("radius_tolerance", lambda: tree.number("radius_tolerance", 5e-324, 1.0 - 2**-53)),
        )
        tree.end()
        if (made.target_radius is None) == (made.radius_tolerance is None):
            raise RunError(f"{tree.where}: either target_radius or radius_tolerance must be a number, the other null.")
        return made


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
    failure_probability: float = DEFAULT_FAILURE_PROBABILITY,
    rule: Rule | None = None,
    target_radius: float | None = None,
    radius_tolerance: float | None = None,
) -> Schedule:
    """Looks at 100, 300, 900, ... and at all draws; see `Schedule`.

    Args:
        num_estimation: draws of the last look.
        sigma, failure_probability, rule, target_radius, radius_tolerance: as `Schedule`; the rule is h alone by default.
    Raises: InvalidArgument: a value out of range, neither or both of target and tolerance, or a target out of reach.
    """
    if (target_radius is None) == (radius_tolerance is None):
        raise InvalidArgument("early stopping needs either a target radius or a radius tolerance; give exactly one.")
    check_failure_probability(failure_probability)
    if radius_tolerance is not None and not 0.0 < radius_tolerance < 1.0:
        raise InvalidArgument(f"radius_tolerance must be in (0, 1), got {radius_tolerance}; 0.05 is 5 %.")
    if num_estimation < 1:
        raise InvalidArgument(f"num_estimation must be >= 1, got {num_estimation}; the paper draws 10,000.")
    looks, rule = look_schedule(num_estimation), rule or LinearRule(1.0)
    schedule = Schedule(looks, failure_probability, sigma, rule, target_radius, radius_tolerance)
    reach = schedule.reach
    if target_radius is None:
        if not reach:
            raise InvalidArgument(
                f"{num_estimation} draws can certify nothing at {rule.label}; draw more, or ask for less."
            )
    elif not 0.0 <= target_radius <= reach:
        raise InvalidArgument(
            f"target radius must be in [0, {reach:.4f}], what {num_estimation} draws can certify at {rule.label}, got "
            f"{target_radius}; draw more, or stop at less."
        )
    return schedule
