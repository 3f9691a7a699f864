"""Theorem A.1: the paper's certificate for a mixture whose robust model is smoothed by Gaussian noise, in l2."""

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from certmix.certifiers.arguments import (
    Array,
    check_bounds,
    check_mixing_weight,
    check_radius,
    check_shapes,
    check_sigma,
    round_down,
)
from certmix.certifiers.margin import excess_margin

_HALVINGS = 60
_LINEAR = np.sqrt(np.pi / 8.0) * (1.0 - 1e-14)  # 1 / (2 L) with the paper's L = sqrt(2 / pi), rounded down


def theorem_a1_radius(
    top_lower: ArrayLike, rival_upper: ArrayLike, mixing_weight: ArrayLike, sigma: ArrayLike
) -> Array:
    """Certified l2 radius r = (s / 2) [z(a p_A) - z(a p_B + 1 - a)]. Source: Bai et al., arXiv:2301.12554, Theorem A.1.

    Guarantee: given p_A <= h_y(x) and h_i(x) <= p_B for i != y, with h smoothed by N(0, s^2), the mixture predicts y on
    the open l2 ball of radius r; rounded down. Never more than s z(a), however confident h is.
    Differs: p_A and p_B are confidence bounds, not vote shares, and p_B is replaced by min(p_B, 1 - p_A).

    Args:
        top_lower: lower bound on h_y(x), in [0, 1).
        rival_upper: upper bound on every h_i(x), in (0, 1].
        mixing_weight: a, in [0, 1].
        sigma: standard deviation of the noise, > 0, in [0, 1] pixel units.
    Returns: radius in pixel units, the broadcast shape; 0 where nothing is certified.
    Raises: InvalidArgument: a value out of range, or shapes that do not broadcast.
    Example:
        >>> round(float(theorem_a1_radius(0.99, 0.01, 0.8, 1.0)), 3)
        0.813
    """
    top, rival = check_bounds(top_lower, rival_upper)
    weight, scale = check_mixing_weight(mixing_weight), check_sigma(sigma)
    check_shapes(bounds=top, mixing_weight=weight, sigma=scale)
    return round_down(_distance(top, rival, weight) * scale)


def theorem_a1_margin(top_lower: ArrayLike, rival_upper: ArrayLike, radius: ArrayLike, sigma: ArrayLike) -> Array:
    """Margin curve of Theorem A.1: m(r) = (1 - a) / a at the weight a whose radius is r.

    Args: as `theorem_a1_radius`, with radius >= 0 in pixel units in place of the weight.
    Returns: the margin, the broadcast shape, rounded down; -1 where no weight certifies that radius.
    """
    top, rival = check_bounds(top_lower, rival_upper)
    distance, scale = check_radius(radius), check_sigma(sigma)
    check_shapes(bounds=top, radius=distance, sigma=scale)
    with np.errstate(over="ignore"):
        top, rival, distance = np.broadcast_arrays(top, rival, distance / scale)
    low, high = np.full(top.shape, 0.5), np.ones(top.shape)
    for _ in range(_HALVINGS):
        middle = 0.5 * (low + high)
        enough = _distance(top, rival, middle) > distance
        low, high = np.where(enough, low, middle), np.where(enough, middle, high)
    reached = _distance(top, rival, np.ones(top.shape)) > distance
    return np.where(reached, np.nextafter((1.0 - high) / high, -1.0), -1.0)


def _distance(top: Array, rival: Array, weight: Array) -> Array:
    """The radius in units of sigma, rounded down; each quantile from its smaller tail."""
    excess = excess_margin(top, rival, weight)
    weight = np.maximum(weight, 0.5)
    first = _quantile(weight * top, (1.0 - weight) + weight * (1.0 - top))
    second = _quantile(weight * rival + (1.0 - weight), weight * (1.0 - rival))
    with np.errstate(invalid="ignore"):
        distance = 0.5 * (first - second) - 2e-15 * (2.0 + np.abs(first) + np.abs(second))
    # Theorem 3.5 with the paper's constant is never more: it is positive however small the excess is.
    return np.where(excess > 0, np.maximum(distance, excess * _LINEAR), 0.0)


def _quantile(lower_tail: Array, upper_tail: Array) -> Array:
    return np.asarray(np.where(lower_tail < 0.5, special.ndtri(lower_tail), -special.ndtri(upper_tail)))
