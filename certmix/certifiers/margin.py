"""Definition 3.1 and Lemma 3.2: a robust model's margin is what a mixture's certificate is made of."""

import numpy as np
from numpy.typing import ArrayLike

from certmix.certifiers.arguments import Array, check_mixing_weight

_ROUNDING = 6e-16  # above the rounding of three operations, relative to the largest number in them


def required_margin(mixing_weight: ArrayLike) -> Array:
    """Margin that h needs so that the mixture keeps its class whatever g says: mu = (1 - a) / a.

    Source: Bai et al., Adaptive Smoothing, arXiv:2301.12554, Lemma 3.2 (Definition 3.1 with margin mu).
    Guarantee: if h_y(x + d) - h_i(x + d) > mu for every i != y, then argmax of (1 - a) g + a h at x + d is y for every
    g with values in [0, 1]. A margin cannot exceed 1, so weights up to 1/2 can certify nothing.

    Args:
        mixing_weight: a, weight of the robust model, in [0, 1], any shape.
    Returns: mu, the same shape; infinite at a = 0 (and below 1e-308).
    Raises: InvalidArgument: a weight outside [0, 1].
    Example:
        >>> round(float(required_margin(0.79)), 6)
        0.265823
    """
    weight = check_mixing_weight(mixing_weight)
    with np.errstate(divide="ignore", over="ignore"):
        return np.asarray((1.0 - weight) / weight)


def margin_slack(weight: Array) -> Array:
    """nu = 1 - mu = (2a - 1) / a, to full relative precision (2a - 1 is exact); <= 0 where nothing can be certified."""
    return np.asarray((2.0 * weight - 1.0) / np.maximum(weight, 0.25))


def excess_margin(top: Array, rival: Array, weight: Array) -> Array:
    """p_A - p_B - mu rounded down, at least 0: positive only where the exact value of these floats is.

    From the tails, nu - (1 - p_A) - p_B, where 1 - p_A is exact; directly below p_A = 1/2, where p_A may be tiny.
    """
    nu, mu = margin_slack(weight), (1.0 - weight) / np.maximum(weight, 0.25)
    tails = nu - (1.0 - top) - rival - _ROUNDING * nu
    direct = top - rival - mu - _ROUNDING * top
    return np.maximum(np.where(top < 0.5, direct, tails), 0.0)
