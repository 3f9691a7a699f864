"""One sigma of a sweep, from stored draws or from a published log."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from certmix.certification.bounds import bound_statistics, promise_of
from certmix.certification.votes import votes_of_h
from certmix.clean_accuracy import CleanAccuracy
from certmix.errors import InvalidArgument
from certmix.intervals import ABSTAIN, ProbabilityBounds
from certmix.promise import Interval, MeanBound, Votes
from certmix.rules import Rule

if TYPE_CHECKING:
    from certmix.runs.store import Statistics

Floats = NDArray[np.float64]
Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Candidate:
    """One sigma of a sweep: bounds for certificates, g and h at the clean inputs for accuracy.

    Attributes:
        bounds: with labels and indices.
        accurate: g's probabilities, shape (inputs, classes).
        robust: h's votes, shape (inputs, classes).
        kind: "fixed" rules, or "adaptive"; a sweep takes one candidate per sigma and kind, and several of confident votes.
        draws: what the votes are shares of, shape (inputs,); each row's sum where None.
    """

    bounds: ProbabilityBounds
    accurate: Floats
    robust: Floats
    kind: str = "fixed"
    draws: Floats | None = None

    def __repr__(self) -> str:
        sure = "" if self.confidence is None else f", confident at {self.confidence:g}"
        return f"Candidate({len(self.labels)} inputs, sigma {self.bounds.sigma:g}, {self.kind}{sure})"

    @property
    def labels(self) -> NDArray[np.int64]:
        """True classes, shape (inputs,)."""
        assert self.bounds.labels is not None
        return self.bounds.labels

    @property
    def confidence(self) -> float | None:
        """That of confident votes; None for others."""
        return None if self.bounds.promise is None else self.bounds.promise.confidence

    def rules(self, wanted: Sequence[Rule]) -> list[Rule]:
        """Of the rules wanted, those that this candidate can follow."""
        return list(wanted)

    def clean(self, rule: Rule, rows: Rows) -> CleanAccuracy:
        """Clean accuracy over some of the inputs, as a function of the rule's parameter."""
        draws = None if self.draws is None else self.draws[rows]
        return rule.clean_accuracy(self.accurate[rows], self.robust[rows], self.labels[rows], draws=draws)


def candidate_from_statistics(
    statistics: "Statistics",
    *,
    failure_probability: float | None = None,
    interval: Interval = "pair",
    votes: Votes | None = None,
    mean_bound: MeanBound = "betting",
    distributions: bool = False,
    confidence: float | None = None,
    lipschitz: float | None = None,
) -> Candidate:
    """A candidate from stored draws in which g was recorded; arguments as `certify`.

    Args:
        distributions: bound the distributions of soft votes too, which certifier "cdf" needs.
    Raises: InvalidArgument: the accurate model's probabilities were not recorded.
    """
    if statistics.accurate_probabilities is None:
        raise InvalidArgument(
            f"the run at sigma {statistics.sigma:g} must hold the accurate model's predictions, and does not; "
            "sample it with --accurate."
        )
    promise = promise_of(
        statistics,
        failure_probability=failure_probability,
        interval=interval,
        votes=votes,
        mean_bound=mean_bound,
        confidence=confidence,
        lipschitz=lipschitz,
    )
    bounds = bound_statistics(statistics, promise, distributions=distributions)
    votes_of_g = statistics.accurate_probabilities.astype(np.float64)
    robust, draws = votes_of_h(statistics, promise)
    return Candidate(bounds, votes_of_g, robust, draws=draws)


def candidate_from_log(bounds: ProbabilityBounds, accurate_predictions: ArrayLike) -> Candidate:
    """A candidate from a published log, which holds p_A only: a model of h's other votes is needed for clean accuracy.

    h is taken to put p_A on its prediction and 1 - p_A on g's class; where h abstains, g decides, at every weight and
    for the baseline too. Certificates do not depend on this model.

    Args:
        bounds: of `read_certification_log`.
        accurate_predictions: g's classes on the same inputs, shape (inputs,).
    """
    chosen = np.asarray(accurate_predictions, dtype=np.int64)
    rows, classes = (
        np.arange(len(chosen)),
        1 + int(max(chosen.max(), bounds.prediction.max(), 0 if bounds.labels is None else bounds.labels.max())),
    )
    votes = np.zeros((len(chosen), classes))
    certain = bounds.prediction != ABSTAIN
    votes[rows[~certain], chosen[~certain]] = 1.0
    votes[rows[certain], chosen[certain]] += 1.0 - bounds.top_lower[certain]
    votes[rows[certain], bounds.prediction[certain]] += bounds.top_lower[certain]
    return Candidate(bounds, np.eye(classes)[chosen], votes)
