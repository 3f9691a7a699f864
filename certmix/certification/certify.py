"""Statistics -> bounds -> Certificates. The failure probability is spent here; so is the rule for what counts."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from certmix.certifiers import get_certifier
from certmix.certifiers.arguments import check_mixing_weight, check_sigma
from certmix.errors import InvalidArgument
from certmix.intervals import ABSTAIN, ProbabilityBounds, clopper_pearson_lower, clopper_pearson_upper

if TYPE_CHECKING:
    from certmix.runs.store import Statistics

DEFAULT_FAILURE_PROBABILITY = 1e-3
RULES = {"pair": 0.5, "cohen": 1.0}  # share of the failure probability that p_A gets


@dataclass(frozen=True)
class Certificates:
    """Certified radii of the mixed classifier, for every input and mixing weight, by one certifier.

    Guarantee: for each input separately, with probability at least 1 - failure_probability over the draws, the mixture
    at mixing_weight[w] predicts prediction[i] on the open l2 ball of radius[w, i], whatever the accurate model is.

    Attributes:
        prediction: class of the robust model, shape (inputs,), int64; ABSTAIN (-1) where none was selected. The
            certificate at weight w says something about it only where radius[w] > 0.
        radius: shape (weights, inputs), float64, pixel units; 0 = nothing certified (the certifier abstains).
        mixing_weight: shape (weights,); 0 = accurate model, 1 = robust model.
        certifier: name of the certifier.
        sigma: standard deviation of the noise, in [0, 1] pixel units.
        failure_probability: per input; None where the bounds' source does not say.
        real_valued: whether perturbed inputs may leave the grid of integer noise; see `quantisation_distance`.
        votes: "hard" (h is the vote share of each class) or "soft" (its mean probability).
        labels, indices: true classes and stable positions, shape (inputs,), when known.
    """

    prediction: NDArray[np.int64]
    radius: NDArray[np.float64]
    mixing_weight: NDArray[np.float64]
    certifier: str
    sigma: float
    failure_probability: float | None = None
    real_valued: bool = False
    votes: str = "hard"
    labels: NDArray[np.int64] | None = None
    indices: NDArray[np.int64] | None = None


def certified_at(radius: ArrayLike, at: ArrayLike) -> NDArray[np.bool_]:
    """Whether a certified radius covers `at`: radius > 0 and radius >= at (the certified ball is open)."""
    radius = np.asarray(radius, dtype=np.float64)
    return np.asarray((radius > 0) & (radius >= np.asarray(at, dtype=np.float64)))


def bound_probabilities(
    selection_counts: ArrayLike,
    estimation_counts: ArrayLike,
    *,
    sigma: float,
    failure_probability: float = 1e-3,
    rule: str = "pair",
    invalid: ArrayLike | None = None,
    total_variation: float = 0.0,
    labels: NDArray[np.int64] | None = None,
    indices: NDArray[np.int64] | None = None,
    spent: NDArray[np.float64] | None = None,
) -> ProbabilityBounds:
    """Bounds on the smoothed probabilities from votes: Clopper-Pearson on fresh draws of the selected class.

    Rule "pair" spends half of the failure probability on p_A and half on p_B, the upper bound at the largest rival count
    (no union over classes is needed: the bound increases in the count, and the worst rival is one fixed class). Rule
    "cohen" spends all on p_A and takes p_B = 1 - p_A. Source: Cohen et al. 2019, arXiv:1902.02918, CERTIFY.
    Guarantee: each input's pair is wrong with probability at most failure_probability; selection and estimation draws
    must be different draws.

    Args:
        selection_counts: votes that choose the class (first on ties), shape (inputs, classes), integers >= 0.
        estimation_counts: fresh votes, shape (inputs, classes), integers >= 0.
        sigma: standard deviation of the noise, > 0, in [0, 1] pixel units.
        failure_probability: in (0, 1), per input.
        rule: "pair" or "cohen".
        invalid: draws without a finite output, shape (inputs,); they vote for an extra class that is a rival.
        total_variation: distance of the drawn noise from the Gaussian; p_A loses it, p_B gains it.
        labels, indices: carried along.
        spent: share of failure_probability that each input's bounds may spend, shape (inputs,), where sampling could
            stop early; see `certmix.certification.schedule.Schedule`.
    Returns: ProbabilityBounds, one row per input.
    Raises: InvalidArgument: counts that are no votes, a value out of range, or too few draws to certify anything.
    """
    selection, estimation = _votes("selection_counts", selection_counts), _votes("estimation_counts", estimation_counts)
    if selection.shape != estimation.shape:
        raise InvalidArgument(
            f"selection_counts and estimation_counts must have one shape, got {selection.shape} and {estimation.shape}."
        )
    check_sigma(sigma)
    outside = np.zeros(len(estimation), dtype=np.int64) if invalid is None else np.asarray(invalid, dtype=np.int64)
    total = estimation.sum(axis=1) + outside
    if len(total) and spent is None:
        maximum_radius(int(total.min()), failure_probability, sigma, rule)
    prediction = np.where(selection.sum(axis=1) > 0, selection.argmax(axis=1), ABSTAIN)
    rows = np.arange(len(estimation))
    top = estimation[rows, prediction]
    rivals = np.concatenate([estimation, outside[:, None]], axis=1)
    rivals[rows, prediction] = 0  # ABSTAIN is -1, the invalid column: harmless, since its bounds are replaced below
    share = RULES[rule]
    err = np.asarray(failure_probability if spent is None else spent, dtype=np.float64)
    top_lower = clopper_pearson_lower(top, total, err * share)
    top_lower = np.maximum(np.nextafter(top_lower - total_variation, -1.0), 0.0)
    rival_upper = np.nextafter(1.0 - top_lower, 2.0)
    if share < 1.0:
        upper = clopper_pearson_upper(rivals.max(axis=1), total, err * (1.0 - share))
        rival_upper = np.minimum(rival_upper, np.nextafter(upper + total_variation, 2.0))
    chosen = prediction != ABSTAIN
    return ProbabilityBounds(
        prediction=prediction.astype(np.int64),
        top_lower=np.where(chosen, top_lower, 0.0),
        rival_upper=np.where(chosen, np.minimum(rival_upper, 1.0), 1.0),
        sigma=float(sigma),
        failure_probability=failure_probability,
        labels=labels,
        indices=indices,
    )


def maximum_radius(num_draws: int, failure_probability: float, sigma: float, rule: str = "pair") -> float:
    """The largest radius that n unanimous draws can certify at weight 1: sigma z(err^(1/n)).

    Args:
        num_draws: n, estimation draws per input.
        failure_probability: in (0, 1), per input.
        sigma: standard deviation of the noise, in [0, 1] pixel units.
        rule: "pair" or "cohen".
    Returns: radius in pixel units, > 0.
    Raises: InvalidArgument: a value out of range, or n too small to certify anything at all.
    Example:
        >>> round(maximum_radius(10_000, 0.001, 1.0, rule="cohen"), 3)
        3.199
    """
    from scipy import special

    check_sigma(sigma)
    if rule not in RULES:
        raise InvalidArgument(f"rule must be one of {', '.join(RULES)}, got {rule!r}.")
    if not 0.0 < failure_probability < 1.0:
        raise InvalidArgument(f"failure_probability must be in (0, 1), got {failure_probability}; 0.001 is customary.")
    spent = failure_probability * RULES[rule]
    if num_draws < 1 or spent ** (1.0 / num_draws) <= 0.5:
        needed = math.floor(math.log(spent) / math.log(0.5)) + 1
        raise InvalidArgument(
            f"num_estimation must be at least {needed} to certify anything at failure probability "
            f"{failure_probability:g}, got {num_draws}; draw more."
        )
    return float(-sigma * special.ndtri(-math.expm1(math.log(spent) / num_draws)))


def certify(
    statistics_or_bounds: "Statistics | ProbabilityBounds",
    *,
    mixing_weight: float | Sequence[float] | NDArray[np.float64] = 1.0,
    certifier: str = "exact",
    failure_probability: float | None = None,
    rule: str = "pair",
    votes: str | None = None,
    bound: str = "betting",
    real_valued: bool = False,
) -> Certificates:
    """Certified radii of the mixture at any number of mixing weights, from one set of draws.

    One region (p_A, p_B) covers every weight, radius and certifier at once, so that asking for more costs no confidence.

    Args:
        statistics_or_bounds: votes, or bounds on the smoothed probabilities.
        mixing_weight: one weight or several, in [0, 1]; below 1/2 nothing can be certified.
        certifier: "exact", "theorem-a1", "theorem-3.5", "theorem-3.5-paper", or "cdf" for soft votes.
        failure_probability: in (0, 1), per input; 0.001, or that of the run's early stopping, where left out. With bounds
            given, theirs is kept.
        rule: "pair" or "cohen"; see `bound_probabilities`.
        votes: "hard" or "soft"; what the run was drawn for where left out. Fixed before looking: choosing what certifies
            more voids the failure probability.
        bound: of soft means: "betting", "bernstein" or "hoeffding"; fixed before looking, too.
        real_valued: certify perturbed inputs off the grid of integer noise too, for a predictor that quantises its
            input first: `quantisation_distance` is subtracted from every radius.
    Returns: Certificates, radius of shape (weights, inputs).
    Raises: InvalidArgument: a value out of range or an unknown name.
    """
    weights = np.atleast_1d(check_mixing_weight(mixing_weight))
    used = "hard"
    if certifier == "cdf":
        used = "soft"
        bounds, radius = _by_distribution(statistics_or_bounds, weights, failure_probability, rule, votes)
    else:
        method = get_certifier(certifier)
        if isinstance(statistics_or_bounds, ProbabilityBounds):
            bounds = statistics_or_bounds
        else:
            used = chosen_votes(statistics_or_bounds, votes)
            bounds = bound_statistics(
                statistics_or_bounds, failure_probability=failure_probability, rule=rule, votes=votes, bound=bound
            )
        radius = method.radius(bounds.top_lower, bounds.rival_upper, weights[:, None], bounds.sigma)
    if real_valued:
        if isinstance(statistics_or_bounds, ProbabilityBounds):
            raise InvalidArgument("real_valued needs Statistics drawn with integer noise, got bounds.")
        moved = statistics_or_bounds.draws.quantisation_distance
        radius = np.where(radius > 0, np.maximum(np.nextafter(radius - moved, -1.0), 0.0), 0.0)
    return Certificates(
        prediction=bounds.prediction,
        radius=np.where(bounds.prediction == ABSTAIN, 0.0, radius),
        mixing_weight=weights,
        certifier=certifier,
        sigma=bounds.sigma,
        failure_probability=bounds.failure_probability,
        real_valued=real_valued,
        votes=used,
        labels=bounds.labels,
        indices=bounds.indices,
    )


def bound_statistics(
    statistics: "Statistics",
    *,
    failure_probability: float | None = None,
    rule: str = "pair",
    votes: str | None = None,
    bound: str = "betting",
) -> ProbabilityBounds:
    """Bounds from stored votes, the noise's distance from Gaussian included. Arguments as `certify`.

    Where sampling could stop early, each input's bounds are those that the schedule reserved for the look it stopped at.

    Raises: InvalidArgument: votes that the run does not hold, or a failure probability or rule other than its schedule's.
    """
    err, spent = _spending(statistics, failure_probability, rule)
    if chosen_votes(statistics, votes) == "hard":
        return bound_probabilities(
            statistics.selection_counts,
            statistics.estimation_counts,
            sigma=statistics.sigma,
            failure_probability=err,
            rule=rule,
            invalid=statistics.estimation_invalid,
            total_variation=_total_variation(statistics),
            labels=statistics.labels,
            indices=statistics.indices,
            spent=spent,
        )
    from certmix.certification.soft import mean_bounds

    assert statistics.soft is not None
    maximum_radius(
        statistics.draws.num_estimation, err, statistics.sigma, rule
    )  # its checks hold for soft votes as well
    how = {"share": RULES[rule], "bound": bound, "total_variation": _total_variation(statistics)}
    return _soft_bounds(statistics, err, *mean_bounds(statistics.soft, err, **how))  # type: ignore[arg-type]


def _soft_bounds(
    statistics: "Statistics", err: float, lower: NDArray[np.float64], upper: NDArray[np.float64]
) -> ProbabilityBounds:
    """Bounds on the means of soft votes, with what goes along."""
    assert statistics.soft is not None
    return ProbabilityBounds(
        prediction=statistics.soft.prediction,
        top_lower=lower,
        rival_upper=upper,
        sigma=statistics.sigma,
        failure_probability=err,
        labels=statistics.labels,
        indices=statistics.indices,
    )


def _total_variation(statistics: "Statistics") -> float:
    """Distance of the noise that was drawn from the Gaussian."""
    return statistics.draws.total_variation


def _by_distribution(
    statistics: "Statistics | ProbabilityBounds",
    weights: NDArray[np.float64],
    failure_probability: float | None,
    rule: str,
    votes: str | None,
) -> tuple[ProbabilityBounds, NDArray[np.float64]]:
    """Bounds on the means, for what goes with the certificates, and the radii of the CDF certificate."""
    if isinstance(statistics, ProbabilityBounds) or chosen_votes(statistics, votes or "soft") != "soft":
        raise InvalidArgument("certifier 'cdf' needs soft votes, got hard ones or bounds; sample with --votes soft.")
    if rule != "pair":
        raise InvalidArgument(f"rule must be pair for certifier 'cdf', got {rule!r}; it bounds every rival.")
    from certmix.certification.soft import distribution_bounds

    assert statistics.soft is not None
    err, _ = _spending(statistics, failure_probability, rule)
    maximum_radius(statistics.draws.num_estimation, err, statistics.sigma)
    total_variation = _total_variation(statistics)
    made = distribution_bounds(statistics.soft, err, statistics.sigma, total_variation=total_variation)
    bounds = _soft_bounds(statistics, err, made.top_lower, made.rival_upper)
    return bounds, made.radius(weights)


def chosen_votes(statistics: "Statistics", votes: str | None) -> str:
    """ "hard" or "soft": what is asked for, or what the run was drawn for. Raises InvalidArgument where it has no such."""
    if votes not in (None, "hard", "soft"):
        raise InvalidArgument(f"votes must be hard or soft, got {votes!r}.")
    chosen = votes or ("soft" if statistics.draws.votes == "soft" else "hard")
    if chosen == "soft" and statistics.soft is None:
        raise InvalidArgument("votes 'soft' need a run that holds them; sample with --votes soft or --votes both.")
    return chosen


def _spending(
    statistics: "Statistics", failure_probability: float | None, rule: str
) -> tuple[float, NDArray[np.float64] | None]:
    """The failure probability, and what each input's bounds may spend of it where sampling could stop early."""
    schedule = statistics.draws.schedule
    if schedule is None:
        return DEFAULT_FAILURE_PROBABILITY if failure_probability is None else failure_probability, None
    declared = schedule.failure_probability
    if failure_probability not in (None, declared):
        raise InvalidArgument(
            f"failure_probability must be {declared:g}, got {failure_probability:g}: this run could stop early, its looks "
            f"were planned to spend {declared:g} together, and another value would have stopped elsewhere; sample anew."
        )
    if rule != "pair":
        raise InvalidArgument(
            f"rule must be pair, got {rule!r}: this run could stop early, and its looks were planned with pair bounds."
        )
    return declared, schedule.spent_at(statistics.estimation_draws)


def _votes(name: str, counts: ArrayLike) -> NDArray[np.int64]:
    array = np.asarray(counts)
    if array.ndim != 2 or array.shape[1] < 2:
        raise InvalidArgument(f"{name} must have shape (inputs, classes) with 2 classes or more, got {array.shape}.")
    if not np.issubdtype(array.dtype, np.integer):
        raise InvalidArgument(f"{name} must be integers (votes), got {array.dtype}; pass counts, not shares.")
    if (array < 0).any():
        raise InvalidArgument(f"{name} must be >= 0, got {int(array.min())}.")
    return array.astype(np.int64)
