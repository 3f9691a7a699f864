"""Soft votes -> bounds: on the mean of each class probability, and on the distribution of each difference."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from certmix.certifiers import exact_radius
from certmix.certifiers.cdf import cdf_radius
from certmix.errors import InvalidArgument
from certmix.intervals import (
    betting_lower,
    betting_upper,
    clopper_pearson_lower,
    empirical_bernstein_lower,
    empirical_bernstein_upper,
    hoeffding_lower,
    hoeffding_upper,
)
from certmix.intervals.histograms import LEFT, UNITS, Histograms, SoftVotes

MEAN_BOUNDS = ("betting", "bernstein", "hoeffding")
THRESHOLDS = np.concatenate([[-1.0], 2.0 * LEFT[1:] / UNITS - 1.0])  # s_0 ... s_64 of class - rival
_REFERENCE_WEIGHT = 0.75  # at which the selection draws choose between mean and distribution

Floats = NDArray[np.float64]


def mean_bounds(
    votes: SoftVotes,
    failure_probability: float,
    *,
    share: float = 0.5,
    bound: str = "betting",
    total_variation: float = 0.0,
) -> tuple[Floats, Floats]:
    """(top_lower, rival_upper) of the smoothed class probabilities, from the estimation draws.

    The rival bound is the largest over the rivals, each at the whole remaining failure probability: the worst rival is one
    fixed class, so that no union is needed.
    Guarantee: each input's pair is wrong with probability at most failure_probability.

    Args:
        votes: soft votes.
        failure_probability: in (0, 1), per input.
        share: of it that the class's bound gets; with 1, rival_upper = 1 - top_lower.
        bound: "betting", "bernstein" or "hoeffding".
        total_variation: distance of the drawn noise from the Gaussian; taken off both bounds.
    Returns: two arrays of shape (inputs,).
    """
    if bound not in MEAN_BOUNDS:
        raise InvalidArgument(f"bound must be one of {', '.join(MEAN_BOUNDS)}, got {bound!r}.")
    lower, upper = _mean_bounds(
        (votes.top("estimation"), votes.rival("estimation")),
        (votes.top("selection"), votes.rival("selection")),
        failure_probability,
        share,
        bound,
    )
    lower = np.maximum(np.nextafter(lower - total_variation, -1.0), 0.0)
    return lower, np.minimum(np.nextafter(upper + total_variation, 2.0), 1.0)


def _mean_bounds(
    estimation: tuple[Histograms, Histograms],
    selection: tuple[Histograms, Histograms],
    err: float,
    share: float,
    bound: str,
) -> tuple[Floats, Floats]:
    top, rivals = estimation
    if bound == "betting":
        lower = betting_lower(top, selection[0], err * share)
    else:
        lower = (empirical_bernstein_lower if bound == "bernstein" else hoeffding_lower)(top, err * share)
    upper = np.nextafter(1.0 - lower, 2.0)
    if share < 1.0:
        rest = err * (1.0 - share)
        if bound == "betting":
            worst = _largest_betting_upper(rivals, selection[1], rest)
        else:
            worst = (empirical_bernstein_upper if bound == "bernstein" else hoeffding_upper)(rivals, rest).max(axis=1)
        upper = np.minimum(upper, worst)
    return lower, np.clip(upper, 1.0 / UNITS, 1.0)


def _largest_betting_upper(rivals: Histograms, selection: Histograms, err: float) -> Floats:
    """Largest upper bound over the rivals; rivals in the order of their means, most of which need one evaluation only."""
    order = np.argsort(-rivals.mean, axis=1, kind="stable")
    rows = np.arange(len(order))
    worst = np.zeros(len(order))
    for column in order.T:
        one, other = (Histograms(h.counts[rows, column], h.sums[rows, column]) for h in (rivals, selection))
        worst = np.maximum(worst, betting_upper(one, other, err, at_least=worst))
    return worst


def tail_bounds(differences: Histograms, failure_probability: float) -> Floats:
    """Clopper-Pearson bounds L_j <= P[class - rival >= s_j], each at 1/64 of the failure probability.

    Guarantee: for each variable all 64 hold together with probability at least 1 - failure_probability.

    Args:
        differences: of (1 + class - rival) / 2, shape (..., BINS).
        failure_probability: in (0, 1).
    Returns: shape (..., 64), non-increasing along the last axis, in [0, 1).
    """
    at_least = differences.counts[..., ::-1].cumsum(axis=-1)[..., ::-1][..., 1:]
    total = np.broadcast_to(differences.total[..., None], at_least.shape)
    pairs, back = np.unique(np.stack([at_least.reshape(-1), total.reshape(-1)]), axis=1, return_inverse=True)
    levels = len(THRESHOLDS) - 1
    found = clopper_pearson_lower(pairs[0], np.maximum(pairs[1], 1), failure_probability / levels)
    return np.asarray(found[back.reshape(-1)].reshape(at_least.shape))


@dataclass(frozen=True)
class DistributionBounds:
    """What the CDF certificate needs, for every input.

    Attributes:
        tail_lower: see `tail_bounds`, shape (inputs, rivals, 64).
        top_lower, rival_upper: bounds on the means, shape (inputs,).
        by_distribution: whether the distribution is used for an input, or the means; chosen by the selection draws.
        sigma: standard deviation of the noise, in [0, 1] pixel units.
    """

    tail_lower: Floats
    top_lower: Floats
    rival_upper: Floats
    by_distribution: NDArray[np.bool_]
    sigma: float

    def radius(self, mixing_weight: Floats) -> Floats:
        """Certified radii, shape (weights, inputs), by whichever bound the selection draws chose."""
        radius = np.empty((len(mixing_weight), len(self.top_lower)))
        chosen = self.by_distribution
        radius[:, chosen] = cdf_radius(self.tail_lower[chosen], THRESHOLDS, mixing_weight, self.sigma)
        radius[:, ~chosen] = exact_radius(
            self.top_lower[~chosen], self.rival_upper[~chosen], mixing_weight[:, None], self.sigma
        )
        return radius


def distribution_bounds(
    votes: SoftVotes, failure_probability: float, sigma: float, *, total_variation: float = 0.0
) -> DistributionBounds:
    """Bounds for the CDF certificate; means or distribution are chosen per input from the selection draws alone.

    The choice compares what either would give if the estimation draws looked like the selection draws.
    Guarantee: each input's bounds are wrong with probability at most failure_probability.

    Args:
        votes: soft votes.
        failure_probability: in (0, 1), per input.
        sigma: standard deviation of the noise, in [0, 1] pixel units.
        total_variation: distance of the drawn noise from the Gaussian; taken off every bound.
    """
    lower, upper = mean_bounds(votes, failure_probability, total_variation=total_variation)
    tails = tail_bounds(votes.difference("estimation"), failure_probability)
    return DistributionBounds(
        tail_lower=np.maximum(np.nextafter(tails - total_variation, -1.0), 0.0),
        top_lower=lower,
        rival_upper=upper,
        by_distribution=_distribution_is_better(votes, failure_probability, sigma),
        sigma=sigma,
    )


def _distribution_is_better(votes: SoftVotes, err: float, sigma: float) -> NDArray[np.bool_]:
    chosen_from = votes.top("selection"), votes.rival("selection"), votes.difference("selection")
    factor = max(1, int(votes.estimation.total.max()) // max(1, int(votes.selection.total.max())))
    top, rivals, differences = (Histograms(h.counts * factor, h.sums * factor) for h in chosen_from)
    lower, upper = _mean_bounds((top, rivals), chosen_from[:2], err, 0.5, "betting")
    by_mean = exact_radius(lower, upper, _REFERENCE_WEIGHT, sigma)
    by_tail = cdf_radius(tail_bounds(differences, err), THRESHOLDS, _REFERENCE_WEIGHT, sigma)[0]
    return np.asarray(by_tail > by_mean)
