"""Every stated radius recomputed from the counts in 50-digit arithmetic that shares no code with the certifiers."""

import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any, cast

import numpy as np

from certmix.certification.bounds import bound_statistics, promise_of
from certmix.certification.certify import Certificates, certify
from certmix.certifiers import get_certifier
from certmix.errors import InvalidArgument
from certmix.promise import Promise
from certmix.rules import FamilyRule, Form, Rule
from certmix.runs.store import Statistics
from certmix.verification.formulas import (
    Bounds,
    bounds_of_counts,
    certifies,
    certifies_family,
    certifies_threshold,
    number,
)
from certmix.verification.redraw import Verification

_HAIR = number(1e-40)  # relative to 1, far above the rounding of 50 digits
LOSS = 1e-6  # sigmas; a radius further below the recomputed one is reported too


def check_certificates(statistics: Statistics, certificates: Certificates, result: Verification) -> None:
    """Recompute every radius from the counts at 50 digits; a radius above the truth, or far below it, is a difference.

    Mean bounds of soft votes, and all of certifier "cdf", are recomputed by the package's own arithmetic only, and a remark
    says so; radii from those means are checked as all others.

    Args:
        statistics: the stored counts.
        certificates: of those counts, under a promise.
        result: takes the findings.
    Raises: InvalidArgument: certificates without a promise.
    """
    promise = certificates.promise
    if promise is None:
        raise InvalidArgument("certificates to check must state their promise, got None.")
    if not _about_this_run(statistics, certificates, promise, result):
        return
    if certificates.certifier == "cdf":
        _check_soft(statistics, certificates, promise, result)
        return
    draws, schedule = statistics.draws, statistics.draws.schedule
    means = None
    if promise.votes == "soft":
        means = bound_statistics(statistics, promise)
        result.remarks.append("mean bounds of soft votes were recomputed in float64, not by independent arithmetic")
    lipschitz = None if promise.lipschitz is None else number(promise.lipschitz) * number(statistics.sigma)
    for row, index in enumerate(statistics.indices.tolist()):
        if draws.enumerated:
            winner, bounds = exact_shares(statistics, row, confidence=promise.confidence)
        elif means is not None:
            winner = int(means.prediction[row])
            bounds = number(float(means.top_lower[row])), number(float(means.rival_upper[row]))
        else:
            err = promise.failure_probability
            if schedule is not None:  # what the look where this input stopped may spend
                err = float(schedule.spent_at(statistics.estimation_draws[row]))
            winner, bounds = pair_bounds(
                statistics, row, failure_probability=err, share=promise.share, confidence=promise.confidence
            )
        where = f"input {index}, {certificates.certifier}"
        if int(certificates.prediction[row]) != winner:
            result.differences.append(f"{where}: certified class {certificates.prediction[row]}, selected {winner}")
        for position, rule in enumerate(certificates.rules):
            result.certificates_checked += 1
            stated = float(certificates.radius[position, row])
            said = f"{where}, {rule.label}: radius {stated:.9g}"
            inside, beyond, apart = _ends(statistics, stated, promise)
            if stated > 0 and not _certifies(rule, certificates.certifier, bounds, inside, lipschitz):
                result.differences.append(f"{said} is above what the votes support")
            elif _certifies(rule, certificates.certifier, bounds, beyond, lipschitz):
                result.differences.append(f"{said} is over {apart} below the recomputed one")


def _ends(statistics: Statistics, stated: float, promise: Promise) -> tuple[Any, Any, str]:
    """Where the rule must still hold, where no more, both in units of sigma, and in words how far apart they are.

    Under splitting noise they are the farthest input of the grid in the open l1 ball, a whole number of steps away, and two
    steps farther; Lambda is half as many steps as there are values. The formulas take an open ball's end, hence the hair.
    """
    draws = statistics.draws
    if draws.enumerated:
        assert draws.grid_levels is not None
        farthest = math.ceil(Fraction(stated) * draws.grid_levels) - 1
        inside, beyond = (number(2 * steps) / draws.num_estimation for steps in (farthest, farthest + 2))
        return inside + _HAIR, beyond, "two steps of the grid"
    offset = draws.quantisation_distance if promise.real_valued else 0.0
    inside = (number(stated) + number(offset)) / number(statistics.sigma)
    return inside, inside + LOSS, f"{LOSS:g} sigma"


def _about_this_run(statistics: Statistics, certificates: Certificates, promise: Promise, result: Verification) -> bool:
    """Whether the certificates are about this run's inputs, noise and promise; if not, why is noted."""
    name, before = certificates.certifier, len(result.differences)
    for column in ("indices", "labels"):
        stated = getattr(certificates, column)
        if stated is not None and not np.array_equal(stated, getattr(statistics, column)):
            result.differences.append(f"{name}: {column} of the certificates are not those of the run")
    result.note(f"{name}: sigma of the certificates, against the run", certificates.sigma, statistics.sigma)
    result.differences += [f"{name}: {why}" for why in broken_promise(statistics, promise, promise.failure_probability)]
    if get_certifier(certificates.certifier).needs == "lipschitz" and promise.lipschitz is None:
        result.differences.append(f"{name}: the promise states no Lipschitz constant, which this certifier supposes")
    return len(result.differences) == before


def broken_promise(statistics: Statistics, promise: Promise, failure_probability: float) -> list[str]:
    """Why the run cannot keep a promise at its share of the failure probability, in a line; none where it can."""
    try:
        promise_of(statistics, **{**vars(promise), "failure_probability": failure_probability})
    except InvalidArgument as error:
        return [f"the run cannot keep the promise of the certificates: {error}"]
    return []


def _certifies(rule: Form, certifier: str, bounds: Bounds, radius: Any, lipschitz: Any) -> bool:
    """Whether theory certifies `radius` (in units of sigma) by this rule; lipschitz: L sigma, None where none is supposed."""
    if isinstance(rule, FamilyRule):
        weight, exponent = number(rule.rival_weight), None if rule.exponent is None else number(rule.exponent)
        return certifies_family(
            certifier,
            bounds,
            number(rule.threshold),
            radius,
            rival_weight=weight,
            exponent=exponent,
            lipschitz=lipschitz,
        )
    formula = {"linear": certifies, "threshold": certifies_threshold}[rule.kind]
    return formula(certifier, bounds, number(rule.parameter), radius, lipschitz=lipschitz)


def row_votes(statistics: Statistics, row: int, confidence: float | None) -> tuple[int, list[int], int]:
    """(selected class or -1, votes per class and last of invalid or unlisted ones, draws) of one input."""
    counts, invalid = statistics.estimation_counts[row].tolist(), int(statistics.estimation_invalid[row])
    total = sum(counts) + invalid + int(statistics.estimation_deferred[row])
    if confidence is None or statistics.soft is None:
        selection = (
            statistics.estimation_counts[row] if statistics.draws.enumerated else statistics.selection_counts[row]
        )
        return int(selection.argmax()) if selection.sum() else -1, [*counts, invalid], total
    soft, counts = statistics.soft, [0] * statistics.num_classes + [invalid]
    bins = soft.estimation.counts[row].tolist()
    named = [int(soft.prediction[row]), *soft.rivals[row].tolist()]
    for name, one in zip(named, bins[: len(named)], strict=True):
        votes = sum(one[int(confidence * 64) :])  # whole bins from kappa on
        counts[name] = max(votes, counts[name])
    return named[0], counts, total


def _check_soft(statistics: Statistics, certificates: Certificates, promise: Promise, result: Verification) -> None:
    again = certify(
        statistics,
        rules=cast(Sequence[Rule], certificates.rules),  # no chain: those count whole votes
        certifier=certificates.certifier,
        failure_probability=promise.failure_probability,
        interval=promise.interval,
        votes="soft",
        mean_bound=promise.mean_bound,
        real_valued=promise.real_valued,
    )
    result.certificates_checked += again.radius.size
    result.remarks.append(
        "certificates from distributions of soft votes were recomputed in float64, not by independent arithmetic"
    )
    for row in np.flatnonzero(again.prediction != certificates.prediction):
        result.differences.append(
            f"input {statistics.indices[row]}, {certificates.certifier}: certified class {certificates.prediction[row]}, "
            f"selected {again.prediction[row]}"
        )
    for position, row in zip(*np.nonzero(np.abs(again.radius - certificates.radius) > 1e-9), strict=True):
        result.differences.append(
            f"input {statistics.indices[row]}, {certificates.certifier}, {certificates.rules[position].label}: radius "
            f"{certificates.radius[position, row]:.9g} is not the recomputed {again.radius[position, row]:.9g}"
        )


def pair_bounds(
    statistics: Statistics,
    row: int,
    *,
    failure_probability: float,
    share: float = 0.5,
    confidence: float | None = None,
) -> tuple[int, Bounds]:
    """The selected class and Clopper-Pearson bounds (p_A, p_B) of one input, from binomial tails at 50 digits.

    Args:
        statistics: the stored counts, and the distance of their noise from the Gaussian.
        row: which input.
        failure_probability: of the pair.
        share: of it that p_A gets.
        confidence: of confident votes; None for hard ones.
    """
    winner, counts, total = row_votes(statistics, row, confidence)
    if winner < 0:
        return winner, (number(0), number(1))
    rival = max(count for i, count in enumerate(counts) if i != winner)
    slack = statistics.draws.total_variation
    return winner, bounds_of_counts(counts[winner], rival, total, failure_probability, share, slack)


def exact_shares(statistics: Statistics, row: int, *, confidence: float | None = None) -> tuple[int, Bounds]:
    """The selected class and (p_A, p_B) of one input of splitting noise, all values of which voted; see `pair_bounds`."""
    winner, counts, total = row_votes(statistics, row, confidence)
    rival = max(count for i, count in enumerate(counts) if i != winner)
    return winner, (number(counts[winner] if winner >= 0 else 0) / total, number(rival) / total)
