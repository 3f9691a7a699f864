"""Confident votes: a draw votes for its class only where that class is probable enough; otherwise it is deferred.

The base function of h is then b(z) = i where the network's probability p_i(z) >= kappa - 2^-20, else no class at all. It is
an ordinary vote of at most one class, since kappa > 1/2: every certificate of hard votes holds for its shares, whose sum is
at most 1. A deferred draw is nobody's vote and no rival. kappa is a multiple of 1/64, where the bins of soft votes end, and
2^-20 is what their rounding is off: a stored histogram then gives the votes of the selected class exactly, and those of its
rivals at most 2^-19 of probability too generously, for every kappa from the same draws.
"""

import numpy as np
from numpy.typing import NDArray

from certmix.intervals.histograms import UNITS, SoftVotes
from certmix.promise import CONFIDENCE_STEPS, check_confidence


def least_confident(confidence: float) -> float:
    """The smallest probability of a confident vote, kappa - 2^-20; exact in float32."""
    return check_confidence(confidence) - 1.0 / UNITS


def confident_counts(votes: SoftVotes, confidence: float, num_classes: int, stage: str) -> NDArray[np.int64]:
    """Confident votes of each class among the draws of one stage, from their histograms.

    Guarantee: exact for the selected class; for each rival no draw is missed, and one is counted in excess only where its
    probability is within 2^-19 below that of a confident vote, or where the draw was invalid.
    Proof, p in units of 2^-20 and j = 64 kappa: the class's value floor(p) - 1 is in bin j or above iff
    floor(p) >= 16384 j - 1; a rival's value ceil(p) is iff p > 16384 j - 3.

    Args:
        votes: soft votes.
        confidence: kappa.
        num_classes: number of classes.
        stage: "selection" or "estimation".
    Returns: shape (inputs, classes + 1); the last column is that of rivals that are not listed by themselves, draws in
        which any of them was confident.
    """
    first = round(check_confidence(confidence) * CONFIDENCE_STEPS)
    counts = np.zeros((len(votes.prediction), num_classes + 1), dtype=np.int64)
    np.put_along_axis(
        counts, votes.rivals, votes.rival(stage).counts[..., first:].sum(axis=-1), axis=1
    )  # -1 is the last
    counts[np.arange(len(counts)), votes.prediction] = votes.top(stage).counts[..., first:].sum(axis=-1)
    return counts
