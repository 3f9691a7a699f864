"""The exact margin certificate: the largest radius that follows from (p_A, p_B) with no information on g, in l2."""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from certmix.certifiers.arguments import (
    Array,
    check_bounds,
    check_mixing_weight,
    check_radius,
    check_rival_upper,
    check_shapes,
    check_sigma,
    check_threshold,
    check_top_lower,
    round_down,
)
from certmix.certifiers.margin import excess_margin, margin_slack

_SLACK = 1e-12  # relative; the condition's two sides are computed to better than 2e-13
_NEWTON_STEPS = 6
_CONVERGED = 1e-6  # of the last step; the error after it is of the order of its square
_HALVINGS = 64
_BLOCK = 1 << 14  # entries solved at a time: they stay in the cache
_LINEAR = np.sqrt(np.pi / 2.0) * (1.0 - 1e-14)  # 1 / (2 phi(0)), rounded down
_FAR = 40.0  # Phi(-_FAR) is 0 in floats


def exact_radius(top_lower: ArrayLike, rival_upper: ArrayLike, mixing_weight: ArrayLike, sigma: ArrayLike) -> Array:
    """Certified l2 radius r = s t, t the root of Phi(z(p_A) - t) - Phi(z(p_B) + t) = (1 - a) / a.

    For p_B = 1 - p_A it is s (z(p_A) - z(1 / (2a))); a = 1 is Cohen et al. 2019, arXiv:1902.02918, Theorem 1.
    Source: a corollary of the Neyman-Pearson lemma (Kumar et al. 2020, arXiv:2009.08061) and of Lemma 3.2 of
    arXiv:2301.12554.
    Guarantee: given p_A <= h_y(x) and h_i(x) <= p_B for i != y, with h smoothed by N(0, s^2), the mixture predicts y on
    the open l2 ball of radius r whatever g is; no larger radius holds for all such h and g. Rounded down, by less than
    1e-10 s. It is 0 where p_A - p_B <= (1 - a) / a, and positive where it exceeds it by 1e-15.

    Args:
        top_lower: lower bound on h_y(x), in [0, 1).
        rival_upper: upper bound on every h_i(x), in (0, 1]; replaced by min(rival_upper, 1 - top_lower).
        mixing_weight: a, in [0, 1]; up to 1/2 nothing is certified.
        sigma: standard deviation of the noise, > 0, in [0, 1] pixel units.
    Returns: radius in pixel units, the broadcast shape; 0 where nothing is certified.
    Raises: InvalidArgument: a value out of range, or shapes that do not broadcast.
    Example:
        >>> round(float(exact_radius(0.99, 0.01, 0.8, 1.0)), 3)
        2.008
    """
    top, rival = check_bounds(top_lower, rival_upper)
    weight, scale = check_mixing_weight(mixing_weight), check_sigma(sigma)
    check_shapes(bounds=top, mixing_weight=weight, sigma=scale)
    excess = excess_margin(top, rival, weight)
    # m falls by at most 2 phi(0) per unit of t, which gives a positive radius however small the excess is.
    distance = np.asarray(excess * _LINEAR)
    positive = excess > 0
    if positive.any():
        distance[positive] = np.maximum(distance[positive], _root(top, rival, weight, positive))
    return round_down(distance * scale)


def exact_margin(top_lower: ArrayLike, rival_upper: ArrayLike, radius: ArrayLike, sigma: ArrayLike) -> Array:
    """Margin curve m(r) = Phi(z(p_A) - r/s) - Phi(z(p_B) + r/s), of which `exact_radius` is the inverse.

    Args: as `exact_radius`, with radius >= 0 in pixel units in place of the weight.
    Returns: lower bound on min over i of h_y - h_i on the ball of that radius, the broadcast shape, in [-1, 1).
    """
    top, rival = check_bounds(top_lower, rival_upper)
    distance, scale = check_radius(radius), check_sigma(sigma)
    check_shapes(bounds=top, radius=distance, sigma=scale)
    with np.errstate(over="ignore"):
        distance = distance / scale
    z_top, z_rival = np.clip(quantile(top), -40.0, 40.0), np.clip(quantile(rival), -40.0, 40.0)
    margin: Array = special.ndtr(z_top - distance) - special.ndtr(z_rival + distance)
    return np.maximum(margin - 5e-16 * (4.0 + np.abs(z_top) + np.abs(z_rival)), -1.0)


def exact_top(top_lower: ArrayLike, radius: ArrayLike, sigma: ArrayLike) -> Array:
    """Lower curve of the envelope, L(r) = Phi(z(p_A) - r/s) <= h_y on the ball of radius r. Source: Neyman-Pearson.

    Guarantee: given p_A <= h_y(x), h smoothed by N(0, s^2); a half-space attains it. Rounded down, in [0, 1).

    Args: as `exact_radius`, with radius >= 0 in pixel units.
    Returns: the broadcast shape.
    """
    top, distance = check_top_lower(top_lower), _distance(radius, sigma)
    check_shapes(top_lower=top, radius=distance)
    value, error = _normal_at(np.clip(quantile(top), -_FAR, _FAR), -distance)
    return np.asarray(np.maximum(value - error, 0.0))


def exact_rival(rival_upper: ArrayLike, radius: ArrayLike, sigma: ArrayLike) -> Array:
    """Upper curve of the envelope, U(r) = Phi(z(p_B) + r/s) >= h_i on the ball, for every class with h_i(x) <= p_B.

    Source, guarantee and arguments: as `exact_top`; rounded up, in (0, 1]. p_B is taken as it is: min(p_B, 1 - p_A) is
    the caller's.
    """
    rival, distance = check_rival_upper(rival_upper), _distance(radius, sigma)
    check_shapes(rival_upper=rival, radius=distance)
    value, error = _normal_at(np.clip(quantile(rival), -_FAR, _FAR), distance)
    return np.asarray(np.minimum(value + error, 1.0))


def exact_top_radius(top_lower: ArrayLike, threshold: ArrayLike, sigma: ArrayLike) -> Array:
    """Safe inverse of `exact_top`: sup{r : L(r) > c} = s (z(p_A) - z(c)).

    At c = 0, where it is infinite, z(c) is taken as -40: still beyond every radius of h itself.
    Guarantee: rounded down, by less than 1e-11 (s + r); positive where p_A > c, but for underflow.

    Args:
        top_lower, sigma: as `exact_radius`.
        threshold: c, in [0, 1).
    Returns: pixel units, the broadcast shape; 0 where p_A <= c.
    """
    top, c, scale = check_top_lower(top_lower), check_threshold(threshold), check_sigma(sigma)
    check_shapes(top_lower=top, threshold=c, sigma=scale)
    return round_down(_quantile_distance(top, c) * scale)


def exact_rival_radius(rival_upper: ArrayLike, threshold: ArrayLike, sigma: ArrayLike) -> Array:
    """Safe inverse of `exact_rival`: sup{r : U(r) <= c} = s (z(c) - z(p_B)), 0 where p_B >= c.

    Guarantee and arguments: as `exact_top_radius`.
    """
    rival, c, scale = check_rival_upper(rival_upper), check_threshold(threshold), check_sigma(sigma)
    check_shapes(rival_upper=rival, threshold=c, sigma=scale)
    return round_down(_quantile_distance(c, rival) * scale)


def _distance(radius: ArrayLike, sigma: ArrayLike) -> Array:
    distance, scale = check_radius(radius), check_sigma(sigma)
    check_shapes(radius=distance, sigma=scale)
    with np.errstate(over="ignore"):
        return np.asarray(distance / scale)


def _normal_at(z: Array, shift: Array) -> tuple[Array, Array]:
    """Phi(z + shift) and more than its error: relative in the lower tail, where Phi rises by phi(x) <= (1 - x) Phi(x)."""
    x = np.clip(z + shift, -_FAR, _FAR)
    value, size = special.ndtr(x), 4.0 + np.abs(z)
    error = np.minimum(5e-16 * size, 2e-15 * (size + np.abs(x)) * (1.0 + np.abs(x)) * value + 1e-300)
    return np.asarray(value), np.asarray(error)


def _quantile_distance(high: Array, low: Array) -> Array:
    """z(high) - z(low) rounded down, 0 where high <= low; z rises by at least sqrt(2 pi) times its argument."""
    z_high, z_low = (np.clip(quantile(p), -_FAR, _FAR) for p in (high, low))
    distance = z_high - z_low - 4e-15 * (4.0 + np.abs(z_high) + np.abs(z_low))
    return np.where(high > low, np.maximum(distance, (high - low) * 2.0 * _LINEAR), 0.0)


def quantile(probability: Array) -> Array:
    """z(p), from the upper tail where p > 1/2 (1 - p is exact there)."""
    upper = probability > 0.5
    tail = special.ndtri(np.where(upper, 1.0 - probability, probability))
    return np.asarray(np.where(upper, -tail, tail))


def _root(top: Array, rival: Array, weight: Array, where: NDArray[np.bool_]) -> Array:
    """A lower bound on t at the entries `where` (all with a positive excess), in order."""

    def spread(values: Array) -> Array:
        return np.broadcast_to(values, where.shape)[where]

    nu = np.clip(margin_slack(weight), 1e-16, 1.0)
    mu = (1.0 - weight) / np.maximum(weight, 0.25)
    # Quantiles before broadcasting: inputs + weights of them, not inputs x weights.
    z_top, z_rival, z_half = spread(quantile(top)), spread(quantile(rival)), spread(special.ndtri(0.5 * nu))
    z_nu = spread(np.where(mu < 0.5, -special.ndtri(np.minimum(mu, 0.5)), special.ndtri(nu)))
    mu, nu, whole = spread(mu), spread(nu), spread(weight) == 1.0
    middle = 0.5 * (z_top - z_rival)
    t = np.where(whole, middle, z_top + z_half) - 4e-15 * (4.0 + np.abs(z_top) + np.abs(z_rival))
    # These have a closed form; elsewhere z_top + z_half, the root with p_B raised to 1 - p_A, is a lower bound.
    search = ~whole & (spread(rival) < 1.0 - spread(top))
    high = np.minimum(np.minimum(z_top, -z_rival) + z_nu, middle)
    entries = np.flatnonzero(search)
    for start in range(0, len(entries), _BLOCK):
        block = entries[start : start + _BLOCK]
        condition = _Condition(z_top[block], z_rival[block], mu[block], nu[block])
        t[block] = np.maximum(t[block], condition.root(t[block], high[block]))
    return np.asarray(np.maximum(t, 0.0))


class _Condition:
    """m(t) >= mu as a comparison of two positive numbers, lhs(t) <= rhs(t), free of cancellation at the root.

    mu >= 0.1: Phi(t - z_A) + Phi(t + z_B) <= nu = 1 - mu, which keeps the digits of p_A near 1 and of a near 1/2.
    mu < 0.1: mu + Phi(t + z_B) <= Phi(z_A - t), which keeps the digits of p_A near 0 and of a near 1.
    """

    def __init__(self, z_top: Array, z_rival: Array, mu: Array, nu: Array) -> None:
        self.z_top, self.z_rival, self.mu, self.nu = z_top, z_rival, mu, nu
        self.direct = mu < 0.1
        self.sign = np.where(self.direct, -1.0, 1.0)

    def root(self, low: Array, high: Array) -> Array:
        """The largest accepted t found, within 1e-10 of the root; 0 where none is."""
        t, step = self._newton(low, high)
        t = np.maximum(t * (1.0 - 2e-12) - 2e-12, 0.0)
        failed = ~(self._accepts(t) & (np.abs(step) < _CONVERGED))
        if failed.any():
            part = _Condition(self.z_top[failed], self.z_rival[failed], self.mu[failed], self.nu[failed])
            t[failed] = part._bisect(high[failed])
        return t

    def _sides(self, t: Array) -> tuple[Array, Array]:
        first, second = special.ndtr(self.sign * (t - self.z_top)), special.ndtr(t + self.z_rival)
        return second + np.where(self.direct, self.mu, first), np.where(self.direct, first, self.nu)

    def _newton(self, low: Array, high: Array) -> tuple[Array, Array]:
        """Newton on ln(lhs / rhs), kept in its bracket; at `high` that logarithm is of the order of ln 2."""
        t = step = high
        for _ in range(_NEWTON_STEPS):
            lhs, rhs = self._sides(t)
            value = np.log(lhs / rhs)
            low, high = np.where(value <= 0, t, low), np.where(value <= 0, high, t)
            left, right = t - self.z_top, t + self.z_rival
            slope = np.exp(-0.5 * left * left) / np.where(self.direct, rhs, lhs) + np.exp(-0.5 * right * right) / lhs
            new = np.clip(t - value / (slope * 0.3989422804014327), low, high)
            t, step = new, new - t
        return t, step

    def _accepts(self, t: Array) -> NDArray[np.bool_]:
        lhs, rhs = self._sides(t)
        return np.asarray(lhs <= rhs * (1.0 - _SLACK))

    def _bisect(self, high: Array) -> Array:
        low = np.zeros_like(high)
        for _ in range(_HALVINGS):
            middle = 0.5 * (low + high)
            holds = self._accepts(middle)
            low, high = np.where(holds, middle, low), np.where(holds, high, middle)
        return np.asarray(np.where(self._accepts(low), low, 0.0))
