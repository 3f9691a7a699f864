"""Every stated radius of a chain recomputed from the votes of all its nodes, at 50 digits; as `recompute`."""

from collections.abc import Sequence

import numpy as np

from certmix.certification.certify import Certificates
from certmix.errors import InvalidArgument
from certmix.intervals import ABSTAIN
from certmix.promise import Promise
from certmix.rules import Chain
from certmix.runs.store import Statistics
from certmix.verification.formulas import Node, bounds_of_counts, certifies_chain, number
from certmix.verification.recompute import LOSS, broken_promise, row_votes
from certmix.verification.redraw import Verification


def check_chain(runs: Sequence[Statistics], certificates: Certificates, result: Verification) -> None:
    """`check_certificates` of a chain, by the recursion itself: every radius from the counts of all nodes.

    Args:
        runs: the stored votes of every node, in the chain's order.
        certificates: of those votes, or of some of the inputs.
        result: takes the findings.
    Raises: InvalidArgument: certificates that are of no chain, or without a promise or indices.
    """
    (chain,), promise, indices = certificates.rules, certificates.promise, certificates.indices
    if not isinstance(chain, Chain) or promise is None or indices is None:
        raise InvalidArgument(
            f"certificates to check must be of a chain, with indices and a promise, got {chain.label}."
        )
    place = _places(runs, chain, certificates, promise, result)
    for position, index in enumerate(indices.tolist() if place else []):
        said, stated = int(certificates.prediction[position]), float(certificates.radius[0, position])
        row = place[index]
        votes = [row_votes(run, row, promise.confidence) for run in runs]
        chosen = {winner for winner, _, _ in votes} - {ABSTAIN}
        result.certificates_checked += 1
        where = f"input {index}, {certificates.certifier}, {chain.label}: radius {stated:.9g}"
        claims = {y: _nodes(runs, votes, chain, row, y, promise) for y in (chosen | {said}) - {ABSTAIN}}
        if stated > 0 and not (
            said in claims and certifies_chain(certificates.certifier, claims[said], number(stated))
        ):
            result.differences.append(f"{where} of class {said} is above what the votes support")
        further = number(stated + LOSS * max(chain.sigmas))
        if any(certifies_chain(certificates.certifier, nodes, further) for nodes in claims.values()):
            result.differences.append(f"{where} is over {LOSS:g} sigma below the recomputed one")


def _places(
    runs: Sequence[Statistics], chain: Chain, certificates: Certificates, promise: Promise, result: Verification
) -> dict[int, int]:
    """Row of every index in the runs; empty where the certificates are not about these runs, and why is noted."""
    before = len(result.differences)
    result.note("sigmas of the chain, against the runs", chain.sigmas, tuple(run.sigma for run in runs))
    place = {int(index): row for row, index in enumerate(runs[0].indices)}
    for run in runs[1:]:
        if not (np.array_equal(run.indices, runs[0].indices) and np.array_equal(run.labels, runs[0].labels)):
            result.differences.append(
                f"the run at sigma {run.sigma:g} is over other inputs than that at {runs[0].sigma:g}"
            )
    stated = [] if certificates.indices is None else certificates.indices.tolist()
    if len(set(stated)) < len(stated) or not set(stated) <= set(place):
        result.differences.append("the chain names inputs twice, or inputs that its runs do not hold")
    elif certificates.labels is not None:
        labels = runs[0].labels[[place[index] for index in stated]]
        if not np.array_equal(labels, certificates.labels):
            result.differences.append("labels of the chain's certificates are not those of its runs")
    if (promise.votes, promise.interval, promise.real_valued) not in (
        (kind, "pair", False) for kind in ("hard", "confident")
    ):
        result.differences.append(
            "the certificates of a chain must be of whole votes under pair bounds, on the data's grid"
        )
    for run in runs:
        result.differences += broken_promise(run, promise, promise.failure_probability / len(runs))
    return place if len(result.differences) == before else {}


def _nodes(
    runs: Sequence[Statistics],
    votes: Sequence[tuple[int, list[int], int]],
    chain: Chain,
    row: int,
    said: int,
    promise: Promise,
) -> list[Node]:
    """What every node's votes say of one class: h_k of it from below, and of all others from above."""
    rest = 2 if len({winner for winner, _, _ in votes}) == 1 else 4
    nodes = []
    for run, (winner, counts, total), c in zip(runs, votes, chain.thresholds, strict=True):
        schedule = run.draws.schedule
        share = promise.failure_probability / len(runs)
        err = share if schedule is None else float(schedule.spent_at(run.estimation_draws[row]))
        rival = max(count for i, count in enumerate(counts) if i != said)
        slack = run.draws.total_variation
        low = bounds_of_counts(counts[said], 0, total, err / 2, 1.0, slack)[0] if winner == said else number(0)
        high = bounds_of_counts(0, rival, total, 2 * err / rest, 0.5, slack)[1]
        nodes.append(Node((low, high), number(c), number(run.sigma)))
    return nodes
