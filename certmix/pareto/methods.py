"""The same runs by every method at one clean accuracy: what each certifies on inputs that chose nothing."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from certmix.certification.chain import certify_chain
from certmix.curves import certified_accuracy
from certmix.errors import InvalidArgument
from certmix.pareto.candidate import Candidate, candidate_from_statistics
from certmix.pareto.chains import chain_candidate, choose_chain
from certmix.pareto.frontier import Entry, admissible, split_rows
from certmix.promise import DEFAULT_FAILURE_PROBABILITY
from certmix.rules import Rule, rule_named
from certmix.tables import shapes_repr

if TYPE_CHECKING:
    from certmix.runs.store import Statistics

THEOREM_A1, EXACT, THRESHOLD = "Eq. 5, Theorem A.1", "Eq. 5, exact", "Threshold"
CONFIDENT, CHAIN = "Threshold, confident votes", "Chain of sigmas"
OBJECTIVE = (0.25, 0.5, 0.75)

Rows = NDArray[np.int64]


@dataclass(frozen=True)
class Method:
    """One classifier that a method found, on the inputs that are reported.

    Attributes:
        name: of the method.
        choice: what was chosen, in words, such as "sigma 0.5, weight 0.81".
        clean_accuracy: range [0, 1].
        radius: certified radii, shape (inputs,), pixel units; 0 where nothing is certified.
        right: whether the predictions are right, shape (inputs,).
        certifier: name.
    """

    name: str
    choice: str
    clean_accuracy: float
    radius: NDArray[np.float64]
    right: NDArray[np.bool_]
    certifier: str = "exact"

    __repr__ = shapes_repr


def compare_methods(
    runs: "Sequence[Statistics]",
    *,
    target: float,
    objective: ArrayLike = OBJECTIVE,
    confidences: Sequence[float] = (),
    split: float | None = 0.5,
    seed: int = 0,
    failure_probability: float = DEFAULT_FAILURE_PROBABILITY,
) -> list[Method]:
    """One classifier per method: of those that keep a clean accuracy, the one that certifies most where it is chosen.

    The methods: Eq. 5 by the paper's Theorem A.1, Eq. 5 by the exact certificate, the threshold, the threshold over confident
    votes (with `confidences`), and the chain of all sigmas (two runs or more). Each chooses sigma, its parameters and its
    confidence for the sum of certified accuracies at some radii, on one part of the inputs, and is reported on the other.

    Args:
        runs: over the same inputs, one per sigma, with g recorded; with soft votes where there are confidences.
        target: clean accuracy to keep on the inputs to choose on, in [0, 1].
        objective: radii, pixel units, shape (radii,).
        confidences: of votes, to choose from; the chain may also go without.
        split: share of the inputs to choose on, in (0, 1); None chooses and reports on all: optimistic.
        seed: of the split.
        failure_probability: of every certificate.
    Raises: InvalidArgument: a target that a method does not reach, or runs that cannot be compared.
    """
    if not runs:
        raise InvalidArgument("a comparison of methods needs at least one run, got none.")
    ordered = sorted(runs, key=lambda run: run.sigma)
    choose, report = split_rows(len(ordered[0]), split, seed)
    at = np.atleast_1d(np.asarray(objective, dtype=np.float64))
    plain = [candidate_from_statistics(run, failure_probability=failure_probability) for run in ordered]
    sure = [
        candidate_from_statistics(run, failure_probability=failure_probability, confidence=kappa)
        for run in ordered
        for kappa in confidences
    ]
    linear, threshold = rule_named("linear"), rule_named("threshold")
    found = [
        _single(name, candidates, rule, certifier, target, at, choose, report)
        for name, candidates, rule, certifier in (
            (THEOREM_A1, plain, linear, "theorem-a1"),
            (EXACT, plain, linear, "exact"),
            (THRESHOLD, plain, threshold, "exact"),
            (CONFIDENT, sure, threshold, "exact"),
        )
        if candidates
    ]
    if len(ordered) > 1:
        found.append(_chain(ordered, [None, *confidences], failure_probability, target, at, choose, report))
    return found


def _single(
    name: str, candidates: list[Candidate], rule: Rule, certifier: str, target: float, objective: NDArray[np.float64],
    choose: Rows, report: Rows,
) -> Method:  # fmt: skip
    """The best of the sigmas (and confidences) by one rule."""
    entries, unreached = admissible(candidates, [rule], certifier, choose, target)
    if not entries:
        raise InvalidArgument(f"{name} keeps no clean accuracy of {target:.4f}: {unreached[0].why}")

    def score(entry: Entry) -> float:
        labels = entry.candidate.labels[choose]
        return float(certified_accuracy(entry.certify(choose), labels, objective).accuracy.sum())

    best = max(entries, key=score)
    made = best.certify(report)
    sure = "" if best.candidate.confidence is None else f", confident at {best.candidate.confidence:.4g}"
    return Method(
        name,
        f"sigma {best.candidate.bounds.sigma:g}, {best.rule.title} {best.rule.parameter:.4g}{sure}",
        float(best.candidate.clean(best.rule, report)(best.rule.parameter)),
        made.radius[0],
        made.prediction == made.labels,
        certifier,
    )


def _chain(
    runs: "Sequence[Statistics]", confidences: Sequence[float | None], failure_probability: float, target: float,
    objective: NDArray[np.float64], choose: Rows, report: Rows,
) -> Method:  # fmt: skip
    """The best chain of all sigmas, ascending."""
    candidates = [
        chain_candidate(runs, failure_probability=failure_probability, confidence=kappa) for kappa in confidences
    ]
    best, thresholds = choose_chain(candidates, choose, target=target, radii=objective)
    candidate, sure = candidates[best], confidences[best]
    made = certify_chain(candidate.bounds.rows(report), thresholds)
    nodes = ", ".join(f"sigma {s:g}: {c:.4g}" for s, c in zip(candidate.bounds.sigma, thresholds, strict=True))
    return Method(
        CHAIN,
        nodes + ("" if sure is None else f", confident at {sure:.4g}"),
        candidate.clean_accuracy(thresholds, report),
        made.radius[0],
        made.prediction == made.labels,
    )
