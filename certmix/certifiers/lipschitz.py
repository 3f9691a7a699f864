"""Theorem 3.5: a certificate from Lipschitz constants of h's class probabilities, in any l_p norm."""

import math

import numpy as np
from numpy.typing import ArrayLike

from certmix.certifiers.arguments import (
    Array,
    check_bounds,
    check_lipschitz,
    check_mixing_weight,
    check_radius,
    check_rival_upper,
    check_shapes,
    check_sigma,
    check_threshold,
    check_top_lower,
    round_down,
)
from certmix.certifiers.margin import excess_margin

_ROUNDING = 1e-15  # above the relative rounding error of the margin curve's two differences


def lipschitz_radius(
    top_lower: ArrayLike,
    rival_upper: ArrayLike,
    mixing_weight: ArrayLike,
    lipschitz_top: ArrayLike,
    lipschitz_rival: ArrayLike,
) -> Array:
    """Certified radius r = [a (p_A - p_B) + a - 1] / [a (L_y + L_i)]. Source: Bai et al., arXiv:2301.12554, Theorem 3.5.

    Guarantee: given p_A <= h_y(x) and h_i(x) <= p_B, with h_y and h_i Lipschitz with these constants in some l_p norm,
    the mixture predicts y over i on the open l_p ball of radius r; rounded down. With a constant per class, pass arrays
    over the rivals and take the minimum over that axis.
    Differs: p_B is replaced by min(p_B, 1 - p_A), since h's values are probabilities.

    Args:
        top_lower: lower bound on h_y(x), in [0, 1).
        rival_upper: upper bound on h_i(x), in (0, 1].
        mixing_weight: a, in [0, 1].
        lipschitz_top, lipschitz_rival: Lipschitz constants of h_y and h_i, > 0, per pixel unit.
    Returns: radius in pixel units, the broadcast shape; 0 where nothing is certified.
    Raises: InvalidArgument: a value out of range, or shapes that do not broadcast.
    Example:
        >>> constant = smoothing_lipschitz_constant(1.0)
        >>> round(float(lipschitz_radius(0.99, 0.01, 0.8, constant, constant)), 3)
        0.915
    """
    top, rival = check_bounds(top_lower, rival_upper)
    weight = check_mixing_weight(mixing_weight)
    total = _total(lipschitz_top, lipschitz_rival)
    check_shapes(bounds=top, mixing_weight=weight, lipschitz=total)
    return round_down(excess_margin(top, rival, weight) / total)


def lipschitz_margin(
    top_lower: ArrayLike,
    rival_upper: ArrayLike,
    radius: ArrayLike,
    lipschitz_top: ArrayLike,
    lipschitz_rival: ArrayLike,
) -> Array:
    """Margin curve m(r) = p_A - p_B - r (L_y + L_i), of which `lipschitz_radius` is the inverse.

    Source and arguments: as `lipschitz_radius`; radius >= 0 in pixel units.
    Returns: lower bound on h_y - h_i on the ball of that radius, the broadcast shape, in [-1, 1).
    """
    top, rival = check_bounds(top_lower, rival_upper)
    radius, total = check_radius(radius), _total(lipschitz_top, lipschitz_rival)
    check_shapes(bounds=top, radius=radius, lipschitz=total)
    with np.errstate(over="ignore"):
        drop = radius * total
    return np.maximum(top - rival - drop - _ROUNDING * (1.0 + drop), -1.0)


def lipschitz_top(top_lower: ArrayLike, radius: ArrayLike, lipschitz: ArrayLike) -> Array:
    """Lower curve of the envelope, L(r) = p_A - r L_y <= h_y on the l_p ball of radius r; rounded down, in [0, 1).

    Args:
        top_lower: lower bound on h_y(x), in [0, 1).
        radius: >= 0, pixel units.
        lipschitz: Lipschitz constant of h_y in that norm, > 0, per pixel unit.
    Returns: the broadcast shape.
    """
    top, drop = check_top_lower(top_lower), _change(radius, lipschitz)
    check_shapes(top_lower=top, radius=drop)
    return np.maximum(top - drop - _ROUNDING * (1.0 + drop), 0.0)


def lipschitz_rival(rival_upper: ArrayLike, radius: ArrayLike, lipschitz: ArrayLike) -> Array:
    """Upper curve of the envelope, U(r) = p_B + r L_i >= h_i on the ball; as `lipschitz_top`, rounded up, in (0, 1]."""
    rival, rise = check_rival_upper(rival_upper), _change(radius, lipschitz)
    check_shapes(rival_upper=rival, radius=rise)
    return np.minimum(rival + rise + _ROUNDING * (1.0 + rise), 1.0)


def lipschitz_top_radius(top_lower: ArrayLike, threshold: ArrayLike, lipschitz: ArrayLike) -> Array:
    """Inverse of `lipschitz_top`: sup{r : L(r) > c} = (p_A - c) / L_y, 0 where p_A <= c; rounded down.

    Args: as `lipschitz_top`, with the threshold c, in [0, 1), in place of the radius.
    """
    top, c, slope = check_top_lower(top_lower), check_threshold(threshold), check_lipschitz("lipschitz_top", lipschitz)
    check_shapes(top_lower=top, threshold=c, lipschitz_top=slope)
    return round_down(np.maximum(top - c, 0.0) / slope)


def lipschitz_rival_radius(rival_upper: ArrayLike, threshold: ArrayLike, lipschitz: ArrayLike) -> Array:
    """Inverse of `lipschitz_rival`: sup{r : U(r) <= c} = (c - p_B) / L_i, 0 where p_B >= c; as `lipschitz_top_radius`."""
    rival, c = check_rival_upper(rival_upper), check_threshold(threshold)
    slope = check_lipschitz("lipschitz_rival", lipschitz)
    check_shapes(rival_upper=rival, threshold=c, lipschitz_rival=slope)
    return round_down(np.maximum(c - rival, 0.0) / slope)


def smoothing_lipschitz_constant(sigma: ArrayLike, *, paper: bool = False) -> Array:
    """l2 Lipschitz constant of a [0, 1]-valued function smoothed by N(0, sigma^2): 1 / (sigma sqrt(2 pi)).

    It is attained by a half-space through x. Source: the maximum of |E f(Z) Z| / sigma over f in [0, 1].
    Differs: the paper uses sqrt(2 / (pi sigma^2)), twice as much.

    Args:
        sigma: standard deviation, > 0, in [0, 1] pixel units.
        paper: return the paper's constant, to reproduce its numbers.
    Returns: the constant, per pixel unit, the shape of sigma; rounded up.
    Example:
        >>> round(float(smoothing_lipschitz_constant(0.5)), 6)
        0.797885
    """
    constant = math.sqrt(2.0 / math.pi) if paper else 1.0 / math.sqrt(2.0 * math.pi)
    return np.nextafter(constant / check_sigma(sigma) * (1.0 + 1e-15), np.inf)


def splitting_lipschitz_constant(split: ArrayLike) -> Array:
    """l1 Lipschitz constant of a [0, 1]-valued function under splitting noise, on the grid of its inputs: 1 / (2 Lambda).

    Source: Levine and Feizi 2021, arXiv:2103.10834; proved in `certmix.noise.splitting`.

    Args:
        split: Lambda, half the distance of two splits, > 0, in [0, 1] pixel units.
    Returns: the constant, per pixel unit, the shape of split; rounded up.
    Example:
        >>> round(float(splitting_lipschitz_constant(1.5)), 6)
        0.333333
    """
    return np.nextafter(0.5 / check_sigma(split), np.inf)


def _change(radius: ArrayLike, lipschitz: ArrayLike) -> Array:
    distance, slope = check_radius(radius), check_lipschitz("lipschitz", lipschitz)
    check_shapes(radius=distance, lipschitz=slope)
    with np.errstate(over="ignore"):
        return np.asarray(distance * slope)


def _total(lipschitz_top: ArrayLike, lipschitz_rival: ArrayLike) -> Array:
    first = check_lipschitz("lipschitz_top", lipschitz_top)
    second = check_lipschitz("lipschitz_rival", lipschitz_rival)
    check_shapes(lipschitz_top=first, lipschitz_rival=second)
    return np.asarray(first + second)
