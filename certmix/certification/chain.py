"""Chains of runs at several sigmas: bounds on every node about every class that one of them chose, and their radii.

Where the failure probability goes, and why: `certmix.rules.chain`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from certmix.certification.bounds import maximum_radius, promise_of
from certmix.certification.certify import Certificates
from certmix.certification.votes import whole_votes
from certmix.certifiers import check_noise, get_certifier
from certmix.errors import InvalidArgument
from certmix.intervals import ABSTAIN, clopper_pearson_lower, clopper_pearson_upper
from certmix.promise import DEFAULT_FAILURE_PROBABILITY, Promise, Votes, check_failure_probability
from certmix.rules.chain import Chain, chain_radius
from certmix.rules.threshold import envelope_of
from certmix.tables import shapes_repr

if TYPE_CHECKING:
    from certmix.runs.store import Statistics

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True)
class ChainBounds:
    """What the nodes of a chain know about the classes that they chose.

    Guarantee: for each input all of it holds with probability at least 1 - promise.failure_probability, for all thresholds at
    once.

    Attributes:
        candidates: class that each node's selection draws chose, shape (nodes, inputs); ABSTAIN where none was.
        top_lower: lower bound on h_k of each candidate, 0 where node k chose another, shape (nodes, candidates, inputs).
        rival_upper: upper bound on h_k of every other class, the same shape.
        sigma: of each node, shape (nodes,), pixel units.
        promise: of all nodes together, which share its failure probability equally.
        labels, indices: true classes and stable positions, shape (inputs,).
    """

    candidates: Integers
    top_lower: Floats
    rival_upper: Floats
    sigma: Floats
    promise: Promise
    labels: Integers
    indices: Integers

    __repr__ = shapes_repr

    def rows(self, chosen: Integers) -> "ChainBounds":
        """Those of some inputs."""
        return ChainBounds(
            self.candidates[:, chosen],
            self.top_lower[..., chosen],
            self.rival_upper[..., chosen],
            self.sigma,
            self.promise,
            self.labels[chosen],
            self.indices[chosen],
        )


def bound_chain(
    runs: "Sequence[Statistics]",
    *,
    failure_probability: float = DEFAULT_FAILURE_PROBABILITY,
    confidence: float | None = None,
) -> ChainBounds:
    """Bounds from the stored votes of every node, hard or confident, each at an equal share of the failure probability.

    Half of a node's share is for its class; the other half for the others, or a quarter where the nodes chose different
    classes: then two fixed classes of the node can be the worst rival.

    Args:
        runs: over the same inputs, in the order of the nodes.
        failure_probability: of all nodes together, per input, in (0, 1).
        confidence: of confident votes, for every node; None for what each run was drawn for.
    Raises: InvalidArgument: no runs, runs over other inputs, soft means, or too few draws to certify anything.
    """
    if not runs:
        raise InvalidArgument("a chain needs at least one run, got none.")
    for run in runs[1:]:
        if not (np.array_equal(runs[0].indices, run.indices) and np.array_equal(runs[0].labels, run.labels)):
            raise InvalidArgument(
                f"the runs of a chain must be over the same inputs, got others at sigma {runs[0].sigma:g} and "
                f"{run.sigma:g}; sample the same subset."
            )
    if any(run.draws.enumerated for run in runs):
        raise InvalidArgument(
            "the runs of a chain must be of Gaussian noise, got one of splitting noise; certify it alone."
        )
    share = check_failure_probability(failure_probability) / len(runs)
    promises = [node_promise(run, share, confidence) for run in runs]
    if len({promise.confidence for promise in promises}) > 1:
        counted = ", ".join("all" if one.confidence is None else f"those above {one.confidence}" for one in promises)
        raise InvalidArgument(
            f"the runs of a chain must count the same votes, got {counted}; sample anew, or --votes both."
        )
    votes, spent = [], []
    for run, promise in zip(runs, promises, strict=True):
        votes.append(whole_votes(run, promise))
        schedule = run.draws.schedule
        if schedule is None:
            maximum_radius(run.draws.num_estimation, share, run.sigma)
        spent.append(np.full(len(run), share) if schedule is None else schedule.spent_at(run.estimation_draws))
    candidates = np.stack([one.prediction for one in votes])
    rest = np.where((candidates == candidates[:1]).all(axis=0), 0.5, 0.25)
    top, rival = np.zeros((2, len(runs), len(runs), len(runs[0])))
    for k, (run, one) in enumerate(zip(runs, votes, strict=True)):
        apart = run.draws.total_variation
        lower = clopper_pearson_lower(one.of(one.prediction), one.draws, spent[k] * 0.5)
        lower = np.where(one.prediction == ABSTAIN, 0.0, np.maximum(np.nextafter(lower - apart, -1.0), 0.0))
        top[k] = np.where(candidates == one.prediction, lower, 0.0)
        for j, candidate in enumerate(candidates):
            upper = clopper_pearson_upper(one.against(candidate), one.draws, spent[k] * rest)
            rival[k, j] = np.minimum(np.nextafter(upper + apart, 2.0), 1.0)
    sigma = np.array([run.sigma for run in runs])
    whole = replace(promises[0], failure_probability=failure_probability)
    return ChainBounds(candidates, top, rival, sigma, whole, runs[0].labels, runs[0].indices)


def node_promise(run: "Statistics", failure_probability: float, confidence: float | None) -> Promise:
    """What one node promises: whole votes, hard ones where no confidence was asked for or declared."""
    hard: Votes | None = "hard" if confidence is None and run.draws.confidence is None else None
    return promise_of(run, failure_probability=failure_probability, votes=hard, confidence=confidence)


def certify_chain(bounds: ChainBounds, thresholds: Sequence[float], *, certifier: str = "exact") -> Certificates:
    """Radii of the chain with these thresholds: for each input of the candidate that has the largest.

    Args:
        bounds: of `bound_chain`.
        thresholds: c_k of each node, in [0, 1).
        certifier: name of one with an envelope.
    Returns: Certificates of one `Chain`; the prediction is ABSTAIN where nothing is certified.
    Raises: InvalidArgument: another number of thresholds than nodes, a value out of range, or a certifier of another norm.
    """
    chain = Chain(bounds.sigma.tolist(), thresholds)
    method = get_certifier(certifier)
    check_noise(method, "l2")
    envelope = envelope_of(method, "a chain")
    radius = chain_radius(bounds.top_lower, bounds.rival_upper, chain.thresholds, bounds.sigma, envelope=envelope)
    radius = np.where(bounds.candidates == ABSTAIN, 0.0, radius)
    best, inputs = radius.argmax(axis=0), np.arange(radius.shape[1])
    radius = radius[best, inputs]
    return Certificates(
        prediction=np.where(radius > 0, bounds.candidates[best, inputs], ABSTAIN),
        radius=radius[None],
        rules=(chain,),
        certifier=certifier,
        sigma=chain.sigmas[0],
        promise=bounds.promise,
        labels=bounds.labels,
        indices=bounds.indices,
    )
