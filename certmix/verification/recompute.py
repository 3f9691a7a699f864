"""Every stated radius recomputed from the counts in 50-digit arithmetic that shares no code with the certifiers."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from certmix.certification.certify import RULES, Certificates, certify
from certmix.errors import InvalidArgument
from certmix.runs.store import Statistics
from certmix.verification.formulas import Bounds, bounds_of_counts, certifies, number
from certmix.verification.redraw import Verification

_LOSS = 1e-6  # sigmas; a radius further below the recomputed one is reported too


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
            reached = number(stated) / number(certificates.sigma)
            inside = (number(stated) + number(offset)) / number(certificates.sigma)
            if stated > 0 and not certifies(certificates.certifier, bounds, number(weight), inside):
                result.differences.append(f"{said} is above what the votes support")
            elif certifies(certificates.certifier, bounds, number(weight), max(inside, reached) + _LOSS):
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
        return winner, (number(0), number(1))
    rival = max([invalid, *(count for i, count in enumerate(counts) if i != winner)])
    return winner, bounds_of_counts(
        counts[winner], rival, sum(counts) + invalid, failure_probability, RULES[rule], total_variation
    )


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
