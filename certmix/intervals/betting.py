"""Mixture betting: a confidence bound on the mean of [0, 1] values from their stored histogram."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from certmix.intervals.histograms import UNITS, Histograms

_CHUNK = 256  # histograms at a time
_FACTORS = 2.0 ** np.linspace(-1.5, 1.5, 9)
_SPREAD = np.geomspace(1e-3, 0.999, 16)
_HALVINGS = 34  # of a bracket that is at most 1 wide


def betting_lower(
    values: Histograms,
    selection: Histograms,
    failure_probability: ArrayLike,
    *,
    at_most: ArrayLike = 1.0,
) -> NDArray[np.float64]:
    """Lower confidence bound on the mean of independent [0, 1] values: inf{m : E_m < 1 / failure_probability}.

    E_m = sum_j w_j prod_i ((1 - c_j) + c_j X_i / m) is the mean wealth of bets c_j fixed beforehand; where m is the true
    mean it exceeds 1 / failure_probability with no more than that probability (Ville, Markov). Values in a bin are moved
    to its ends with their mean kept, which lowers the log of every factor. Source: Waudby-Smith and Ramdas 2023,
    arXiv:2010.09686; the bins are ours.
    Guarantee: P[bound > mean] <= failure_probability. The bound is the lower end of a bisection, rounded down.

    Args:
        values: histograms, shape (..., BINS); every one with at least one value.
        selection: of other, earlier draws of the same variables, same shape; they place the bets.
        failure_probability: one-sided, in (0, 1), scalar or shape (...,).
        at_most: a bound above this is not needed, and costs one evaluation: this value is then returned.
    Returns: shape (...,), in [0, 1).
    """
    positions, weights = values.edge_weights()
    shape = values.counts.shape[:-1]
    err = np.broadcast_to(np.asarray(failure_probability, dtype=np.float64), shape).reshape(-1)
    bets, shares = _bets(selection, values, np.broadcast_to(failure_probability, shape))
    game = _Game(
        positions, weights.reshape(-1, weights.shape[-1]), bets.reshape(-1, bets.shape[-1]), shares, -np.log(err)
    )
    mean = np.maximum(values.mean.reshape(-1), 1.0 / UNITS)
    cap = np.broadcast_to(np.asarray(at_most, dtype=np.float64), shape).reshape(-1)
    bound = np.empty(len(err))
    for start in range(0, len(err), _CHUNK):
        part = slice(start, start + _CHUNK)
        bound[part] = _search(game.rows(part), mean[part], cap[part])
    return np.maximum(np.nextafter(bound * (1.0 - 1e-12), -1.0), 0.0).reshape(shape)


def betting_upper(
    values: Histograms,
    selection: Histograms,
    failure_probability: ArrayLike,
    *,
    at_least: ArrayLike = 0.0,
) -> NDArray[np.float64]:
    """Upper confidence bound: 1 - `betting_lower` of 1 - X. Arguments as there; in (0, 1]."""
    cap = 1.0 - np.asarray(at_least, dtype=np.float64)
    lower = betting_lower(values.mirrored(), selection.mirrored(), failure_probability, at_most=cap)
    return np.asarray(np.minimum(np.nextafter(1.0 - lower, 2.0), 1.0))


def _bets(
    selection: Histograms, values: Histograms, err: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Bets c_j in (0, 1), shape (..., bets), and their weights: 4/5 about the best guess from the selection draws."""
    positions, mass = selection.edge_weights()
    total = np.maximum(mass.sum(axis=-1), 1.0)
    mean = (mass * positions).sum(axis=-1) / total
    variance = np.maximum((mass * positions**2).sum(axis=-1) / total - mean**2, 1.0 / total**2)
    best = np.sqrt(2.0 * np.log(1.0 / err) / (np.maximum(values.total, 1) * variance)) * mean
    around = np.clip(best[..., None] * _FACTORS, 1e-6, 0.9999)
    spread = np.broadcast_to(_SPREAD, (*best.shape, len(_SPREAD)))
    shares = np.concatenate([np.full(len(_FACTORS), 0.8 / len(_FACTORS)), np.full(len(_SPREAD), 0.2 / len(_SPREAD))])
    return np.concatenate([around, spread], axis=-1), shares


@dataclass(frozen=True)
class _Game:
    """Histograms and the bets on them.

    Attributes:
        positions, weights: of `Histograms.edge_weights`, shapes (ends,) and (histograms, ends).
        bets: shape (histograms, bets).
        shares: of each bet, shape (bets,).
        needed: log of the wealth that refutes a mean, shape (histograms,).
    """

    positions: NDArray[np.float64]
    weights: NDArray[np.float64]
    bets: NDArray[np.float64]
    shares: NDArray[np.float64]
    needed: NDArray[np.float64]

    def rows(self, chosen: slice | NDArray[np.bool_]) -> "_Game":
        """Some of the histograms, without ends that none of them uses."""
        weights = self.weights[chosen]
        used = weights.any(axis=0)
        return _Game(self.positions[used], weights[:, used], self.bets[chosen], self.shares, self.needed[chosen])

    def refutes(self, mean: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Whether the wealth log E_m reaches what is needed, shape (histograms,). It falls with m.

        An underflow is log 0 = -inf: no wealth, never a floor.
        """
        ratio = self.positions / np.maximum(mean, 1e-300)[:, None] - 1.0
        growth = np.log1p(self.bets[:, :, None] * ratio[:, None, :])
        logs = np.einsum("hbp,hp->hb", growth, self.weights) + np.log(self.shares)
        top = logs.max(axis=1)
        wealth = top + np.log(np.exp(logs - top[:, None]).sum(axis=1)) - 1e-9
        return np.asarray(wealth >= self.needed)


def _search(game: _Game, mean: NDArray[np.float64], cap: NDArray[np.float64]) -> NDArray[np.float64]:
    """The largest m found, no more than the cap, that is still refuted."""
    result = cap.copy()
    below = (cap >= mean) | ~game.refutes(cap)
    if below.any():
        result[below] = _bisect(game.rows(below), np.minimum(mean, cap)[below])  # at the mean the wealth is at most 1
    return result


def _bisect(game: _Game, high: NDArray[np.float64]) -> NDArray[np.float64]:
    low = np.zeros(len(high))
    for _ in range(_HALVINGS):
        middle = 0.5 * (low + high)
        rich = game.refutes(middle)
        low, high = np.where(rich, middle, low), np.where(rich, high, middle)
    return low
