"""The radii in mpmath at 50 digits, from the formulas alone: an independent route for the tests."""

import functools
from fractions import Fraction

import mpmath
from mpmath import mp, mpf
from scipy import special

DIGITS = 50


def excess_margin(top: float, rival: float, weight: float) -> Fraction:
    """p_A - p_B - mu of these floats in exact arithmetic, with p_B replaced by min(p_B, 1 - p_A)."""
    top_exact, a = Fraction(top), Fraction(weight)
    return top_exact - min(Fraction(rival), 1 - top_exact) - (1 - a) / a


def radii(top: float, rival: float, weight: float, start: float) -> dict[str, mpf]:
    """Certifier name -> radius in units of sigma; `start` is where the search for the exact root begins."""
    with mp.workdps(DIGITS):
        if excess_margin(top, rival, weight) <= 0:
            return dict.fromkeys(("exact", "theorem-a1", "theorem-3.5", "theorem-3.5-paper", "theorem-3.5-l1"), mpf(0))
        p_top, a = mpf(top), mpf(weight)
        p_rival, mu = min(mpf(rival), 1 - p_top), (1 - a) / a
        paper, tight = mpmath.sqrt(2 / mp.pi), 1 / mpmath.sqrt(2 * mp.pi)
        return {
            "exact": _exact(p_top, p_rival, mu, mpf(start)),
            "theorem-a1": (quantile(a * p_top) - quantile((1 - a) + a * p_rival)) / 2,
            "theorem-3.5": (p_top - p_rival - mu) / (2 * tight),
            "theorem-3.5-paper": (p_top - p_rival - mu) / (2 * paper),
            "theorem-3.5-l1": p_top - p_rival - mu,
        }


def cdf(x: mpf) -> mpf:
    return mpmath.erfc(-x / mpmath.sqrt(2)) / 2


@functools.cache
def quantile(p: mpf) -> mpf:
    """z(p): one Halley step (cubic) on ln of the smaller tail, from SciPy's 16 digits."""
    if 2 * p > 1:
        return -quantile(1 - p)
    z = mpf(float(special.ndtri(float(p))))
    tail = cdf(z)
    hazard = mpmath.npdf(z) / tail
    newton = mpmath.log(tail / p) / hazard
    assert abs(newton) < 1e-13
    return z - newton / (1 + newton * (z + hazard) / 2)


def _exact(p_top: mpf, p_rival: mpf, mu: mpf, start: mpf) -> mpf:
    """The one root of a decreasing function: Newton while it converges, else bisection."""
    z_top, z_rival, t = quantile(p_top), quantile(p_rival), start
    low, high = mpf(0), (z_top - z_rival) / 2
    for _ in range(6):
        if not low <= t <= high:
            break
        first, second = z_top - t, z_rival + t
        step = (cdf(first) - cdf(second) - mu) / (mpmath.npdf(first) + mpmath.npdf(second))
        t += step
        if abs(step) < 1e-9:  # the error left is of the order of its square, below 1e-16 of it
            return t
    for _ in range(100):
        middle = (low + high) / 2
        holds = cdf(z_top - middle) - cdf(z_rival + middle) >= mu
        low, high = (middle, high) if holds else (low, middle)
    return (low + high) / 2
