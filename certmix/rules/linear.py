"""Eq. 5: the mixture (1 - a) g + a h of class probabilities, at one mixing weight a."""

from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from certmix.certifiers import Certifier
from certmix.certifiers.arguments import check_mixing_weight
from certmix.clean_accuracy import CleanAccuracy, clean_accuracy, vote_shares
from certmix.intervals import ProbabilityBounds
from certmix.rules.rule import AccurateVote, Floats, accurate_votes, check_accurate_vote


@dataclass(frozen=True)
class LinearRule:
    """log((1 - a) g + a h), h's class kept where h_y - h_i > (1 - a) / a. Source: arXiv:2301.12554, Eq. 5 and Lemma 3.2.

    Differs: g votes with its class by default, as in the paper's certified experiments (Section A.2).

    Args:
        mixing_weight: a in [0, 1]; 0 = accurate model, 1 = robust model; up to 1/2 nothing can be certified.
        accurate_vote: "class" or "softmax" of g.
    Raises: InvalidArgument: a value out of range.
    Example:
        >>> rule = LinearRule(0.8)
        >>> rule.label, rule.decide([[0.1, 0.9]], [[60, 40]]).tolist(), rule.decide([[0.1, 0.9]], [[70, 30]]).tolist()
        ('weight 0.8', [1], [0])
    """

    mixing_weight: float
    accurate_vote: AccurateVote = "class"
    kind: ClassVar[str] = "linear"
    title: ClassVar[str] = "weight"

    def __post_init__(self) -> None:
        object.__setattr__(self, "mixing_weight", float(check_mixing_weight(self.mixing_weight)))
        check_accurate_vote(self.accurate_vote)

    @property
    def parameter(self) -> float:
        """The mixing weight."""
        return self.mixing_weight

    @property
    def label(self) -> str:
        """Such as "weight 0.8"."""
        return f"weight {self.mixing_weight:g}"

    def takes(self, certifier: Certifier) -> bool:
        """See `Rule.takes`: all certifiers know the margin."""
        return True

    def radius(self, certifier: Certifier, bounds: ProbabilityBounds) -> Floats:
        """See `Rule.radius`: Lemma 3.2 with the certifier's margin curve."""
        return certifier.certify(bounds, self.mixing_weight)

    def decide(self, accurate: ArrayLike, robust: ArrayLike, *, draws: ArrayLike | None = None) -> NDArray[np.int64]:
        """See `Rule.decide`."""
        g = accurate_votes(accurate, self.accurate_vote)
        mixed = (1.0 - self.mixing_weight) * g + self.mixing_weight * vote_shares(robust, draws)
        return np.asarray(mixed.argmax(axis=-1), dtype=np.int64)

    def lead(self, candidate: int, accurate: Floats, lower: Floats, upper: Floats) -> float:
        """See `Rule.lead`: the smallest lead of the candidate in the mixture."""
        g = accurate_votes(accurate, self.accurate_vote)
        lead = (1.0 - self.mixing_weight) * (g[candidate] - g) + self.mixing_weight * (lower[candidate] - upper)
        return float(np.delete(lead, candidate).min())

    def clean_accuracy(
        self, accurate: ArrayLike, robust: ArrayLike, labels: ArrayLike, *, draws: ArrayLike | None = None
    ) -> CleanAccuracy:
        """See `Rule.clean_accuracy`; ties are wrong."""
        return clean_accuracy(accurate_votes(accurate, self.accurate_vote), robust, labels, draws=draws)

    def with_parameter(self, parameter: float) -> "LinearRule":
        """See `Rule.with_parameter`."""
        return replace(self, mixing_weight=parameter)

    def to_json(self) -> dict[str, object]:
        """See `Rule.to_json`."""
        return {"kind": self.kind, "parameter": self.mixing_weight, "accurate_vote": self.accurate_vote}
