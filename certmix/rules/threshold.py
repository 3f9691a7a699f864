"""The confidence threshold: h's class where its smoothed probability exceeds c, elsewhere g's class."""

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from certmix.certifiers import CERTIFIERS, Certifier, cdf_radius
from certmix.certifiers.arguments import Array, check_bounds, check_threshold
from certmix.certifiers.cdf import cdf_top_radius
from certmix.certifiers.envelope import EXACT, Envelope
from certmix.clean_accuracy import CleanAccuracy, threshold_accuracy, vote_shares
from certmix.errors import InvalidArgument
from certmix.intervals import DistributionBounds, ProbabilityBounds
from certmix.intervals.histograms import THRESHOLDS
from certmix.rules.rule import AccurateVote, Floats, check_accurate_vote


def threshold_radius(
    top_lower: ArrayLike,
    rival_upper: ArrayLike,
    threshold: ArrayLike,
    sigma: ArrayLike,
    *,
    envelope: Envelope = EXACT,
) -> Array:
    """Certified radius of "h's class y if h_y > c, else g's class": sup{r : L(r) > c and L(r) > U(r)}.

    With the exact envelope, r = max(0, min((s/2)(z(p_A) - z(p_B)), s (z(p_A) - z(c)))): that of h itself until the
    threshold binds. For p_B = 1 - p_A and c = 1 / (2a) it is `exact_radius` at weight a.
    Source: the Neyman-Pearson lemma, as for `exact_radius`; not in arXiv:2301.12554. Proof: inside r, h_y > c and
    h_y > h_i for every i, so that the rule keeps y whatever g says. Beyond r, the half-spaces that attain L and U lose
    one of the two, and the adversary names another class.
    Guarantee: given p_A <= h_y(x) and h_i(x) <= p_B for i != y, the rule predicts y on the open ball of radius r whatever
    g is; with the exact envelope (l2, h smoothed by N(0, s^2)) no larger radius holds for all such h and g. Rounded down.

    Args:
        top_lower: lower bound on h_y(x), in [0, 1).
        rival_upper: upper bound on every h_i(x), in (0, 1]; replaced by min(rival_upper, 1 - top_lower).
        threshold: c, in [0, 1); 0 is h alone, c < 1/2 is allowed.
        sigma: standard deviation of the noise, > 0, in [0, 1] pixel units.
        envelope: of the certifier; any norm.
    Returns: radius in pixel units, the broadcast shape; 0 where nothing is certified.
    Raises: InvalidArgument: a value out of range, or shapes that do not broadcast.
    Example:
        >>> round(float(threshold_radius(0.95, 0.01, 0.4, 1.0)), 3)
        1.898
    """
    top, rival = check_bounds(top_lower, rival_upper)
    return np.minimum(envelope.crossing_radius(top, rival, sigma), envelope.top_radius(top, threshold, sigma))


def envelope_of(certifier: Certifier, what: str) -> Envelope:
    """The certifier's envelope, or InvalidArgument where it has none, which `what` needs."""
    if certifier.envelope is None:
        able = ", ".join(name for name, one in CERTIFIERS.items() if one.envelope is not None)
        raise InvalidArgument(f"certifier must be one with an envelope for {what} ({able}), got {certifier.name!r}.")
    return certifier.envelope


@dataclass(frozen=True)
class ThresholdRule:
    """h's class where its smoothed probability exceeds c, elsewhere g's class: see `threshold_radius`.

    Args:
        threshold: c in [0, 1); 0 is h alone, and the larger c, the more often g decides.
        accurate_vote: "class"; a softmax of g decides no more than its class here.
    Raises: InvalidArgument: a value out of range.
    Example:
        >>> rule = ThresholdRule(0.65)
        >>> rule.label, rule.decide([[0.1, 0.9]], [[60, 40]]).tolist(), rule.decide([[0.1, 0.9]], [[70, 30]]).tolist()
        ('threshold 0.65', [1], [0])
    """

    threshold: float
    accurate_vote: AccurateVote = "class"
    kind: ClassVar[str] = "threshold"
    title: ClassVar[str] = "threshold"

    def __post_init__(self) -> None:
        object.__setattr__(self, "threshold", float(check_threshold(self.threshold)))
        check_accurate_vote(self.accurate_vote)

    @property
    def parameter(self) -> float:
        """The threshold."""
        return self.threshold

    @property
    def label(self) -> str:
        """Such as "threshold 0.45"."""
        return f"threshold {self.threshold:g}"

    def takes(self, certifier: Certifier) -> bool:
        """See `Rule.takes`."""
        return certifier.envelope is not None or certifier.needs is not None

    def radius(self, certifier: Certifier, bounds: ProbabilityBounds) -> Floats:
        """See `Rule.radius`: where the certifier's envelope leaves h_y > c or h_y > h_i.

        Certifier "cdf" takes the distributions of an input where the selection draws chose them, else its means.
        """
        by_tails = bounds if isinstance(bounds, DistributionBounds) and certifier.needs == "distributions" else None
        envelope = envelope_of(certifier, "a threshold") if by_tails is None else EXACT
        radius = threshold_radius(bounds.top_lower, bounds.rival_upper, self.threshold, bounds.sigma, envelope=envelope)
        if by_tails is not None:
            chosen = by_tails.by_distribution
            ahead = cdf_radius(by_tails.tail_lower[chosen], THRESHOLDS, 1.0, bounds.sigma)[0]
            above = cdf_top_radius(
                by_tails.top_tail_lower[chosen], (1.0 + THRESHOLDS) / 2.0, self.threshold, bounds.sigma
            )[0]
            radius[chosen] = np.minimum(ahead, above)
        return radius

    def decide(self, accurate: ArrayLike, robust: ArrayLike, *, draws: ArrayLike | None = None) -> NDArray[np.int64]:
        """See `Rule.decide`."""
        h = vote_shares(robust, draws)
        kept = h.max(axis=-1) > self.threshold
        return np.asarray(np.where(kept, h.argmax(axis=-1), np.argmax(accurate, axis=-1)), dtype=np.int64)

    def lead(self, candidate: int, accurate: Floats, lower: Floats, upper: Floats) -> float:
        """See `Rule.lead`: h must be sure of the candidate; g's class also wins where no other class can be sure."""
        needed = lower[candidate]
        if candidate == int(np.argmax(accurate)):
            needed = max(needed, self.threshold)
        else:
            upper = np.append(upper, self.threshold)
        return float(needed - np.delete(upper, candidate).max())

    def clean_accuracy(
        self, accurate: ArrayLike, robust: ArrayLike, labels: ArrayLike, *, draws: ArrayLike | None = None
    ) -> CleanAccuracy:
        """See `Rule.clean_accuracy`."""
        return threshold_accuracy(accurate, robust, labels, draws=draws)

    def with_parameter(self, parameter: float) -> "ThresholdRule":
        """See `Rule.with_parameter`."""
        return replace(self, threshold=parameter)

    def to_json(self) -> dict[str, object]:
        """See `Rule.to_json`."""
        return {"kind": self.kind, "parameter": self.threshold, "accurate_vote": self.accurate_vote}
