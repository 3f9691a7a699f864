"""Statistics -> whole votes per class: hard ones, or confident ones from the histograms of soft votes."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from certmix.intervals import ABSTAIN
from certmix.intervals.confidence import confident_counts
from certmix.promise import Promise

if TYPE_CHECKING:
    from certmix.runs.store import Statistics

Integers = NDArray[np.int64]


@dataclass(frozen=True)
class ClassVotes:
    """Votes of the estimation draws, and the class that the selection draws chose.

    Attributes:
        prediction: chosen class, shape (inputs,); ABSTAIN where no draw voted.
        counts: shape (inputs, classes + 1); the last column is a rival of all classes: invalid draws. Never above the true
            count of the chosen class, never below that of another.
        draws: estimation draws, deferred ones included, shape (inputs,).
    """

    prediction: Integers
    counts: Integers
    draws: Integers

    def of(self, classes: Integers) -> Integers:
        """Votes for one class of each input; ABSTAIN has none."""
        chosen = np.take_along_axis(self.counts, classes[:, None], axis=1)[:, 0]
        return np.where(classes == ABSTAIN, 0, chosen)

    def against(self, classes: Integers) -> Integers:
        """The largest count of a class other than this one, or of invalid draws, for each input."""
        others = self.counts.copy()
        named = classes != ABSTAIN
        others[np.flatnonzero(named), classes[named]] = 0
        return np.asarray(others.max(axis=1))


def hard_votes(
    selection: Integers, estimation: Integers, invalid: Integers, deferred: Integers | None = None
) -> ClassVotes:
    """Votes as they were counted; shapes (inputs, classes) and (inputs,)."""
    prediction = np.where(selection.sum(axis=1) > 0, selection.argmax(axis=1), ABSTAIN).astype(np.int64)
    draws = estimation.sum(axis=1) + invalid + (0 if deferred is None else deferred)
    return ClassVotes(prediction, np.concatenate([estimation, invalid[:, None]], axis=1), draws)


def whole_votes(statistics: "Statistics", promise: Promise) -> ClassVotes:
    """The votes that a promise of "hard" or "confident" votes is about.

    Where all values of the noise were evaluated, the same votes choose the class and are its share.

    Confident votes come from a run's histograms, where it holds them: the class is then the one with the largest mean
    probability over the selection draws, which the estimation draws had no part in choosing.
    """
    if promise.votes == "confident" and statistics.soft is not None:
        assert promise.confidence is not None
        soft, classes = statistics.soft, statistics.num_classes
        counts = confident_counts(soft, promise.confidence, classes, "estimation")
        counts[:, -1] = np.maximum(counts[:, -1], statistics.estimation_invalid)
        return ClassVotes(soft.prediction, counts, statistics.estimation_draws)
    return hard_votes(
        statistics.estimation_counts if statistics.draws.enumerated else statistics.selection_counts,
        statistics.estimation_counts,
        statistics.estimation_invalid,
        statistics.estimation_deferred,
    )


def votes_of_h(statistics: "Statistics", promise: Promise) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """h at the clean inputs as its draws estimate it: (votes of shape (inputs, classes), draws of shape (inputs,)).

    h is the quotient. Of "soft" votes the first are mean probabilities, and the second are 1.
    """
    if promise.votes == "soft" and statistics.soft is not None:
        return statistics.soft.mean_probabilities(statistics.num_classes), np.ones(len(statistics))
    votes = whole_votes(statistics, promise)
    return votes.counts[:, :-1].astype(np.float64), np.maximum(votes.draws, 1).astype(np.float64)
