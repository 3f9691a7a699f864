"""The Lipschitz-aware certificate: a base network that is Lipschitz, and smoothed by Gaussian noise as well, in l2.

Theorem. Let f be L-Lipschitz in l2 with values in [0, 1], F(x) = E f(x + s Z), and R(u) = E clip(L (u + s Z) + 1/2, 0, 1).
Then R(R^-1(F(x)) - r) <= F(x + d) <= R(R^-1(F(x)) + r) for all ||d|| <= r.

Proof. Let v(z) be the mean of f(x + s Z) given that Z has z along d: it is sL-Lipschitz with values in [0, 1], whatever the
dimension, and E v(Z) = F(x). The ramp w(z) = clip(L (u - s z) + 1/2, 0, 1) with R(u) = F(x) has the same mean. v - w is at
most 0 where w = 1, at least 0 where w = 0, and does not fall between, where w falls at slope -sL: it changes its sign once,
at some z0, from - to +. Moving by r multiplies the density by the increasing q(z) = exp(tz - t^2/2), t = r/s, so that
E (v - w)(Z + t) = E (v - w)(Z) (q(Z) - q(z0)) >= 0, and E w(Z + t) = R(u - r). For the upper side take 1 - f.

It is tight: f = w attains it. Both sides are attained together, as a falling and a rising ramp along one direction add up to
at most 1 where p_A + p_B <= 1. L is a constant of each class probability of the base network, everywhere (the noise gets
everywhere): not of its logits (see `softmax_lipschitz_constant`), and not of the smoothed h.

R is the distribution function of s Z + U, U uniform on [-1/(2L), 1/(2L)]. L -> infinity gives Phi(u / s), the exact
certificate; s -> 0 gives L u + 1/2, Theorem 3.5; R' is at most L erf(1 / (2 sqrt(2) L s)), the Lipschitz constant of F,
which is below both L and 1 / (s sqrt(2 pi)), so that nothing here is below either certificate.
"""

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

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
from certmix.certifiers.envelope import Envelope
from certmix.certifiers.exact import (
    exact_margin,
    exact_radius,
    exact_rival,
    exact_rival_radius,
    exact_top,
    exact_top_radius,
)
from certmix.certifiers.lipschitz import (
    lipschitz_margin,
    lipschitz_radius,
    lipschitz_rival,
    lipschitz_rival_radius,
    lipschitz_top,
    lipschitz_top_radius,
)
from certmix.certifiers.margin import margin_slack

_SLACK = 1e-11  # relative; R's smaller tail is computed to better than 2e-12
_EPS = 2.0**-52
_NEWTON_STEPS = 40
_CONVERGED = 1e-6  # of log R, where the slope is the root's within a share of that order
_STEPS = 16  # of false position
_FAR = 50.0  # Phi(-_FAR) is 0 in floats
_MOST = 1e290  # distances in units of sigma: R is 0 or 1 long before
_TINY = 1e-300  # smaller probabilities are moved to the safe side
_WIDEST = 5e7  # half-widths in units of sigma: beyond, Theorem 3.5 is as good
_NODES, _WEIGHTS = np.polynomial.legendre.leggauss(12)


def lipschitz_smoothed_radius(
    top_lower: ArrayLike, rival_upper: ArrayLike, mixing_weight: ArrayLike, sigma: ArrayLike, lipschitz: ArrayLike
) -> Array:
    """Certified l2 radius, the root r of R(R^-1(p_A) - r) - R(R^-1(p_B) + r) = (1 - a) / a; R as above.

    Source: the theorem above with Lemma 3.2 of arXiv:2301.12554; not in that paper.
    Guarantee: given p_A <= h_y(x) and h_i(x) <= p_B for i != y, with h smoothed by N(0, s^2) from a network whose class
    probabilities are L-Lipschitz in l2, the mixture predicts y on the open ball of radius r whatever g is; no larger radius
    holds for all such h and g. Rounded down, by less than 1e-9 (r + s) + 1e-10 / L; never below `exact_radius`, nor
    `lipschitz_radius` with L.

    Args:
        top_lower, rival_upper: bounds on *mean probabilities* (soft votes), as `exact_radius`.
        mixing_weight: a, in [0, 1].
        sigma: standard deviation of the noise, > 0, in [0, 1] pixel units.
        lipschitz: L, > 0, per pixel unit.
    Returns: radius in pixel units, the broadcast shape; 0 where nothing is certified.
    Raises: InvalidArgument: a value out of range, or shapes that do not broadcast.
    Example:
        >>> [round(float(lipschitz_smoothed_radius(0.9, 0.05, 0.8, 1.0, L)), 3) for L in (0.25, 0.5, 1e6)]
        [1.712, 1.315, 1.139]
    """
    top, rival = check_bounds(top_lower, rival_upper)
    weight, noise = check_mixing_weight(mixing_weight), _Noise(sigma, lipschitz)
    check_shapes(bounds=top, mixing_weight=weight, sigma=noise.sigma, lipschitz=noise.lipschitz)
    linear = lipschitz_radius(top, rival, weight, lipschitz, lipschitz)
    known = np.array(np.maximum(exact_radius(top, rival, weight, sigma), linear))
    ends = noise.inverse(top)[0], noise.inverse(rival)[1]
    some = known > 0
    if some.any():
        mu, nu = (1.0 - weight) / np.maximum(weight, 0.25), margin_slack(weight)
        scale, *rest = (
            np.broadcast_to(values, some.shape)[some] for values in (noise.sigma, noise.half, mu, nu, *ends)
        )
        with np.errstate(over="ignore"):
            start = np.minimum(known[some] / scale, _MOST)
        known[some] = np.maximum(known[some], round_down(_root(start, *rest) * scale))
    return known


def lipschitz_smoothed_margin(
    top_lower: ArrayLike, rival_upper: ArrayLike, radius: ArrayLike, sigma: ArrayLike, lipschitz: ArrayLike
) -> Array:
    """Margin curve m(r) = L(r) - U(r) of the envelope, of which `lipschitz_smoothed_radius` is the inverse.

    Args: as there, with radius >= 0 in pixel units in place of the weight.
    Returns: lower bound on min over i of h_y - h_i on the ball of that radius, the broadcast shape, in [-1, 1).
    """
    top, rival = check_bounds(top_lower, rival_upper)
    low = lipschitz_smoothed_top(top, radius, sigma, lipschitz)
    high = lipschitz_smoothed_rival(np.maximum(rival, _TINY), radius, sigma, lipschitz)
    known = np.maximum(
        exact_margin(top, rival, radius, sigma), lipschitz_margin(top, rival, radius, lipschitz, lipschitz)
    )
    return np.asarray(np.maximum(low - high - _EPS, known))


def lipschitz_smoothed_top(top_lower: ArrayLike, radius: ArrayLike, sigma: ArrayLike, lipschitz: ArrayLike) -> Array:
    """Lower curve of the envelope, R(R^-1(p_A) - r) <= h_y on the ball of radius r; rounded down, in [0, 1).

    Args: as `lipschitz_smoothed_radius`, with radius >= 0 in pixel units.
    Returns: the broadcast shape.
    """
    top, noise = check_top_lower(top_lower), _Noise(sigma, lipschitz)
    t = noise.distance(radius)
    check_shapes(top_lower=top, radius=t)
    value, error = _ramp(noise.inverse(top)[0] - t, noise.half)
    known = np.maximum(exact_top(top, radius, sigma), lipschitz_top(top, radius, lipschitz))
    return np.asarray(np.maximum(value - error, known))


def lipschitz_smoothed_rival(
    rival_upper: ArrayLike, radius: ArrayLike, sigma: ArrayLike, lipschitz: ArrayLike
) -> Array:
    """Upper curve of the envelope, R(R^-1(p_B) + r) >= h_i on the ball; as `lipschitz_smoothed_top`, up, in (0, 1]."""
    rival, noise = check_rival_upper(rival_upper), _Noise(sigma, lipschitz)
    t = noise.distance(radius)
    check_shapes(rival_upper=rival, radius=t)
    value, error = _ramp(noise.inverse(rival)[1] + t, noise.half)
    known = np.minimum(exact_rival(rival, radius, sigma), lipschitz_rival(rival, radius, lipschitz))
    return np.asarray(np.minimum(value + error, known))


def lipschitz_smoothed_top_radius(
    top_lower: ArrayLike, threshold: ArrayLike, sigma: ArrayLike, lipschitz: ArrayLike
) -> Array:
    """Safe inverse of `lipschitz_smoothed_top`: sup{r : L(r) > c} = R^-1(p_A) - R^-1(c), 0 where p_A <= c; rounded down.

    Args: as there, with the threshold c, in [0, 1), in place of the radius; c is taken to be at least 1e-300.
    """
    top, c, noise = check_top_lower(top_lower), check_threshold(threshold), _Noise(sigma, lipschitz)
    check_shapes(top_lower=top, threshold=c, sigma=noise.sigma, lipschitz=noise.lipschitz)
    known = np.maximum(exact_top_radius(top, c, sigma), lipschitz_top_radius(top, c, lipschitz))
    return np.asarray(np.maximum(known, noise.apart(top, c)))


def lipschitz_smoothed_rival_radius(
    rival_upper: ArrayLike, threshold: ArrayLike, sigma: ArrayLike, lipschitz: ArrayLike
) -> Array:
    """Safe inverse of `lipschitz_smoothed_rival`: sup{r : U(r) <= c}; as `lipschitz_smoothed_top_radius`."""
    rival, c, noise = check_rival_upper(rival_upper), check_threshold(threshold), _Noise(sigma, lipschitz)
    check_shapes(rival_upper=rival, threshold=c, sigma=noise.sigma, lipschitz=noise.lipschitz)
    known = np.maximum(exact_rival_radius(rival, c, sigma), lipschitz_rival_radius(rival, c, lipschitz))
    return np.asarray(np.maximum(known, noise.apart(c, rival)))


def lipschitz_smoothed_envelope(lipschitz: ArrayLike) -> Envelope:
    """The envelope of a smoothed network whose class probabilities are L-Lipschitz in l2, for every rule.

    Raises: InvalidArgument: an L that is not positive.
    """
    constant = check_lipschitz("lipschitz", lipschitz)
    return Envelope(
        top=lambda top, radius, sigma: lipschitz_smoothed_top(top, radius, sigma, constant),
        rival=lambda rival, radius, sigma: lipschitz_smoothed_rival(rival, radius, sigma, constant),
        top_radius=lambda top, c, sigma: lipschitz_smoothed_top_radius(top, c, sigma, constant),
        rival_radius=lambda rival, c, sigma: lipschitz_smoothed_rival_radius(rival, c, sigma, constant),
        crossing_radius=lambda top, rival, sigma: lipschitz_smoothed_radius(top, rival, 1.0, sigma, constant),
    )


class _Noise:
    """R in units of sigma: a standard normal plus a uniform variable on [-half, half], half = 1 / (2 L s)."""

    def __init__(self, sigma: ArrayLike, lipschitz: ArrayLike) -> None:
        self.sigma, self.lipschitz = check_sigma(sigma), check_lipschitz("lipschitz", lipschitz)
        check_shapes(sigma=self.sigma, lipschitz=self.lipschitz)
        with np.errstate(over="ignore", under="ignore"):
            # Rounded down: a smaller half is a larger L, which is no less safe.
            self.half = np.minimum(0.5 / self.lipschitz / self.sigma * (1.0 - 4 * _EPS), _WIDEST)

    def distance(self, radius: ArrayLike) -> Array:
        """A radius in units of sigma."""
        r = check_radius(radius)
        check_shapes(radius=r, sigma=self.sigma)
        with np.errstate(over="ignore"):
            return np.minimum(r / self.sigma * (1.0 + _EPS), _MOST)

    def apart(self, high: Array, low: Array) -> Array:
        """s (R^-1(high) - R^-1(low)), rounded down, pixel units."""
        return round_down((self.inverse(high)[0] - self.inverse(low)[1]) * self.sigma)

    def inverse(self, probability: Array) -> tuple[Array, Array]:
        """A lower and an upper bound on R^-1(p), the broadcast shape of p and half."""
        p, half = np.broadcast_arrays(probability, self.half)
        upper = p > 0.5
        tail = np.where(upper, 1.0 - p, p)  # exact
        low, high = _tail_inverse(np.maximum(tail, _TINY), half)
        low = np.where(tail < _TINY, -_FAR - half, low)
        return np.where(upper, -high, low), np.where(upper, -low, high)


def _tail_inverse(tail: Array, half: Array) -> tuple[Array, Array]:
    """Bounds on the u <= 0 with R(u) = tail, in (0, 1/2]: Newton on log R, which is concave and increasing.

    From the left of the root, where R(u) <= Phi(u + half) puts the start, it never overshoots.
    """
    wanted, u = np.log(tail), np.minimum(special.ndtri(tail) - half, 0.0)
    for _ in range(_NEWTON_STEPS):
        log, slope = _log_ramp(u, half)
        step = (wanted - log) / slope
        if not (np.abs(step) > 2 * _EPS * (1.0 + np.abs(u) + half)).any():
            break
        u = np.minimum(u + step, 0.0)
    log, slope = _log_ramp(u, half)
    residual = np.abs(wanted - log)
    reach = 2.0 * (residual + _SLACK) / slope + 4 * _EPS * (1.0 + np.abs(u) + half)
    return u - reach, np.where(residual < _CONVERGED, np.minimum(u + reach, 0.0), 0.0)


def _log_ramp(u: Array, half: Array) -> tuple[Array, Array]:
    """log R(u) and its derivative, for u <= 0: by 12 nodes where log Phi bends little between u -+ half, else closed."""
    log, slope = np.empty(u.shape), np.empty(u.shape)
    narrow = half * (1.0 - u) <= 1.0
    x, h = u[narrow][..., None] + half[narrow][..., None] * _NODES, half[~narrow]
    logs = special.log_ndtr(x)
    peak = logs.max(axis=-1, initial=-np.inf, keepdims=True)
    mean = np.exp(logs - peak) @ _WEIGHTS
    log[narrow] = peak[..., 0] + np.log(0.5 * mean)
    slope[narrow] = (np.exp(-0.5 * x * x - 0.5 * np.log(2.0 * np.pi) - peak) @ _WEIGHTS) / mean
    far, near = u[~narrow] - h, u[~narrow] + h
    log_g, log_phi = _log_g(near), special.log_ndtr(near)
    log[~narrow] = wide = log_g + np.log1p(-np.exp(_log_g(far) - log_g)) - np.log(2.0 * h)
    slope[~narrow] = np.exp(log_phi - wide - np.log(2.0 * h)) * -np.expm1(special.log_ndtr(far) - log_phi)
    return log, slope


def _log_g(x: Array) -> Array:
    """log of G(x) = x Phi(x) + phi(x), the integral of Phi up to x; R(u) = [G(u + half) - G(u - half)] / (2 half)."""
    below = np.minimum(x, 0.0)
    mills = np.sqrt(np.pi / 2.0) * special.erfcx(-below / np.sqrt(2.0))
    with np.errstate(divide="ignore"):  # 0 far below, where the other term is all
        tail = -0.5 * below * below - 0.5 * np.log(2.0 * np.pi) + np.log1p(np.maximum(below * mills, -1.0))
    above = np.maximum(x, 0.0)
    value = above * special.ndtr(above) + np.exp(-0.5 * above * above) / np.sqrt(2.0 * np.pi)
    return np.asarray(np.where(x < 0, tail, np.log(value)))


def _ramp(u: Array, half: Array) -> tuple[Array, Array]:
    """R(u), and more than its error: relative in the lower tail."""
    u, half = np.broadcast_arrays(u, half)
    u = np.clip(u, -_FAR - half, _FAR + half)
    tail = np.exp(_log_ramp(-np.abs(u), half)[0])
    value = np.where(u > 0, 1.0 - tail, tail)
    return value, np.asarray(_SLACK * tail + np.where(u > 0, _EPS, 1e-300))


def _root(known: Array, half: Array, mu: Array, nu: Array, first: Array, second: Array) -> Array:
    """The largest t found, from `known` on, with R(first - t) - R(second + t) >= mu, all of shape (entries,).

    A comparison without cancellation, by false position (Illinois), of which only points that pass are kept. mu >= 0.1:
    R(t - first) + R(second + t) <= nu = 1 - mu, else mu + R(second + t) <= R(first - t): see `exact_radius`.
    """
    direct = mu < 0.1

    def excess(t: Array) -> Array:
        """Negative where the condition holds for certain."""
        own, other = _ramp(np.where(direct, first - t, t - first), half)[0], _ramp(second + t, half)[0]
        left, right = other + np.where(direct, mu, own), np.where(direct, own, nu)
        return np.log(np.maximum(left, _TINY) / np.maximum(right, _TINY)) + 4 * _SLACK

    low, high = known, np.maximum(0.5 * (first - second), known)
    at_low, at_high, before = np.minimum(excess(low), -_TINY), np.maximum(excess(high), _TINY), np.zeros(mu.shape)
    best = known
    for _ in range(_STEPS):
        t = np.clip((low * at_high - high * at_low) / (at_high - at_low), low, high)
        value = excess(t)
        side = np.sign(value)
        halved = np.where(side == before, 0.5, 1.0)  # of the end that was kept twice
        low, high, before = np.where(side <= 0, t, low), np.where(side > 0, t, high), side
        at_low, at_high = np.where(side <= 0, value, at_low * halved), np.where(side > 0, value, at_high * halved)
        at_low = np.minimum(at_low, -_TINY)
    for found in (low, t * (1.0 - 1e-10)):
        best = np.where(excess(found) <= 0, np.maximum(best, found), best)
    return best
