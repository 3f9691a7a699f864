"""What theory certifies, at 50 digits: every formula a second time, sharing no code with the certifiers and the rules.

A radius is accepted where the rule's conditions hold strictly at the input and hold, or meet equality, at that radius:
both sides of each condition move one way, so that it then holds on the whole open ball.
"""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import mpmath
from scipy import special

from certmix.errors import InvalidArgument

_mp = mpmath.MPContext()  # of our own: mpmath's global precision is shared by all threads
_mp.dps = 50
Bounds = tuple[Any, Any]  # p_A and p_B as high-precision numbers


def number(value: float) -> Any:
    """A float as a number of 50 digits."""
    return _mp.mpf(value)


@functools.lru_cache(maxsize=1 << 16)
def bounds_of_counts(k: int, rival: int, n: int, err: float, share: float, total_variation: float = 0.0) -> Bounds:
    """(p_A, p_B) from k votes for the class and the largest rival count, n draws, err of which p_A gets a share."""
    slack = _mp.mpf(total_variation)
    lower = max(_lower_bound(k, n, _mp.mpf(err) * _mp.mpf(share)) - slack, _mp.mpf(0))
    upper = 1 - lower
    if share < 1:
        upper = min(upper, 1 - _lower_bound(n - rival, n, _mp.mpf(err) * (1 - _mp.mpf(share))) + slack)
    return lower, upper


def _lower_bound(k: int, n: int, err: Any) -> Any:
    """The p with P[Binomial(n, p) >= k] = err: Newton on the tail itself, in the log of the odds."""
    if k == 0:
        return _mp.mpf(0)
    if k == n:
        return err ** (_mp.mpf(1) / n)
    # SciPy gives the start only: the iteration ends where the tail is err to 30 digits, whatever the start.
    start = min(max(float(special.betaincinv(k, n - k + 1, float(err))), 1e-300), 1 - 1e-16)
    odds = _mp.log(_mp.mpf(start) / (1 - _mp.mpf(start)))
    for _ in range(200):
        p = 1 / (1 + _mp.exp(-odds))
        tail, first = _tail_at_least(k, n, p)
        # d tail / d odds = k (1 - p) P[= k], so that log(tail) has this slope; it is concave in the odds.
        step = _mp.log(tail / err) / (k * (1 - p) * first / tail)
        odds -= max(min(step, _mp.mpf(2)), _mp.mpf(-2))
        if abs(step) < _mp.mpf(10) ** -30:
            break
    return 1 / (1 + _mp.exp(-odds))


def _tail_at_least(k: int, n: int, p: Any) -> tuple[Any, Any]:
    """(P[Binomial(n, p) >= k], P[= k]), term by term until the rest is below 38 digits."""
    first = term = _mp.binomial(n, k) * p**k * (1 - p) ** (n - k)
    total, odds = term, p / (1 - p)
    for j in range(k, n):
        ratio = odds * (n - j) / (j + 1)  # falls with j
        term *= ratio
        total += term
        if ratio < 1 and term < total * (1 - ratio) * _mp.mpf(10) ** -38:
            break
    return total, first


def certifies(certifier: str, bounds: Bounds, weight: Any, radius: Any, *, lipschitz: Any = None) -> bool:
    """Whether theory certifies `radius` (in units of sigma) from (p_A, p_B) at this weight, from the formulas alone.

    Args:
        certifier: "exact" (margin of two half-spaces), "theorem-a1", "theorem-3.5", "theorem-3.5-paper",
            "lipschitz-smoothed", or "theorem-3.5-l1", where sigma is Lambda.
        bounds: p_A and p_B.
        weight: mixing weight.
        radius: in units of sigma, >= 0.
        lipschitz: L sigma of "lipschitz-smoothed", None for the others.
    """
    if weight < _mp.mpf(1) / 2:
        return False
    p_a, p_b = _pair(bounds)
    if weight * (p_a - p_b) <= 1 - weight:
        return False
    if certifier == "theorem-a1":
        return bool(2 * radius <= _quantile(weight * p_a) - _quantile(weight * p_b + 1 - weight))
    top, rival = _envelope(certifier, bounds, radius, lipschitz)
    return bool(weight * (top - rival) >= 1 - weight)


def certifies_threshold(certifier: str, bounds: Bounds, threshold: Any, radius: Any, *, lipschitz: Any = None) -> bool:
    """Whether "h's class if h_y > c, else g's" is certified at `radius` (in units of sigma): L >= c and L >= U there.

    Args: certifier (with an envelope), bounds, radius and lipschitz as `certifies`; threshold: c.
    """
    p_a, p_b = _pair(bounds)
    top, rival = _envelope(certifier, bounds, radius, lipschitz)
    return bool(p_a > threshold and p_a > p_b and top >= threshold and top >= rival)


def certifies_family(
    certifier: str,
    bounds: Bounds,
    threshold: Any,
    radius: Any,
    *,
    rival_weight: Any,
    exponent: Any,
    lipschitz: Any = None,
) -> bool:
    """Whether "h's class if phi(h_y) - lambda phi(h_k) > tau, else g's" is certified at `radius` (in units of sigma).

    Args: as `certifies_threshold`; threshold: tau; rival_weight: lambda; exponent: q of phi(p) = p^q, None for phi = z.
    """

    def excess(top: Any, rival: Any) -> Any:
        first, second = (_quantile(p) if exponent is None else p**exponent for p in (top, rival))
        return first - (rival_weight * second if rival_weight else 0) - threshold

    p_a, p_b = _pair(bounds)
    top, rival = _envelope(certifier, bounds, radius, lipschitz)
    if not (p_a > p_b and top >= rival and top > 0):
        return False
    return bool(excess(p_a, p_b) > 0 and excess(top, rival) >= 0)


@dataclass(frozen=True)
class Node:
    """One node of a chain, about one class y.

    Attributes:
        bounds: lower bound on h_y, 0 where the node's class is another one, and upper bound on every other class.
        threshold: c.
        sigma: of its noise, pixel units.
    """

    bounds: Bounds
    threshold: Any
    sigma: Any


def certifies_chain(certifier: str, nodes: Sequence[Node], radius: Any) -> bool:
    """Whether a chain is certified at `radius` (pixel units), by the recursion itself: a node fires for y, or it can fire
    for y only and the rest of the chain is certified.

    Args: certifier: with an envelope; nodes: in their order.
    """
    if not nodes:
        return False
    node, rest = nodes[0], nodes[1:]
    t = radius / node.sigma
    if certifies_threshold(certifier, node.bounds, node.threshold, t):
        return True
    return bool(_envelope(certifier, node.bounds, t)[1] <= node.threshold and certifies_chain(certifier, rest, radius))


def _pair(bounds: Bounds) -> Bounds:
    return bounds[0], min(bounds[1], 1 - bounds[0])


def _envelope(certifier: str, bounds: Bounds, radius: Any, lipschitz: Any = None) -> tuple[Any, Any]:
    """(L, U) at `radius` (in units of sigma)."""
    p_a, p_b = _pair(bounds)
    if certifier == "lipschitz-smoothed" and lipschitz is not None:
        half = 1 / (2 * lipschitz)
        top = _clipped_ramp(_ramp_position(p_a, half) - radius, half) if p_a > 0 else _mp.mpf(0)
        return top, _clipped_ramp(_ramp_position(p_b, half) + radius, half) if p_b < 1 else _mp.mpf(1)
    if certifier == "exact":
        top = _mp.ncdf(_quantile(p_a) - radius) if p_a > 0 else _mp.mpf(0)
        return top, _mp.ncdf(_quantile(p_b) + radius) if p_b < 1 else _mp.mpf(1)
    if certifier == "theorem-3.5-l1":
        return p_a - radius / 2, p_b + radius / 2
    if certifier not in ("theorem-3.5", "theorem-3.5-paper"):
        raise InvalidArgument(f"certifier to check must be one with a formula here, got {certifier!r}.")
    constant = _mp.sqrt(2 / _mp.pi) if certifier == "theorem-3.5-paper" else 1 / _mp.sqrt(2 * _mp.pi)
    return p_a - radius * constant, p_b + radius * constant


def _clipped_ramp(u: Any, half: Any) -> Any:
    """E clip((u + Z) / (2 half) + 1/2, 0, 1), integrated by parts."""
    upper, lower = u + half, u - half
    return (upper * _mp.ncdf(upper) - lower * _mp.ncdf(lower) + _mp.npdf(upper) - _mp.npdf(lower)) / (2 * half)


@functools.lru_cache(maxsize=1 << 16)
def _ramp_position(p: Any, half: Any) -> Any:
    """The u at which the ramp's mean is p, to 30 digits: bisection by its sign, then Newton on its log in the lower half."""
    if 2 * p > 1:
        return -_ramp_position(1 - p, half)
    low, high = -half - 60, _mp.mpf(0)
    for _ in range(200):
        middle = (low + high) / 2
        value = _clipped_ramp(middle, half)
        if abs(value / p - 1) < _mp.mpf(1) / 8:
            break
        low, high = (middle, high) if value < p else (low, middle)
    for _ in range(60):
        slope = (_mp.ncdf(middle + half) - _mp.ncdf(middle - half)) / (2 * half)
        step = _mp.log(_clipped_ramp(middle, half) / p) * p / slope
        middle -= step
        if abs(step) < _mp.mpf(10) ** -30 * (1 + half):
            break
    return middle


@functools.lru_cache(maxsize=1 << 16)
def _quantile(p: Any) -> Any:
    """Normal quantile: Newton on the log of the smaller tail, from SciPy's 16 digits."""
    if 2 * p > 1:
        return -_quantile(1 - p)
    z = _mp.mpf(float(special.ndtri(max(float(p), 1e-300))))
    for _ in range(100):
        tail = _mp.ncdf(z)
        step = _mp.log(tail / p) * tail / _mp.npdf(z)
        z -= max(min(step, _mp.mpf(1)), _mp.mpf(-1))
        if abs(step) < _mp.mpf(10) ** -30:
            break
    return z
