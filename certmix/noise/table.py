"""The law of integer noise: a threshold table for the exactly rounded Gaussian, and the range the result is clipped to.

The function that is certified: with y = x + noise, noise ~ N(0, sigma^2) in every element, the network sees

    c(y) = clip(round(G y), -K G, (K + 1) G) / G,      K = max(1, int(6 sigma)),

that is [-K, K + 1] in pixel units, K pixel units on both sides of the box. F(c(.)) is a function of y alone, so the
certificates of Gaussian smoothing hold for it.  What is drawn instead of c(y) is clip(X + Z, -K G, (K + 1) G) / G, X = G x.
Proof that the two have one law, but for the table's rounding, at every X in {0, ..., G}:

1. X is an integer, so round(G y) = X + W with W = round(G noise), whatever x is.
2. Z is W clipped to [-R, R], R = (K + 1) G, drawn from a table of 2 R thresholds. The clip hides that: where W > R, both
   X + W and X + R are >= R = (K + 1) G and are clipped to it; where W < -R, both X + W and X - R are <= G - R = -K G.
3. The true Z and the drawn one are computed from one uniform u by thresholds that differ by less than 2^-64 (floor, and
   2^64 - 1 where it would be 2^64), so they differ with probability < 2 R 2^-64 in an element: at most
   size * 2 R * 2^-63 in an input, which is `total_variation`, with a factor of two to spare.

Step 2 needs X in {0, ..., G}: inputs outside [0, 1] are refused. Without the clip, the mass beyond +-R would have to be
added: 2.8e-4 at sigma 0.333 and 3 x 224 x 224 elements, where R is 6.0 sigma.
Source: Voracek and Hein 2023, arXiv:2207.07209, for rounding; the table, its clip and its look-up are ours.
"""

import functools
import hashlib

import mpmath
import numpy as np
from numpy.typing import NDArray

from certmix.errors import InvalidArgument

_MOST_STEPS = 32_000  # of input + noise, which is an int16


def clip_range(sigma: float, levels: int) -> tuple[int, int]:
    """Lowest and highest value that the network sees, in grid steps: (-K G, (K + 1) G), K = max(1, int(6 sigma)).

    Args:
        sigma: standard deviation, in [0, 1] pixel units; at least half a grid step.
        levels: G, grid steps per pixel unit.
    Raises: InvalidArgument: a grid or a sigma that the table cannot hold.
    Example:
        >>> clip_range(0.25, 255)
        (-255, 510)
    """
    if not 1 <= levels <= _MOST_STEPS // 3:
        raise InvalidArgument(
            f"grid levels must be in 1..{_MOST_STEPS // 3} in integer noise mode, got {levels}; use float."
        )
    below = (_MOST_STEPS // levels - 1) / 6  # input + noise stays within G (K + 2) steps
    if not 0.5 / levels <= sigma < below:  # below half a step, two draws of three would be no noise at all
        raise InvalidArgument(
            f"sigma must be >= {0.5 / levels:.3g} (half a step of the grid 1/{levels}; rounding takes smaller noise away) "
            f"and < {below:.3g} (16-bit sums) in integer noise mode, got {sigma}; use float."
        )
    units = max(1, int(6 * sigma))
    return -units * levels, (units + 1) * levels


@functools.lru_cache(maxsize=16)
def thresholds(sigma: float, levels: int) -> NDArray[np.uint64]:
    """T[j] = floor(2^64 Phi((2j + 1) / (2 G sigma))), j = -R .. R - 1, where R is the upper end of `clip_range`.

    Z = #{j : T[j] <= u} - R for u uniform on 64 bits is the rounded Gaussian, clipped to [-R, R]. Computed at 50 decimal
    digits.

    Args: sigma, levels: as `clip_range`.
    Returns: uint64, ascending, shape (2 R,).
    """
    reach = clip_range(sigma, levels)[1]
    context = mpmath.MPContext()  # of our own: mpmath's global precision is shared by all threads
    context.dps = 50
    scale = 2 * levels * context.mpf(sigma)
    values = [int(context.floor(context.ncdf((2 * j + 1) / scale) * 2**64)) for j in range(-reach, reach)]
    return np.array([min(value, 2**64 - 1) for value in values], dtype=np.uint64)


def total_variation(sigma: float, levels: int, size: int) -> float:
    """Bound on the total variation between what the network sees of one input and c(x + noise); see the module."""
    return float(len(thresholds(sigma, levels))) * 2.0**-63 * size


def probabilities(sigma: float, levels: int) -> NDArray[np.float64]:
    """P[Z = z] for z = -R .. R, shape (number of thresholds + 1,)."""
    edges = np.concatenate([[0.0], thresholds(sigma, levels).astype(np.float64) * 2.0**-64, [1.0]])
    return np.diff(edges)


def table_hash(sigma: float, levels: int) -> str:
    """Hex sha256 of the clip range and the threshold table: tells noise of another law, or without the clip, apart."""
    digest = hashlib.sha256(np.array(clip_range(sigma, levels), dtype="<i8").tobytes())
    digest.update(thresholds(sigma, levels).astype("<u8").tobytes())
    return digest.hexdigest()
