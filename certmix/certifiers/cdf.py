"""The CDF certificate: soft votes through the whole distribution of a difference of class probabilities.

Source: Kumar et al. 2020, arXiv:2009.08061, applied to the differences class - rival.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from certmix.certifiers.arguments import check_mixing_weight, check_radius, check_sigma, check_threshold
from certmix.certifiers.margin import required_margin

_SLACK = 1e-11  # above the rounding of a sum of 64 terms, each within 1e-15
_HALVINGS = 60
_CHUNK = 1 << 22  # elements of a temporary


def cdf_margin(tail_lower: ArrayLike, thresholds: ArrayLike, radius: ArrayLike, sigma: float) -> NDArray[np.float64]:
    """Lower bound on E D at distance `radius`: s_0 + sum_j (s_j - s_(j-1)) Phi(z(L_j) - radius / sigma).

    D is a function of the base classifier's outputs with values >= s_0; a term is 0 where L_j = 0.
    Guarantee: holds where L_j <= P[D >= s_j] for all j; rounded down.

    Args:
        tail_lower: L_j, non-increasing along the last axis, shape (..., thresholds), in [0, 1).
        thresholds: s_0 < s_1 < ... , shape (thresholds + 1,).
        radius: l2 distance, >= 0, pixel units, shape (...,).
        sigma: standard deviation of the noise, > 0, in [0, 1] pixel units.
    Returns: shape (...,).
    """
    steps, s = np.asarray(thresholds, dtype=np.float64), float(check_sigma(sigma))
    shift = check_radius(radius) / s
    quantiles = special.ndtri(np.asarray(tail_lower, dtype=np.float64))  # -inf where L_j = 0
    terms = special.ndtr(quantiles - np.asarray(shift)[..., None])
    return np.asarray(steps[0] + (terms * np.diff(steps)).sum(axis=-1) - _SLACK)


def cdf_radius(
    tail_lower: ArrayLike, thresholds: ArrayLike, mixing_weight: ArrayLike, sigma: float
) -> NDArray[np.float64]:
    """Certified l2 radius of the mixture from bounds on the distributions of class - rival, for every rival.

    The root of min over rivals of `cdf_margin` = (1 - a) / a; on hard votes it is `exact_radius`. No union over rivals
    is needed: a false claim needs the bounds of the one worst rival to fail. Source: Lemma 3.2 with the margin above.
    Guarantee: never above the true root; the lower end of a bisection, shrunk by 1e-12.

    Args:
        tail_lower: L_ij <= P[D_i >= s_j], shape (inputs, rivals, thresholds), in [0, 1).
        thresholds: s_0 = -1 < s_1 < ..., shape (thresholds + 1,).
        mixing_weight: weights in [0, 1], shape (weights,).
        sigma: standard deviation of the noise, > 0, in [0, 1] pixel units.
    Returns: shape (weights, inputs), pixel units; 0 where nothing is certified.
    """
    weights = np.atleast_1d(check_mixing_weight(mixing_weight))
    lower, steps = np.asarray(tail_lower, dtype=np.float64), np.asarray(thresholds, dtype=np.float64)
    s = float(check_sigma(sigma))
    quantiles = special.ndtri(lower)
    result = np.zeros((len(weights), len(lower)))
    rows = max(1, _CHUNK // max(1, lower[0].size if len(lower) else 1))
    for position, weight in enumerate(weights):
        if weight >= 0.5:
            needed = float(required_margin(weight))
            for start in range(0, len(lower), rows):
                part = slice(start, start + rows)
                result[position, part] = s * _root(quantiles[part], steps, needed)
    return result


def cdf_top_radius(
    tail_lower: ArrayLike, thresholds: ArrayLike, confidence: ArrayLike, sigma: float
) -> NDArray[np.float64]:
    """sup{r : h_y > c on the ball of radius r}, from bounds on the distribution of the class probability p_y itself.

    With D = p_y >= s_0 = 0, `cdf_margin` is a lower curve of h_y = E p_y. The threshold rule on soft votes is certified
    up to the smaller of this and `cdf_radius` at weight 1: inside both, h_y > c and h_y > h_i for every i.
    Failure probability, for one c: no union over p_y and the differences is needed either. With the true tails each of
    these variables has a radius, the smallest of which is that of one fixed variable; a larger claim needs the bounds of
    this one to fail. Several rules may rest on several variables: certifier "cdf" promises each rule by itself.
    Guarantee: never above the true root; as `cdf_radius`.

    Args:
        tail_lower: L_j <= P[p_y >= s_j], non-increasing, shape (inputs, thresholds), in [0, 1).
        thresholds: s_0 = 0 < s_1 < ..., shape (thresholds + 1,).
        confidence: c, in [0, 1), shape (values,).
        sigma: standard deviation of the noise, > 0, in [0, 1] pixel units.
    Returns: shape (values, inputs), pixel units; 0 where nothing is certified.
    """
    values, s = np.atleast_1d(check_threshold(confidence)), float(check_sigma(sigma))
    quantiles = special.ndtri(np.asarray(tail_lower, dtype=np.float64))[:, None]
    steps = np.asarray(thresholds, dtype=np.float64)
    return np.stack([s * _root(quantiles, steps, float(c)) for c in values])


def _root(z: NDArray[np.float64], steps: NDArray[np.float64], needed: float) -> NDArray[np.float64]:
    widths = np.diff(steps)

    def margin(t: NDArray[np.float64]) -> NDArray[np.float64]:
        terms = special.ndtr(z - t[:, None, None])
        return np.asarray(steps[0] + (terms * widths).sum(axis=-1).min(axis=-1))

    low, high = np.zeros(len(z)), np.full(len(z), 40.0)
    holds = margin(low) >= needed + _SLACK
    for _ in range(_HALVINGS):
        middle = 0.5 * (low + high)
        enough = holds & (margin(middle) >= needed + _SLACK)
        low, high = np.where(enough, middle, low), np.where(enough, high, middle)
    return np.where(holds, np.nextafter(low * (1.0 - 1e-12), -1.0).clip(min=0.0), 0.0)
