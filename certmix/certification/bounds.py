"""Votes -> ProbabilityBounds: the failure probability is spent here, as a Promise says."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from certmix.certification.soft import distribution_bounds, soft_bounds
from certmix.certification.votes import ClassVotes, hard_votes, whole_votes
from certmix.certifiers import CERTIFIERS, USUAL_CERTIFIER
from certmix.certifiers.arguments import check_sigma
from certmix.errors import InvalidArgument, check_choice
from certmix.intervals import ABSTAIN, ProbabilityBounds, clopper_pearson_lower, clopper_pearson_upper
from certmix.promise import (
    DEFAULT_FAILURE_PROBABILITY,
    VOTES,
    Interval,
    MeanBound,
    Promise,
    Votes,
    check_failure_probability,
)
from certmix.rules import Rule
from certmix.tables import floor_text

if TYPE_CHECKING:
    from certmix.runs.store import Statistics


def bound_probabilities(
    selection_counts: ArrayLike,
    estimation_counts: ArrayLike,
    *,
    sigma: float,
    failure_probability: float = DEFAULT_FAILURE_PROBABILITY,
    interval: Interval = "pair",
    invalid: ArrayLike | None = None,
    labels: NDArray[np.int64] | None = None,
    indices: NDArray[np.int64] | None = None,
) -> ProbabilityBounds:
    """Bounds on the smoothed probabilities from votes: Clopper-Pearson on fresh draws of the selected class.

    Interval "pair" spends half of the failure probability on p_A and half on p_B, the upper bound at the largest rival
    count (no union over classes is needed: the bound increases in the count, and the worst rival is one fixed class).
    "cohen" spends all on p_A and takes p_B = 1 - p_A. Source: Cohen et al. 2019, arXiv:1902.02918, CERTIFY.
    Guarantee: each input's pair is wrong with probability at most failure_probability; selection and estimation draws
    must be different draws of Gaussian noise, and their number fixed before drawing.

    Args:
        selection_counts: votes that choose the class (first on ties), shape (inputs, classes), integers >= 0.
        estimation_counts: fresh votes, shape (inputs, classes), integers >= 0; as many of every input.
        sigma: standard deviation of the noise, > 0, in [0, 1] pixel units.
        failure_probability: in (0, 1), per input.
        interval: "pair" or "cohen".
        invalid: draws without a finite output, shape (inputs,); they vote for an extra class that is a rival.
        labels, indices: carried along.
    Returns: ProbabilityBounds, one row per input.
    Raises: InvalidArgument: counts that are no votes or of a run that stopped early, a value out of range, or too few
        draws to certify anything.
    """
    selection, estimation = _votes("selection_counts", selection_counts), _votes("estimation_counts", estimation_counts)
    outside = np.zeros(len(estimation), dtype=np.int64) if invalid is None else np.asarray(invalid, dtype=np.int64)
    if selection.shape != estimation.shape:
        raise InvalidArgument(
            f"selection_counts and estimation_counts must have one shape, got {selection.shape} and {estimation.shape}."
        )
    votes = hard_votes(selection, estimation, outside)
    total = votes.draws
    check_failure_probability(failure_probability)
    promise = Promise(failure_probability, interval)
    if len(total):
        if total.min() != total.max():
            raise InvalidArgument(
                f"estimation_counts must hold as many draws of every input, got {total.min()} to {total.max()}: counts of "
                "a run that stopped early need its schedule; certify the run itself."
            )
        maximum_radius(int(total[0]), failure_probability, sigma, interval)
    return replace(pair_bounds(votes, promise, sigma=sigma), labels=labels, indices=indices)


def pair_bounds(
    votes: ClassVotes,
    promise: Promise,
    *,
    sigma: float,
    total_variation: float = 0.0,
    spent: NDArray[np.float64] | None = None,
) -> ProbabilityBounds:
    """`bound_probabilities` of whole votes, hard or confident. A deferred draw is no vote, and no rival.

    Args:
        votes: with the class that other draws chose.
        promise: how the failure probability is spent.
        sigma: standard deviation of the noise, > 0, in [0, 1] pixel units.
        total_variation: distance of the drawn noise from the Gaussian; p_A loses it, p_B gains it.
        spent: what each input's bounds may spend, shape (inputs,), where sampling could stop early.
    """
    check_sigma(sigma)
    prediction = votes.prediction
    err = np.asarray(promise.failure_probability if spent is None else spent, dtype=np.float64)
    top_lower = clopper_pearson_lower(votes.of(prediction), votes.draws, err * promise.share)
    top_lower = np.maximum(np.nextafter(top_lower - total_variation, -1.0), 0.0)
    rival_upper = np.nextafter(1.0 - top_lower, 2.0)
    if promise.share < 1.0:
        upper = clopper_pearson_upper(votes.against(prediction), votes.draws, err * (1.0 - promise.share))
        rival_upper = np.minimum(rival_upper, np.nextafter(upper + total_variation, 2.0))
    chosen = prediction != ABSTAIN
    return ProbabilityBounds(
        prediction=prediction,
        top_lower=np.where(chosen, top_lower, 0.0),
        rival_upper=np.where(chosen, np.minimum(rival_upper, 1.0), 1.0),
        sigma=float(sigma),
        promise=promise,
    )


def share_bounds(votes: ClassVotes, promise: Promise, *, sigma: float, levels: int) -> ProbabilityBounds:
    """Bounds of enumerated votes: the shares themselves, one float to the safe side; arguments as `pair_bounds`.

    Args:
        sigma: Lambda of the splitting noise, all values of which voted.
        levels: grid steps per pixel unit.
    """
    chosen = votes.prediction != ABSTAIN
    top, rival = votes.of(votes.prediction) / votes.draws, votes.against(votes.prediction) / votes.draws
    return ProbabilityBounds(
        prediction=votes.prediction,
        top_lower=np.where(chosen, np.maximum(np.nextafter(top, -1.0), 0.0), 0.0),
        rival_upper=np.where(chosen, np.minimum(np.nextafter(rival, 2.0), 1.0), 1.0),
        sigma=float(sigma),
        promise=promise,
        splitting_levels=levels,
    )


def promise_of(
    statistics: "Statistics",
    *,
    failure_probability: float | None = None,
    interval: Interval = "pair",
    votes: Votes | None = None,
    mean_bound: MeanBound = "betting",
    real_valued: bool = False,
    confidence: float | None = None,
    lipschitz: float | None = None,
) -> Promise:
    """The promise that a run can keep, from what is asked for; arguments as `certmix.certify`.

    Raises: InvalidArgument: votes that the run does not hold, another failure probability or interval than those of its
        early stopping, real_valued without integer noise, or lipschitz with it.
    """
    used, confidence = _promised_votes(statistics, votes, confidence)
    if statistics.draws.enumerated:
        if failure_probability not in (None, 0.0):
            raise InvalidArgument(
                f"failure_probability must be left out, got {failure_probability:g}: all values of this run's noise were "
                "evaluated, and nothing can fail."
            )
        return Promise(0.0, interval, used, mean_bound, real_valued, confidence, lipschitz)
    schedule = statistics.draws.schedule
    if schedule is not None:
        declared = schedule.failure_probability
        if failure_probability not in (None, declared):
            raise InvalidArgument(
                f"failure_probability must be {declared:g}, got {failure_probability:g}: this run could stop early, its "
                f"looks were planned to spend {declared:g} together, and another value would have stopped elsewhere; "
                "sample anew."
            )
        if interval != "pair":
            raise InvalidArgument(
                f"interval must be pair, got {interval!r}: this run could stop early, and its looks were planned with pair "
                "bounds."
            )
        failure_probability = declared
    if real_valued:
        _ = statistics.draws.quantisation_distance  # refuses float noise
    if lipschitz is not None and statistics.draws.grid_levels is not None:
        raise InvalidArgument(
            "lipschitz needs float noise, got integer: rounded to the grid, the network's input jumps, and its probabilities "
            "with it; sample with --noise float."
        )
    err = check_failure_probability(DEFAULT_FAILURE_PROBABILITY if failure_probability is None else failure_probability)
    return Promise(err, interval, used, mean_bound, real_valued, confidence, lipschitz)


def _promised_votes(
    statistics: "Statistics", votes: Votes | None, confidence: float | None
) -> tuple[Votes, float | None]:
    """The votes of a promise, and their confidence: what was drawn for where nothing is asked."""
    draws = statistics.draws
    usual: Votes = "confident" if draws.confidence is not None else "soft" if draws.votes == "soft" else "hard"
    used = usual if votes is None else check_choice("votes", votes, VOTES)
    if confidence is not None and votes is None:
        used = "confident"
    if draws.confidence is not None:
        if used != "confident" or confidence not in (None, draws.confidence):
            raise InvalidArgument(
                f"votes must be confident at {draws.confidence}, got {confidence or used!r}: this run stored no others; "
                "sample with --votes soft for every confidence."
            )
        return used, draws.confidence
    if used != "hard" and statistics.soft is None:
        raise InvalidArgument(
            f"votes {used!r} need a run that holds soft ones; sample with --votes soft or --votes both."
        )
    return used, confidence


def bound_statistics(statistics: "Statistics", promise: Promise, *, distributions: bool = False) -> ProbabilityBounds:
    """Bounds from stored votes, the noise's distance from the Gaussian included.

    Where sampling could stop early, each input's bounds are those that the schedule reserved for the look it stopped at.

    Args:
        statistics: the votes.
        promise: of `promise_of`.
        distributions: also bound the distributions of soft votes, for certifier "cdf": DistributionBounds.
    Raises: InvalidArgument: too few draws to certify anything.
    """
    bounds = _bounds(statistics, promise, distributions)
    return replace(bounds, labels=statistics.labels, indices=statistics.indices)


def _bounds(statistics: "Statistics", promise: Promise, distributions: bool) -> ProbabilityBounds:
    draws, sigma, apart = statistics.draws, statistics.sigma, statistics.draws.total_variation
    if draws.enumerated:
        assert draws.grid_levels is not None
        return share_bounds(whole_votes(statistics, promise), promise, sigma=sigma, levels=draws.grid_levels)
    if draws.schedule is None:
        maximum_radius(draws.num_estimation, promise.failure_probability, sigma, promise.interval)
    if promise.votes == "soft":
        assert statistics.soft is not None
        made = distribution_bounds if distributions else soft_bounds
        return made(statistics.soft, promise, sigma=sigma, total_variation=apart)
    spent = None if draws.schedule is None else draws.schedule.spent_at(statistics.estimation_draws)
    return pair_bounds(whole_votes(statistics, promise), promise, sigma=sigma, total_variation=apart, spent=spent)


def maximum_radius(num_draws: int, failure_probability: float, sigma: float, interval: Interval = "pair") -> float:
    """The largest radius that n unanimous draws can certify at weight 1: sigma z(err^(1/n)).

    Args:
        num_draws: n, estimation draws per input.
        failure_probability: in (0, 1), per input.
        sigma: standard deviation of the noise, in [0, 1] pixel units.
        interval: "pair" or "cohen".
    Returns: radius in pixel units, > 0.
    Raises: InvalidArgument: a value out of range, or n too small to certify anything at all.
    Example:
        >>> round(maximum_radius(10_000, 0.001, 1.0, interval="cohen"), 3)
        3.199
    """
    check_sigma(sigma)
    check_failure_probability(failure_probability)
    spent = failure_probability * Promise(failure_probability, interval).share
    if num_draws < 1 or spent ** (1.0 / num_draws) <= 0.5:
        needed = math.floor(math.log(spent) / math.log(0.5)) + 1
        raise InvalidArgument(
            f"num_estimation must be at least {needed} to certify anything at failure probability "
            f"{failure_probability:g}, got {num_draws}; draw more."
        )
    return float(-sigma * special.ndtri(-math.expm1(math.log(spent) / num_draws)))


def reach(rules: Sequence[Rule], num_draws: int, promise: Promise, sigma: float) -> NDArray[np.float64]:
    """The largest radius that unanimous draws can certify by each rule, shape (rules,); 0 where none can be.

    Where the promise is certain they are all values of splitting noise, and sigma is Lambda.
    """
    unanimous = ClassVotes(np.zeros(1, dtype=np.int64), np.array([[num_draws, 0]]), np.array([num_draws]))
    if promise.certain:
        bounds = share_bounds(unanimous, promise, sigma=sigma, levels=1)
    else:
        bounds = pair_bounds(unanimous, promise, sigma=sigma)
    certifier = CERTIFIERS[USUAL_CERTIFIER[bounds.norm]]
    return np.array([float(rule.radius(certifier, bounds)[0]) for rule in rules])


def check_certifiable(rules: Sequence[Rule], num_draws: int, promise: Promise, sigma: float) -> str:
    """What the draws can certify, in a sentence, before any is made.

    Args:
        rules: that will be asked for.
        num_draws: estimation draws per input.
        promise: how the failure probability will be spent.
        sigma: standard deviation of the noise, in [0, 1] pixel units.
    Raises: InvalidArgument: too few draws, or rules of which none can certify anything, such as a weight up to 1/2.
    Example:
        >>> from certmix.rules import LinearRule
        >>> check_certifiable([LinearRule(1.0), LinearRule(0.8)], 10_000, Promise(), 0.5)
        '10000 draws can certify radii up to 1.585 at weight 1, 1.426 at weight 0.8.'
    """
    if not promise.certain:
        maximum_radius(num_draws, promise.failure_probability, sigma, promise.interval)
    found = list(zip(rules, reach(rules, num_draws, promise, sigma).tolist(), strict=True))
    able = ", ".join(f"{floor_text(radius, 3)} at {rule.label}" for rule, radius in found if radius > 0)
    unable = ", ".join(rule.label for rule, radius in found if radius == 0)
    why = f"nothing can be certified at {unable}: a mixing weight must be above 0.5, and the draws many enough"
    if not able:
        raise InvalidArgument(f"{why}; {num_draws} draws were asked for.")
    made = "All values of the noise can certify l1" if promise.certain else f"{num_draws} draws can certify"
    return f"{made} radii up to {able}" + (f"; {why}." if unable else ".")


def _votes(name: str, counts: ArrayLike) -> NDArray[np.int64]:
    array = np.asarray(counts)
    if array.ndim != 2 or array.shape[1] < 2:
        raise InvalidArgument(f"{name} must have shape (inputs, classes) with 2 classes or more, got {array.shape}.")
    if not np.issubdtype(array.dtype, np.integer):
        raise InvalidArgument(f"{name} must be integers (votes), got {array.dtype}; pass counts, not shares.")
    if (array < 0).any():
        raise InvalidArgument(f"{name} must be >= 0, got {int(array.min())}.")
    return array.astype(np.int64)
