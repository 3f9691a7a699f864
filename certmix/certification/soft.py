"""Soft votes -> bounds: on the mean of each class probability, and on the distribution of each difference."""

from dataclasses import fields

import numpy as np
from numpy.typing import NDArray

from certmix.certifiers import exact_radius
from certmix.certifiers.cdf import cdf_radius
from certmix.errors import InvalidArgument
from certmix.intervals import (
    DistributionBounds,
    ProbabilityBounds,
    betting_lower,
    betting_upper,
    clopper_pearson_lower,
    empirical_bernstein_lower,
    empirical_bernstein_upper,
    hoeffding_lower,
    hoeffding_upper,
)
from certmix.intervals.histograms import THRESHOLDS, UNITS, Histograms, SoftVotes
from certmix.promise import Promise

_REFERENCE_WEIGHT = 0.75  # at which the selection draws choose between mean and distribution

Floats = NDArray[np.float64]


def soft_bounds(votes: SoftVotes, promise: Promise, *, sigma: float, total_variation: float = 0.0) -> ProbabilityBounds:
    """Bounds on the smoothed class probabilities, from the estimation draws.

    The rival bound is the largest over the rivals, each at the whole remaining failure probability: the worst rival is one
    fixed class, so that no union is needed.
    Guarantee: each input's pair is wrong with probability at most promise.failure_probability.

    Args:
        votes: soft votes.
        promise: how the failure probability is spent.
        sigma: standard deviation of the noise, in [0, 1] pixel units.
        total_variation: distance of the drawn noise from the Gaussian; taken off both bounds.
    """
    estimation, selection = ((votes.top(stage), votes.rival(stage)) for stage in ("estimation", "selection"))
    lower, upper = _mean_bounds(estimation, selection, promise)
    return ProbabilityBounds(
        prediction=votes.prediction,
        top_lower=np.maximum(np.nextafter(lower - total_variation, -1.0), 0.0),
        rival_upper=np.minimum(np.nextafter(upper + total_variation, 2.0), 1.0),
        sigma=sigma,
        promise=promise,
    )


def _mean_bounds(
    estimation: tuple[Histograms, Histograms], selection: tuple[Histograms, Histograms], promise: Promise
) -> tuple[Floats, Floats]:
    (top, rivals), err, share, bound = estimation, promise.failure_probability, promise.share, promise.mean_bound
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


def tail_bounds(histograms: Histograms, failure_probability: float) -> Floats:
    """Clopper-Pearson bounds L_j <= P[X >= (1 + s_j) / 2], s_j of `THRESHOLDS`, each at 1/64 of the failure probability.

    Guarantee: for each variable all 64 hold together with probability at least 1 - failure_probability.

    Args:
        histograms: of X: p_y, or (1 + class - rival) / 2; shape (..., BINS).
        failure_probability: in (0, 1).
    Returns: shape (..., 64), non-increasing along the last axis, in [0, 1).
    """
    at_least = histograms.counts[..., ::-1].cumsum(axis=-1)[..., ::-1][..., 1:]
    total = np.broadcast_to(histograms.total[..., None], at_least.shape)
    pairs, back = np.unique(np.stack([at_least.reshape(-1), total.reshape(-1)]), axis=1, return_inverse=True)
    levels = len(THRESHOLDS) - 1
    found = clopper_pearson_lower(pairs[0], np.maximum(pairs[1], 1), failure_probability / levels)
    return np.asarray(found[back.reshape(-1)].reshape(at_least.shape))


def distribution_bounds(
    votes: SoftVotes, promise: Promise, *, sigma: float, total_variation: float = 0.0
) -> DistributionBounds:
    """Bounds for the CDF certificate; means or distribution are chosen per input from the selection draws alone.

    The choice compares what either would give if the estimation draws looked like the selection draws.
    Guarantee: for each input, the means are wrong with probability at most promise.failure_probability, and so is each
    distribution: certify by the one that was chosen, as certifier "cdf" does; why several distributions need no union for
    one rule: `certmix.certifiers.cdf`.

    Args: as `soft_bounds`.
    Raises: InvalidArgument: interval "cohen": the distribution bounds every rival.
    """
    if promise.interval != "pair":
        raise InvalidArgument(
            f"interval must be pair for certifier 'cdf', got {promise.interval!r}; it bounds every rival."
        )
    means = soft_bounds(votes, promise, sigma=sigma, total_variation=total_variation)
    top, tails = (
        np.maximum(np.nextafter(tail_bounds(one, promise.failure_probability) - total_variation, -1.0), 0.0)
        for one in (votes.top("estimation"), votes.difference("estimation"))
    )
    return DistributionBounds(
        **{field.name: getattr(means, field.name) for field in fields(means)},
        top_tail_lower=top,
        tail_lower=tails,
        by_distribution=_distribution_is_better(votes, promise.failure_probability, sigma),
    )


def _distribution_is_better(votes: SoftVotes, err: float, sigma: float) -> NDArray[np.bool_]:
    chosen_from = votes.top("selection"), votes.rival("selection"), votes.difference("selection")
    factor = max(1, int(votes.estimation.total.max()) // max(1, int(votes.selection.total.max())))
    top, rivals, differences = (Histograms(h.counts * factor, h.sums * factor) for h in chosen_from)
    lower, upper = _mean_bounds((top, rivals), chosen_from[:2], Promise(err, "pair", "soft", "betting"))
    by_mean = exact_radius(lower, upper, _REFERENCE_WEIGHT, sigma)
    by_tail = cdf_radius(tail_bounds(differences, err), THRESHOLDS, _REFERENCE_WEIGHT, sigma)[0]
    return np.asarray(by_tail > by_mean)
