"""Every stated radius recomputed from the counts in 50-digit arithmetic that shares no code with the certifiers."""

import functools
from collections.abc import Sequence
from typing import Any

import mpmath
import numpy as np
from scipy import special

from certmix.certification.certify import RULES, Certificates, certify
from certmix.errors import InvalidArgument
from certmix.runs.store import Statistics
from certmix.verification.redraw import Verification

_mp = mpmath.MPContext()  # of our own: mpmath's global precision is shared by all threads
_mp.dps = 50
_LOSS = 1e-6  # sigmas; a radius further below the recomputed one is reported too
Bounds = tuple[Any, Any]  # p_A and p_B as high-precision numbers


def check_certificates(
    statistics: Statistics,
    certificates: Certificates,
    result: Verification,
    *,
    rule: str = "pair",
    bound: str = "betting",
) -> None:
    """Recompute every radius from the counts at 50 digits; a radius above the truth, or far below it, is a difference.

    Args:
        statistics: the stored counts.
        certificates: of those counts, with their failure probability; rows in the same order.
        result: takes the findings.
        rule, bound: of the bounds behind them. Certificates of soft votes are recomputed by the package's own
            arithmetic only, and a remark says so.
    """
    if certificates.failure_probability is None:
        raise InvalidArgument("certificates to check must state their failure_probability, got None.")
    if certificates.votes == "soft":
        _check_soft(statistics, certificates, result, rule, bound)
        return
    draws, schedule = statistics.draws, statistics.draws.schedule
    offset = draws.quantisation_distance if certificates.real_valued else 0.0
    for row, index in enumerate(statistics.indices.tolist()):
        err = certificates.failure_probability
        if schedule is not None:  # what the look where this input stopped may spend
            err = float(schedule.spent_at(statistics.estimation_draws[row]))
        winner, bounds = pair_bounds(
            statistics,
            row,
            failure_probability=err,
            rule=rule,
            total_variation=draws.total_variation,
        )
        where = f"input {index}, {certificates.certifier}"
        if int(certificates.prediction[row]) != winner:
            result.differences.append(f"{where}: certified class {certificates.prediction[row]}, selected {winner}")
        for position, weight in enumerate(certificates.mixing_weight.tolist()):
            result.certificates_checked += 1
            said = f"{where}, weight {weight:g}: radius {certificates.radius[position, row]:.9g}"
            stated = float(certificates.radius[position, row])
            reached = _mp.mpf(stated) / _mp.mpf(certificates.sigma)
            inside = (_mp.mpf(stated) + _mp.mpf(offset)) / _mp.mpf(certificates.sigma)
            if stated > 0 and not certifies(certificates.certifier, bounds, _mp.mpf(weight), inside):
                result.differences.append(f"{said} is above what the votes support")
            elif certifies(certificates.certifier, bounds, _mp.mpf(weight), max(inside, reached) + _LOSS):
                result.differences.append(f"{said} is over {_LOSS:g} sigma below the recomputed one")


def _check_soft(
    statistics: Statistics, certificates: Certificates, result: Verification, rule: str, bound: str
) -> None:
    again = certify(
        statistics,
        mixing_weight=certificates.mixing_weight,
        certifier=certificates.certifier,
        failure_probability=certificates.failure_probability,
        rule=rule,
        votes="soft",
        bound=bound,
        real_valued=certificates.real_valued,
    )
    result.certificates_checked += again.radius.size
    result.remarks.append("certificates of soft votes were recomputed in float64, not by independent arithmetic")
    for position, row in zip(*np.nonzero(again.radius < certificates.radius - 1e-9), strict=True):
        result.differences.append(
            f"input {statistics.indices[row]}, {certificates.certifier}, weight {certificates.mixing_weight[position]:g}: "
            f"radius {certificates.radius[position, row]:.9g} is above the recomputed {again.radius[position, row]:.9g}"
        )


def pair_bounds(
    statistics: Statistics, row: int, *, failure_probability: float, rule: str = "pair", total_variation: float = 0.0
) -> tuple[int, Bounds]:
    """The selected class and Clopper-Pearson bounds (p_A, p_B) of one input, from binomial tails at 50 digits.

    Args:
        statistics: the stored counts.
        row: which input.
        failure_probability, rule: as `certmix.certification.certify.bound_probabilities`.
        total_variation: taken from p_A and given to p_B.
    """
    counts, invalid = statistics.estimation_counts[row].tolist(), int(statistics.estimation_invalid[row])
    selection = statistics.selection_counts[row]
    winner = int(selection.argmax()) if selection.sum() else -1
    if winner < 0:
        return winner, (_mp.mpf(0), _mp.mpf(1))
    rival = max([invalid, *(count for i, count in enumerate(counts) if i != winner)])
    return winner, bounds_of_counts(
        counts[winner], rival, sum(counts) + invalid, failure_probability, RULES[rule], total_variation
    )


@functools.lru_cache(maxsize=1 << 16)
def bounds_of_counts(k: int, rival: int, n: int, err: float, share: float, total_variation: float = 0.0) -> Bounds:
    """(p_A, p_B) from k votes for the class and the largest rival count, n draws, err of which p_A gets a share."""
    slack = _mp.mpf(total_variation)
    lower = max(_lower_bound(k, n, _mp.mpf(err) * _mp.mpf(share)) - slack, _mp.mpf(0))
    upper = 1 - lower
    if share < 1:
        upper = min(upper, 1 - _lower_bound(n - rival, n, _mp.mpf(err) * (1 - _mp.mpf(share))) + slack)
    return lower, upper


def _lower_bound(k: int, n: int, err: Any) -> Any:
    """The p with P[Binomial(n, p) >= k] = err: Newton on the tail itself, in the log of the odds."""
    if k == 0:
        return _mp.mpf(0)
    if k == n:
        return err ** (_mp.mpf(1) / n)
    # SciPy gives the start only: the iteration ends where the tail is err to 30 digits, whatever the start.
    start = min(max(float(special.betaincinv(k, n - k + 1, float(err))), 1e-300), 1 - 1e-16)
    odds = _mp.log(_mp.mpf(start) / (1 - _mp.mpf(start)))
    for _ in range(200):
        p = 1 / (1 + _mp.exp(-odds))
        tail, first = _tail_at_least(k, n, p)
        # d tail / d odds = k (1 - p) P[= k], so that log(tail) has this slope; it is concave in the odds.
        step = _mp.log(tail / err) / (k * (1 - p) * first / tail)
        odds -= max(min(step, _mp.mpf(2)), _mp.mpf(-2))
        if abs(step) < _mp.mpf(10) ** -30:
            break
    return 1 / (1 + _mp.exp(-odds))


def _tail_at_least(k: int, n: int, p: Any) -> tuple[Any, Any]:
    """(P[Binomial(n, p) >= k], P[= k]), term by term until the rest is below 38 digits."""
    first = term = _mp.binomial(n, k) * p**k * (1 - p) ** (n - k)
    total, odds = term, p / (1 - p)
    for j in range(k, n):
        ratio = odds * (n - j) / (j + 1)  # falls with j
        term *= ratio
        total += term
        if ratio < 1 and term < total * (1 - ratio) * _mp.mpf(10) ** -38:
            break
    return total, first


def certifies(certifier: str, bounds: Bounds, weight: Any, radius: Any) -> bool:
    """Whether theory certifies `radius` (in units of sigma) from (p_A, p_B) at this weight, from the formulas alone.

    Args:
        certifier: "exact" (margin of two half-spaces), "theorem-a1", "theorem-3.5" or "theorem-3.5-paper".
        bounds: p_A and p_B.
        weight: mixing weight.
        radius: in units of sigma, >= 0.
    """
    if weight < _mp.mpf(1) / 2:
        return False
    p_a, p_b = bounds
    if weight * (p_a - p_b) <= 1 - weight:
        return False
    if certifier == "exact":
        margin = _mp.ncdf(_quantile(p_a) - radius) - _mp.ncdf(_quantile(p_b) + radius)
        return bool(weight * margin >= 1 - weight)
    if certifier == "theorem-a1":
        return bool(2 * radius <= _quantile(weight * p_a) - _quantile(weight * p_b + 1 - weight))
    if certifier not in ("theorem-3.5", "theorem-3.5-paper"):
        raise InvalidArgument(f"certifier to check must be one with a formula here, got {certifier!r}.")
    constant = _mp.sqrt(2 / _mp.pi) if certifier == "theorem-3.5-paper" else 1 / _mp.sqrt(2 * _mp.pi)
    return bool(2 * radius * constant * weight <= weight * (p_a - p_b) + weight - 1)


@functools.lru_cache(maxsize=1 << 16)
def _quantile(p: Any) -> Any:
    """Normal quantile: Newton on the log of the smaller tail, from SciPy's 16 digits."""
    if 2 * p > 1:
        return -_quantile(1 - p)
    z = _mp.mpf(float(special.ndtri(float(p))))
    for _ in range(100):
        tail = _mp.ncdf(z)
        step = _mp.log(tail / p) * tail / _mp.npdf(z)
        z -= max(min(step, _mp.mpf(1)), _mp.mpf(-1))
        if abs(step) < _mp.mpf(10) ** -30:
            break
    return z


def certificates_of(
    rows: dict[str, Sequence[Any]], promise: dict[str, Any], statistics: Statistics
) -> list[Certificates]:
    """Certificates of the columns of a run's certificates.parquet, one per certifier and weight.

    Args:
        rows: its columns.
        promise: its metadata: failure_probability, rule, real_valued.
        statistics: the run's.
    Raises: InvalidArgument: rows that do not belong to the run's inputs.
    """
    names, weights = np.array(rows["certifier"]), np.array(rows["mixing_weight"])
    made = []
    for name, weight in sorted(set(zip(names.tolist(), weights.tolist(), strict=True))):
        here = (names == name) & (weights == weight)
        if not np.array_equal(np.array(rows["index"])[here], statistics.indices):
            raise InvalidArgument(
                "certificates.parquet must be over the run's inputs, got others; certify the run again."
            )
        made.append(
            Certificates(
                prediction=np.array(rows["prediction"])[here],
                radius=np.array(rows["radius"])[here][None, :],
                mixing_weight=np.array([weight]),
                certifier=name,
                sigma=statistics.sigma,
                failure_probability=promise["failure_probability"],
                real_valued=promise["real_valued"],
                votes=promise["votes"],
                labels=statistics.labels,
                indices=statistics.indices,
            )
        )
    return made
