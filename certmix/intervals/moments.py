"""Bounds on the mean of [0, 1] values from their first moments, for comparison with betting."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from certmix.intervals.histograms import UNITS, Histograms


def hoeffding_lower(values: Histograms, failure_probability: ArrayLike) -> NDArray[np.float64]:
    """Lower confidence bound on the mean: mean - sqrt(ln(1 / err) / (2 n)). Source: Hoeffding 1963.

    Guarantee: P[bound > mean] <= failure_probability; rounded down.

    Args:
        values: histograms, shape (..., BINS).
        failure_probability: one-sided, in (0, 1).
    Returns: shape (...,), in [0, 1).
    """
    n = np.maximum(values.total, 1).astype(np.float64)
    reach = np.sqrt(-np.log(np.asarray(failure_probability, dtype=np.float64)) / (2.0 * n))
    return _down(values.mean - reach)


def empirical_bernstein_lower(values: Histograms, failure_probability: ArrayLike) -> NDArray[np.float64]:
    """Lower confidence bound: mean - sqrt(2 V ln(2 / err) / n) - 7 ln(2 / err) / (3 (n - 1)), V the sample variance.

    V is that of the values moved to the ends of their bins, which is not below the true one.
    Source: Maurer and Pontil 2009, arXiv:0907.3740, Theorem 4. Guarantee, arguments and result: as `hoeffding_lower`.
    """
    n = np.maximum(values.total, 2).astype(np.float64)
    positions, weights = values.edge_weights()
    mean = (weights * positions).sum(axis=-1) / n
    variance = np.maximum((weights * positions**2).sum(axis=-1) - n * mean**2, 0.0) / (n - 1.0)
    log = np.log(2.0 / np.asarray(failure_probability, dtype=np.float64))
    return _down(values.mean - np.sqrt(2.0 * variance * log / n) - 7.0 * log / (3.0 * (n - 1.0)))


def hoeffding_upper(values: Histograms, failure_probability: ArrayLike) -> NDArray[np.float64]:
    """Upper confidence bound: 1 - `hoeffding_lower` of 1 - X."""
    return _up(hoeffding_lower(values.mirrored(), failure_probability))


def empirical_bernstein_upper(values: Histograms, failure_probability: ArrayLike) -> NDArray[np.float64]:
    """Upper confidence bound: 1 - `empirical_bernstein_lower` of 1 - X."""
    return _up(empirical_bernstein_lower(values.mirrored(), failure_probability))


def _down(bound: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(np.clip(np.nextafter(bound - 1e-12, -1.0), 0.0, 1.0 - 1.0 / UNITS))


def _up(mirrored: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(np.minimum(np.nextafter(1.0 - mirrored, 2.0), 1.0))
