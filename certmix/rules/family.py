"""The family between Eq. 5 and the threshold: h's class y is kept iff phi(h_y) - lambda phi(h_k) > tau, k being g's class.

phi(p) = p^q, or the probit z(p). Eq. 5 with one-hot g at weight a is q = 1, lambda = 1, tau = (1 - a) / a; the
confidence threshold c is lambda = 0, tau = phi(c).

For Python only: between its ends nothing certifies more than the threshold by more than noise, so that the command line has
the two ends (`benchmarks/results/rules.md`). Lambda and q must come from other inputs than are reported; tau need not.
"""

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from certmix.certifiers import Certifier
from certmix.certifiers.arguments import (
    Array,
    check_bounds,
    check_shapes,
    check_sigma,
    check_threshold,
    checked,
    round_down,
)
from certmix.certifiers.envelope import EXACT, Envelope
from certmix.certifiers.exact import quantile
from certmix.clean_accuracy import CleanAccuracy, alone_on_top, kept_accuracy, vote_shares
from certmix.intervals import ProbabilityBounds
from certmix.rules.rule import AccurateVote, Floats, check_accurate_vote
from certmix.rules.threshold import envelope_of

_HALVINGS = 64
_ROUNDING = 4e-15  # above the relative rounding of a power, and of a quantile and the differences of three
_FAR = 40.0  # z of every positive float is within
PROBIT_RANGE = 100.0  # of tau; beyond it nothing changes


def check_rival_weight(rival_weight: ArrayLike) -> Array:
    """Lambda."""
    rule = "in [0, 1] (0 = threshold, 1 = margin over the accurate model's class)"
    return checked("rival_weight", rival_weight, rule, lambda v: (v >= 0) & (v <= 1))


def check_score_threshold(threshold: ArrayLike, exponent: float | None) -> Array:
    """Tau, and q."""
    if exponent is None:
        return checked(
            "threshold", threshold, "in [-100, 100] (a normal quantile)", lambda v: np.abs(v) <= PROBIT_RANGE
        )
    checked("exponent", exponent, "in [0.01, 100], or None for the probit", lambda q: (q >= 0.01) & (q <= 100))
    return check_threshold(threshold)


def family_score(top: ArrayLike, rival: ArrayLike, *, rival_weight: ArrayLike, exponent: float | None) -> Array:
    """phi(h_y) - lambda phi(h_k), which the rule compares with tau; -inf where h has no class (h_y = 0).

    Args:
        top: h_y, the largest of h's values, in [0, 1].
        rival: h_k for g's class k, in [0, 1].
        rival_weight: lambda, in [0, 1].
        exponent: q of phi(p) = p^q, or None for phi = z.
    Returns: the broadcast shape; +inf with the probit where h_y = 1, or where h_k = 0 and lambda > 0.
    """
    first, second, weight = np.asarray(top, np.float64), np.asarray(rival, np.float64), check_rival_weight(rival_weight)
    with np.errstate(invalid="ignore"):
        if exponent is None:
            score = quantile(first) - np.where(weight > 0, weight * quantile(second), 0.0)
        else:
            score = first**exponent - weight * second**exponent
    return np.where(first > 0, score, -np.inf)


def family_accuracy(
    accurate: ArrayLike,
    robust: ArrayLike,
    labels: ArrayLike,
    *,
    rival_weight: float,
    exponent: float | None,
    draws: ArrayLike | None = None,
) -> CleanAccuracy:
    """Clean accuracy as an exact step function of tau; classes tied for h's first place are wrong while h decides.

    Args:
        accurate, robust, labels, draws: as `threshold_accuracy`.
        rival_weight, exponent: as `family_radius`.
    """
    g, h = np.asarray(accurate, dtype=np.float64), vote_shares(robust, draws)
    of_g = np.take_along_axis(h, g.argmax(axis=1)[:, None], axis=1)[:, 0]
    score = family_score(h.max(axis=1, initial=0.0), of_g, rival_weight=rival_weight, exponent=exponent)
    start, end = (-PROBIT_RANGE, PROBIT_RANGE) if exponent is None else (0.0, 1.0)
    return kept_accuracy(score, alone_on_top(h, labels), alone_on_top(g, labels), start, end)


def family_radius(
    top_lower: ArrayLike,
    rival_upper: ArrayLike,
    threshold: ArrayLike,
    sigma: ArrayLike,
    *,
    rival_weight: ArrayLike,
    exponent: float | None,
    envelope: Envelope = EXACT,
) -> Array:
    """Certified radius of the rule above: sup{r : phi(L(r)) - lambda phi(U(r)) > tau and L(r) > U(r)}.

    With the probit and the exact envelope, r = min(s (z(p_A) - lambda z(p_B) - tau) / (1 + lambda), that of h itself).
    Elsewhere it is the lower end of a bisection, within 1e-6 s of the root where p_A < 1 - 1e-7, mostly within 1e-10 s.
    Proof: phi increases, so that the condition falls with r, and inside r it holds for g's class whichever it is.
    Guarantee: as `threshold_radius`, at the same bounds, for this rule; exact with the exact envelope. Rounded down.

    Args:
        top_lower, rival_upper, sigma, envelope: as `threshold_radius`.
        threshold: tau, in [0, 1), or for the probit in [-100, 100].
        rival_weight: lambda, in [0, 1].
        exponent: q of phi(p) = p^q, in [0.01, 100], or None for phi = z.
    Returns: radius in pixel units, the broadcast shape; 0 where nothing is certified.
    Raises: InvalidArgument: a value out of range, or shapes that do not broadcast.
    Example:
        >>> round(float(family_radius(0.95, 0.01, 0.4, 1.0, rival_weight=0.25, exponent=1.0)), 3)
        1.724
    """
    top, rival = check_bounds(top_lower, rival_upper)
    tau, weight = check_score_threshold(threshold, exponent), check_rival_weight(rival_weight)
    check_shapes(bounds=top, threshold=tau, sigma=check_sigma(sigma), rival_weight=weight)
    limit = envelope.crossing_radius(top, rival, sigma)
    if exponent is None and envelope is EXACT:
        return np.minimum(limit, check_sigma(sigma) * _probit_distance(top, rival, tau, weight))

    def kept(radius: Array) -> NDArray[np.bool_]:
        return _exceeds(envelope.top(top, radius, sigma), envelope.rival(rival, radius, sigma), tau, weight, exponent)

    high = np.broadcast_to(limit, np.broadcast_shapes(limit.shape, tau.shape, weight.shape))
    low = np.zeros(high.shape)
    for _ in range(_HALVINGS):
        middle = 0.5 * (low + high)
        holds = kept(middle)
        low, high = np.where(holds, middle, low), np.where(holds, high, middle)
    return np.asarray(low)


def _exceeds(low: Array, high: Array, tau: Array, weight: Array, exponent: float | None) -> NDArray[np.bool_]:
    """Whether phi(low) - weight phi(high) > tau for certain, given low > high but for rounding."""
    if exponent is None:
        # The clip is on the safe side at U = 0 and L = 1; L = 0 and U = 1 do not occur where L > U.
        first, second = (np.clip(quantile(p), -_FAR, _FAR) for p in (low, high))
        slack = _ROUNDING * (1.0 + np.abs(first) + np.abs(second) + np.abs(tau))
        return np.asarray(first - weight * second - slack > tau)
    return np.asarray(low**exponent * (1.0 - _ROUNDING) > (tau + weight * high**exponent) * (1.0 + _ROUNDING))


def _probit_distance(top: Array, rival: Array, tau: Array, weight: Array) -> Array:
    first, second = (np.clip(quantile(p), -_FAR, _FAR) for p in (top, rival))
    slack = _ROUNDING * (4.0 + np.abs(first) + np.abs(second) + np.abs(tau))
    return round_down(np.maximum(first - weight * second - tau - slack, 0.0) / (1.0 + weight))


@dataclass(frozen=True)
class FamilyRule:
    """h's class where phi(h_y) - lambda phi(h_k) > tau, k being g's class, elsewhere g's class: see `family_radius`.

    Lambda and q are fixed, or chosen on other inputs than are reported, as tau is.

    Args:
        threshold: tau, in [0, 1), or for the probit in [-100, 100].
        rival_weight: lambda, in [0, 1]; 0 is the threshold, 1 with q = 1 is Eq. 5.
        exponent: q of phi(p) = p^q, or None for phi = z.
        accurate_vote: "class"; a softmax of g decides no more than its class here.
    Raises: InvalidArgument: a value out of range.
    Example:
        >>> rule = FamilyRule(0.4, rival_weight=0.25)
        >>> rule.label, rule.decide([[0.1, 0.9]], [[55, 45]]).tolist(), rule.decide([[0.1, 0.9]], [[51, 49]]).tolist()
        ('family 0.4 (lambda 0.25, q 1)', [0], [1])
    """

    threshold: float
    rival_weight: float
    exponent: float | None = 1.0
    accurate_vote: AccurateVote = "class"
    kind: ClassVar[str] = "family"
    title: ClassVar[str] = "family threshold"

    def __post_init__(self) -> None:
        object.__setattr__(self, "threshold", float(check_score_threshold(self.threshold, self.exponent)))
        object.__setattr__(self, "rival_weight", float(check_rival_weight(self.rival_weight)))
        check_accurate_vote(self.accurate_vote)

    @property
    def parameter(self) -> float:
        """Tau."""
        return self.threshold

    @property
    def label(self) -> str:
        """Such as "family 0.4 (lambda 0.25, q 1)"."""
        phi = "probit" if self.exponent is None else f"q {self.exponent:g}"
        return f"family {self.threshold:g} (lambda {self.rival_weight:g}, {phi})"

    def takes(self, certifier: Certifier) -> bool:
        """See `Rule.takes`."""
        return certifier.envelope is not None or certifier.needs == "lipschitz"

    def radius(self, certifier: Certifier, bounds: ProbabilityBounds) -> Floats:
        """See `Rule.radius`: where the certifier's envelope leaves the rule's region."""
        return family_radius(
            bounds.top_lower,
            bounds.rival_upper,
            self.threshold,
            bounds.sigma,
            rival_weight=self.rival_weight,
            exponent=self.exponent,
            envelope=envelope_of(certifier, "the family"),
        )

    def decide(self, accurate: ArrayLike, robust: ArrayLike, *, draws: ArrayLike | None = None) -> NDArray[np.int64]:
        """See `Rule.decide`."""
        h, k = vote_shares(robust, draws), np.argmax(accurate, axis=-1)
        of_g = np.take_along_axis(h, k[..., None], axis=-1)[..., 0]
        kept = self._score(h.max(axis=-1), of_g) > self.threshold
        return np.asarray(np.where(kept, h.argmax(axis=-1), k), dtype=np.int64)

    def lead(self, candidate: int, accurate: Floats, lower: Floats, upper: Floats) -> float:
        """See `Rule.lead`: h must be sure of the candidate; g's class also wins over a class that h cannot be sure of."""
        k, others = int(np.argmax(accurate)), np.arange(len(lower)) != candidate
        low, high = np.clip(lower, 0.0, 1.0), np.clip(upper, 0.0, 1.0)
        ahead = low[candidate] - high[others]
        if candidate == k:
            unsure = self.threshold - self._score(high[others], np.full(int(others.sum()), low[k]))
            return float(np.maximum(ahead, unsure).min())
        return float(min(ahead.min(), float(self._score(low[candidate], high[k])) - self.threshold))

    def clean_accuracy(
        self, accurate: ArrayLike, robust: ArrayLike, labels: ArrayLike, *, draws: ArrayLike | None = None
    ) -> CleanAccuracy:
        """See `Rule.clean_accuracy`."""
        return family_accuracy(
            accurate, robust, labels, rival_weight=self.rival_weight, exponent=self.exponent, draws=draws
        )

    def with_parameter(self, parameter: float) -> "FamilyRule":
        """See `Rule.with_parameter`."""
        return replace(self, threshold=parameter)

    def to_json(self) -> dict[str, object]:
        """See `Rule.to_json`."""
        return {
            "kind": self.kind,
            "parameter": self.threshold,
            "rival_weight": self.rival_weight,
            "exponent": self.exponent,
            "accurate_vote": self.accurate_vote,
        }

    def _score(self, top: ArrayLike, rival: ArrayLike) -> Array:
        return family_score(top, rival, rival_weight=self.rival_weight, exponent=self.exponent)
