"""Replay: re-draw some inputs of a stored run and re-derive every certificate by other arithmetic.

This is how a third party trusts a published run: counts must come back bit for bit from the stored seed and the model,
and every stated radius must hold in 50-digit arithmetic that shares no code with the certifiers.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

import mpmath
import numpy as np
from numpy.typing import NDArray

from certmix.certification import Certificates, certify
from certmix.statistics_store import Statistics

_DIGITS = 50


@dataclass
class Verification:
    """What a replay compared, and every difference in words; empty `differences` means that the run holds.

    Attributes:
        inputs_redrawn: indices whose draws were repeated.
        votes_redrawn: number of draws that were repeated.
        certificates_checked: number of radii recomputed at high precision.
        differences: one line each.
    """

    inputs_redrawn: list[int] = field(default_factory=list)
    votes_redrawn: int = 0
    certificates_checked: int = 0
    differences: list[str] = field(default_factory=list)


def compare_counts(stored: Statistics, redrawn: Statistics, result: Verification) -> None:
    """Note every redrawn input whose votes differ from the stored ones.

    Args:
        stored: the published statistics.
        redrawn: statistics of some of the same inputs, drawn again from the stored seed.
        result: takes the findings.
    """
    place = {int(index): row for row, index in enumerate(stored.indices)}
    for row, index in enumerate(redrawn.indices):
        kept = place[int(index)]
        result.inputs_redrawn.append(int(index))
        result.votes_redrawn += stored.num_selection + stored.num_estimation
        for kind in ("selection", "estimation"):
            old, new = getattr(stored, f"{kind}_counts")[kept], getattr(redrawn, f"{kind}_counts")[row]
            if not np.array_equal(old, new):
                moved = int(np.abs(old - new).sum() + 1) // 2
                result.differences.append(
                    f"input {index}: {kind} votes stored {old.tolist()}, redrawn {new.tolist()} ({moved} moved)"
                )
        if int(stored.labels[kept]) != int(redrawn.labels[row]):
            result.differences.append(
                f"input {index}: label stored {stored.labels[kept]}, in the data set {redrawn.labels[row]}"
            )


def check_certificates(
    statistics: Statistics,
    *,
    mixing_weight: Sequence[float],
    certifiers: Sequence[str],
    failure_probability: float,
    result: Verification,
) -> None:
    """Recompute every radius from the counts at 50 digits; a radius above the truth, or far below it, is a difference.

    Args:
        statistics: the stored counts.
        mixing_weight, certifiers, failure_probability: which certificates.
        result: takes the findings.
    """
    total_variation = float(statistics.manifest["draws"]["noise"].get("total_variation", 0.0))
    for name in certifiers:
        certificates = certify(
            statistics, mixing_weight=mixing_weight, certifier=name, failure_probability=failure_probability
        )
        for row in range(len(statistics)):
            bounds = pair_bounds(statistics, row, failure_probability, total_variation)
            _check_input(certificates, row, bounds, result)


def _check_input(
    certificates: Certificates, row: int, bounds: tuple[mpmath.mpf, mpmath.mpf], result: Verification
) -> None:
    with mpmath.workdps(_DIGITS):
        for position, weight in enumerate(certificates.mixing_weight):
            stated = mpmath.mpf(float(certificates.radius[position, row])) / mpmath.mpf(certificates.sigma)
            result.certificates_checked += 1
            where = f"{certificates.certifier} at weight {weight:g}, row {row}"
            if stated > 0 and not holds(certificates.certifier, bounds, mpmath.mpf(float(weight)), stated):
                result.differences.append(f"{where}: radius {float(stated):.9g} sigma is above what the votes support")
            elif holds(certificates.certifier, bounds, mpmath.mpf(float(weight)), stated + mpmath.mpf("1e-6")):
                result.differences.append(
                    f"{where}: radius {float(stated):.9g} sigma is over 1e-6 below the recomputed"
                )


def pair_bounds(
    statistics: Statistics, row: int, failure_probability: float, total_variation: float
) -> tuple[mpmath.mpf, mpmath.mpf]:
    """Clopper-Pearson bounds (p_A, p_B) of one input by bisection on the regularised beta function, at 50 digits."""
    counts: NDArray[np.int64] = statistics.estimation_counts[row]
    invalid, winner = int(statistics.estimation_invalid[row]), int(statistics.selection_counts[row].argmax())
    total = int(counts.sum()) + invalid
    rival = max(*(int(c) for i, c in enumerate(counts) if i != winner), invalid)
    return _exact_pair(int(counts[winner]), rival, total, failure_probability, total_variation)


_pairs: dict[tuple[int, int, int, float, float], tuple[mpmath.mpf, mpmath.mpf]] = {}


def _exact_pair(k: int, rival: int, n: int, err: float, total_variation: float) -> tuple[mpmath.mpf, mpmath.mpf]:
    key = (k, rival, n, err, total_variation)
    if key not in _pairs:
        with mpmath.workdps(_DIGITS):
            half, slack = mpmath.mpf(err) / 2, mpmath.mpf(total_variation)
            lower = max(_beta_quantile(k, n - k + 1, half) - slack, mpmath.mpf(0)) if k else mpmath.mpf(0)
            upper = 1 - _beta_quantile(n - rival, rival + 1, half) if rival < n else mpmath.mpf(1)
            _pairs[key] = lower, min(upper + slack, 1 - lower)
    return _pairs[key]


def _beta_quantile(a: int, b: int, probability: mpmath.mpf) -> mpmath.mpf:
    low, high = mpmath.mpf(0), mpmath.mpf(1)
    for _ in range(60):  # 60 halvings: 1e-18, far below the stated 1e-6
        middle = (low + high) / 2
        if mpmath.betainc(a, b, 0, middle, regularized=True) < probability:
            low = middle
        else:
            high = middle
    return low


def holds(certifier: str, bounds: tuple[mpmath.mpf, mpmath.mpf], weight: mpmath.mpf, radius: mpmath.mpf) -> bool:
    """Whether theory certifies `radius` (in units of sigma) from (p_A, p_B) at this weight, from the formulas alone.

    Args:
        certifier: "exact" (margin of two half-spaces), "theorem-a1", "theorem-3.5" or "theorem-3.5-paper".
        bounds: p_A and p_B.
        weight: mixing weight.
        radius: in units of sigma, >= 0.
    """
    if weight < mpmath.mpf(1) / 2:
        return False
    p_a, p_b = bounds
    if certifier == "exact":
        if p_a <= 0:
            return False
        margin = mpmath.ncdf(_quantile(p_a) - radius) - mpmath.ncdf(_quantile(p_b) + radius)
        return bool(weight * margin >= 1 - weight)
    if certifier == "theorem-a1":
        low, high = weight * p_a, weight * p_b + 1 - weight
        if low <= 0 or high >= 1:
            return False
        return bool(2 * radius <= _quantile(low) - _quantile(high))
    constant = mpmath.sqrt(2 / mpmath.pi) if certifier == "theorem-3.5-paper" else 1 / mpmath.sqrt(2 * mpmath.pi)
    return bool(2 * radius * constant * weight <= weight * (p_a - p_b) + weight - 1)


def _quantile(p: mpmath.mpf) -> mpmath.mpf:
    """Normal quantile, by the inverse error function where it is accurate and by its tail elsewhere."""
    return mpmath.sqrt(2) * mpmath.erfinv(2 * p - 1)
