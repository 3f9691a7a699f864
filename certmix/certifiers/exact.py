"""The exact margin certificate: the largest radius that follows from (p_A, p_B) with no information on g, in l2."""

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

from certmix.certifiers.arguments import Array, check_bounds, check_mixing_weight, check_radius, check_sigma, round_down
from certmix.certifiers.margin import margin_slack

_SLACK = 1e-12  # relative, above the rounding error of either form of the condition
_NEWTON_STEPS = 6
_HALVINGS = 60


def exact_radius(top_lower: ArrayLike, rival_upper: ArrayLike, mixing_weight: ArrayLike, sigma: ArrayLike) -> Array:
    """Certified l2 radius r = s t, t the root of Phi(z(p_A) - t) - Phi(z(p_B) + t) = (1 - a) / a.

    For p_B = 1 - p_A it is s (z(p_A) - z(1 / (2a))); a = 1 is Cohen et al. 2019, arXiv:1902.02918, Theorem 1.
    Source: a corollary of the Neyman-Pearson lemma (Kumar et al. 2020, arXiv:2009.08061) and of Lemma 3.2 of
    arXiv:2301.12554.
    Guarantee: given p_A <= h_y(x) and h_i(x) <= p_B for i != y, with h smoothed by N(0, s^2), the mixture predicts y on
    the open l2 ball of radius r whatever g is; no larger radius holds for all such h and g. Rounded down.
    It is positive where p_A - p_B > (1 - a) / a by more than 1e-15, and 0 elsewhere.

    Args:
        top_lower: lower bound on h_y(x), in [0, 1).
        rival_upper: upper bound on every h_i(x), in (0, 1]; replaced by min(rival_upper, 1 - top_lower).
        mixing_weight: a, in [0, 1]; below 1/2 nothing is certified.
        sigma: standard deviation of the noise, > 0, in [0, 1] pixel units.
    Returns: radius in pixel units, the broadcast shape; 0 where nothing is certified.
    Raises: InvalidArgument: a value out of range.
    Example:
        >>> round(float(exact_radius(0.99, 0.01, 0.8, 1.0)), 3)
        2.008
    """
    top, rival = check_bounds(top_lower, rival_upper)
    weight, scale = check_mixing_weight(mixing_weight), check_sigma(sigma)
    top, rival, weight = np.broadcast_arrays(top, rival, weight)
    distance = np.zeros(top.shape)
    slack = margin_slack(weight)
    # m falls by at most 2 phi(0) per unit of t, which gives a positive lower bound however small the margin is.
    linear = np.maximum(slack - (1.0 - top) - rival - 1e-15, 0.0) * (np.sqrt(np.pi / 2.0) * (1.0 - 1e-14))
    positive = linear > 0
    if positive.any():
        problem = _Condition(top[positive], rival[positive], weight[positive], slack[positive])
        distance[positive] = np.maximum(problem.root(), linear[positive])
    return round_down(distance * scale)


def exact_margin(top_lower: ArrayLike, rival_upper: ArrayLike, radius: ArrayLike, sigma: ArrayLike) -> Array:
    """Margin curve m(r) = Phi(z(p_A) - r/s) - Phi(z(p_B) + r/s), of which `exact_radius` is the inverse.

    Args: as `exact_radius`, with radius >= 0 in pixel units in place of the weight.
    Returns: lower bound on min over i of h_y - h_i on the ball of that radius, the broadcast shape, in (-1, 1).
    """
    top, rival = check_bounds(top_lower, rival_upper)
    distance = check_radius(radius) / check_sigma(sigma)
    with np.errstate(divide="ignore"):
        margin = special.ndtr(quantile(top) - distance) - special.ndtr(quantile(rival) + distance)
    return np.asarray(margin - 4e-16)


def quantile(probability: Array) -> Array:
    """z(p), from the upper tail where p > 1/2 (1 - p is exact there)."""
    upper = probability > 0.5
    tail = special.ndtri(np.where(upper, 1.0 - probability, probability))
    return np.where(upper, -tail, tail)


class _Condition:
    """m(t) >= mu as D(t) = Phi(t - z_A) + Phi(t + z_B) <= nu = 1 - mu: increasing, and free of cancellation.

    Where p_A < 1/2 the direct form Phi(z_A - t) - Phi(z_B + t) - mu keeps more digits; a point is accepted if either
    form holds by more than its rounding error.
    """

    def __init__(self, top: Array, rival: Array, weight: Array, nu: Array) -> None:
        self.z_top, self.z_rival = quantile(top), quantile(rival)
        self.nu, self.mu = nu, (1.0 - weight) / weight
        # With p_B raised to 1 - p_A the root has a closed form: a lower bound. Either term alone gives an upper one.
        self.low = np.maximum(self.z_top + special.ndtri(0.5 * nu), 0.0)
        self.high = np.maximum(np.minimum(self.z_top, -self.z_rival) + quantile(nu), self.low)
        alone = nu >= 1.0  # a = 1: the root is where both half-spaces meet
        middle = 0.5 * (self.z_top - self.z_rival)
        self.low, self.high = np.where(alone, middle, self.low), np.where(alone, middle, self.high)

    def root(self) -> Array:
        """The largest accepted t found, >= 0; 0 where none is."""
        t = self._newton()
        t = np.maximum(t * (1.0 - 2e-12) - 1e-15, 0.0)
        done = self._accepts(t)
        if not done.all():
            t[~done] = self._part(~done)._bisect()
        return t

    def _newton(self) -> Array:
        low, high = self.low.copy(), self.high.copy()
        t, log_nu = low.copy(), np.log(self.nu)
        for _ in range(_NEWTON_STEPS):
            left, right = t - self.z_top, t + self.z_rival
            value = special.ndtr(left) + special.ndtr(right)
            slope = np.exp(-0.5 * left * left) + np.exp(-0.5 * right * right)
            below = value <= self.nu
            low, high = np.where(below, t, low), np.where(below, high, t)
            with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
                step = t - (np.log(value) - log_nu) * value / (slope * 0.3989422804014327)
            t = np.where((step >= low) & (step <= high), step, 0.5 * (low + high))
        return t

    def _accepts(self, t: Array) -> Array:
        first, second = special.ndtr(t - self.z_top), special.ndtr(t + self.z_rival)
        complement = first + second <= self.nu * (1.0 - _SLACK)
        kept = special.ndtr(self.z_top - t)
        direct = kept - second - self.mu >= _SLACK * (kept + second + self.mu)
        return np.asarray(complement | direct)

    def _part(self, where: NDArray[np.bool_]) -> "_Condition":
        part = object.__new__(_Condition)
        part.__dict__.update({name: values[where] for name, values in self.__dict__.items()})
        return part

    def _bisect(self) -> Array:
        low, high = np.zeros_like(self.high), self.high.copy()
        for _ in range(_HALVINGS):
            middle = 0.5 * (low + high)
            holds = self._accepts(middle)
            low, high = np.where(holds, middle, low), np.where(holds, high, middle)
        return np.where(self._accepts(low), low, 0.0)
