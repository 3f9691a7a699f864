"""Chains chosen on some inputs and reported on others: thresholds for the accuracy at given radii, clean accuracy kept."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from certmix.certification.certify import certified_at
from certmix.certification.chain import ChainBounds, bound_chain, node_promise
from certmix.certification.votes import votes_of_h
from certmix.certifiers import get_certifier
from certmix.clean_accuracy import alone_on_top, vote_shares
from certmix.errors import InvalidArgument
from certmix.promise import DEFAULT_FAILURE_PROBABILITY
from certmix.rules.chain import chain_right
from certmix.rules.threshold import envelope_of, threshold_radius
from certmix.tables import shapes_repr

if TYPE_CHECKING:
    from certmix.runs.store import Statistics

Floats = NDArray[np.float64]
Rows = NDArray[np.int64]
_COMBINATIONS = 20_000  # of thresholds that are tried
_MOST_VALUES = 64  # of one node


@dataclass(frozen=True)
class ChainCandidate:
    """A chain whose thresholds are open.

    Attributes:
        bounds: of all nodes.
        accurate: g's probabilities, shape (inputs, classes).
        robust: shares of every node, shape (nodes, inputs, classes).
    """

    bounds: ChainBounds
    accurate: Floats
    robust: Floats

    __repr__ = shapes_repr

    def clean_accuracy(self, thresholds: ArrayLike, rows: Rows) -> float:
        """Of the chain with these thresholds over some of the inputs, from the shares; ties are wrong."""
        robust = self.robust[:, rows]
        ones = np.ones(robust.shape[:2])
        right = chain_right(self.accurate[rows], robust, self.bounds.labels[rows], thresholds, draws=ones)
        return float(right.mean())


def chain_candidate(
    runs: "Sequence[Statistics]",
    *,
    failure_probability: float = DEFAULT_FAILURE_PROBABILITY,
    confidence: float | None = None,
) -> ChainCandidate:
    """Of stored runs, the first of which recorded g; arguments and errors as `bound_chain`."""
    bounds = bound_chain(runs, failure_probability=failure_probability, confidence=confidence)
    if runs[0].accurate_probabilities is None:
        raise InvalidArgument(
            "the first run of a chain must hold the accurate model's predictions; sample with --accurate."
        )
    each = failure_probability / len(runs)
    shares = [vote_shares(*votes_of_h(run, node_promise(run, each, confidence))) for run in runs]
    return ChainCandidate(bounds, runs[0].accurate_probabilities.astype(np.float64), np.stack(shares))


def choose_thresholds(
    candidate: ChainCandidate, rows: Rows, *, target: float, radii: ArrayLike, certifier: str = "exact"
) -> tuple[tuple[float, ...], float]:
    """The thresholds that certify most on some inputs, summed over the radii, of those that keep a clean accuracy.

    Every combination of values on a grid of each node's own shares is tried, at most 20,000 in all; with the largest value
    a node never answers there, so that shorter chains are among them.

    Args:
        candidate: of `chain_candidate`.
        rows: inputs to choose on.
        target: clean accuracy to keep there, in [0, 1].
        radii: pixel units, shape (radii,).
        certifier: name of one with an envelope.
    Returns: (thresholds, the sum that they attain).
    Raises: InvalidArgument: a target that no combination reaches.
    """
    shares = candidate.robust[:, rows].max(axis=-1)
    values, right = _grids(shares), _right(candidate, rows)
    fires, silent = _radii(candidate.bounds.rows(rows), values, certifier)
    rest_radius, rest_right = np.zeros((1, len(rows))), right[-1]
    for k in reversed(range(1, len(values))):
        answers = shares[k] > values[k][:, None]
        rest_radius = np.maximum(fires[k][:, None], np.minimum(silent[k][:, None], rest_radius)).reshape(-1, len(rows))
        rest_right = np.where(answers[:, None], right[k], rest_right).reshape(-1, len(rows))
    best: tuple[float, float, tuple[int, int]] | None = None
    most_clean = 0.0
    for first in range(len(values[0])):
        radius = np.maximum(fires[0][first], np.minimum(silent[0][first], rest_radius))
        clean = np.where(shares[0] > values[0][first], right[0], rest_right).mean(axis=1)
        score = sum(certified_at(radius, r).mean(axis=1) for r in np.atleast_1d(np.asarray(radii, dtype=np.float64)))
        score = np.where(clean >= target - 1e-12, score, -1.0)
        place, most_clean = int(score.argmax()), max(most_clean, float(clean.max()))
        if score[place] >= 0 and (best is None or (score[place], clean[place]) > best[:2]):
            best = float(score[place]), float(clean[place]), (first, place)
    if best is None:
        raise InvalidArgument(
            f"target clean accuracy must be one that a chain reaches, got {target:.4f}: the best is {most_clean:.4f}."
        )
    first, place = best[2]
    found = []
    for one in reversed(values[1:]):
        place, digit = divmod(place, len(one))
        found.append(float(one[digit]))
    return (float(values[0][first]), *reversed(found)), best[0]


def choose_chain(
    candidates: Sequence[ChainCandidate], rows: Rows, *, target: float, radii: ArrayLike, certifier: str = "exact"
) -> tuple[int, tuple[float, ...]]:
    """The best of several chains, which differ in the confidence of votes, say: (its position, its thresholds).

    Args and errors: as `choose_thresholds`; the first of the best on ties. One that misses the target is left out.
    """
    best: tuple[float, int, tuple[float, ...]] | None = None
    refused: InvalidArgument | None = None
    for position, candidate in enumerate(candidates):
        try:
            thresholds, score = choose_thresholds(candidate, rows, target=target, radii=radii, certifier=certifier)
        except InvalidArgument as error:
            refused = error
            continue
        if best is None or score > best[0]:
            best = score, position, thresholds
    if best is None:
        raise refused or InvalidArgument("a choice of chains needs at least one, got none.")
    return best[1:]


def _grids(shares: Floats) -> list[Floats]:
    """Thresholds to try for each node, ascending: 0 and quantiles of its largest share on the inputs."""
    count = min(int(_COMBINATIONS ** (1.0 / len(shares))), _MOST_VALUES)
    quantiles = np.quantile(shares, np.linspace(0.0, 1.0, max(count - 1, 2)), axis=1, method="lower").T
    return [np.unique(np.minimum(np.append(0.0, one), np.nextafter(1.0, 0.0))) for one in quantiles]


def _right(candidate: ChainCandidate, rows: Rows) -> list[NDArray[np.bool_]]:
    """Whether each node's own class is right, and g's, shape (inputs,) each."""
    labels = candidate.bounds.labels[rows]
    h = [alone_on_top(one, labels) for one in candidate.robust[:, rows]]
    return [*h, alone_on_top(candidate.accurate[rows], labels)[None]]


def _radii(bounds: ChainBounds, values: list[Floats], certifier: str) -> tuple[list[Floats], list[Floats]]:
    """`node_radii` about the true class at every threshold to try, shapes (values, inputs); 0 where no node chose it."""
    envelope = envelope_of(get_certifier(certifier), "a chain")
    own = bounds.candidates == bounds.labels
    place, inputs, named = own.argmax(axis=0), np.arange(len(bounds.labels)), own.any(axis=0)
    fires, silent = [], []
    for k, limits in enumerate(values):
        top, rival = bounds.top_lower[k, place, inputs], bounds.rival_upper[k, place, inputs]
        rival = np.minimum(rival, np.nextafter(1.0 - top, 1.0))
        c, s = limits[:, None], bounds.sigma[k]
        fires.append(np.where(named, threshold_radius(top, rival, c, s, envelope=envelope), 0.0))
        silent.append(np.where(named, envelope.rival_radius(rival, c, s), 0.0))
    return fires, silent
