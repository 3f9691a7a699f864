"""The four radii in mpmath at 50 digits, from the formulas alone: an independent route for the tests."""

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
            return dict.fromkeys(("exact", "theorem-a1", "theorem-3.5", "theorem-3.5-paper"), mpf(0))
        p_top, a = mpf(top), mpf(weight)
        p_rival, mu = min(mpf(rival), 1 - p_top), (1 - a) / a
        paper, tight = mpmath.sqrt(2 / mp.pi), 1 / mpmath.sqrt(2 * mp.pi)
        return {
            "exact": _exact(p_top, p_rival, mu, mpf(start)),
            "theorem-a1": (quantile(a * p_top) - quantile(a * p_rival + 1 - a)) / 2,
            "theorem-3.5": (p_top - p_rival - mu) / (2 * tight),
            "theorem-3.5-paper": (p_top - p_rival - mu) / (2 * paper),
        }


def cdf(x: mpf) -> mpf:
    return mpmath.erfc(-x / mpmath.sqrt(2)) / 2


def quantile(p: mpf) -> mpf:
    """z(p): Newton on ln of the smaller tail, from SciPy's 16 digits, checked."""
    if 2 * p > 1:
        return -quantile(1 - p)
    z = mpf(float(special.ndtri(float(p))))
    for _ in range(2):
        tail = cdf(z)
        z -= mpmath.log(tail / p) * tail / mpmath.npdf(z)
    assert abs(cdf(z) - p) < p * mpf(10) ** -35
    return z


def _exact(p_top: mpf, p_rival: mpf, mu: mpf, start: mpf) -> mpf:
    """The one root of a decreasing function: Newton, else bisection."""
    z_top, z_rival, t = quantile(p_top), quantile(p_rival), start
    for _ in range(5):
        first, second = z_top - t, z_rival + t
        step = (cdf(first) - cdf(second) - mu) / (mpmath.npdf(first) + mpmath.npdf(second))
        t += step
        if abs(step) < mpf(10) ** -20:
            return t
    low, high = mpf(0), (z_top - z_rival) / 2
    for _ in range(100):
        middle = (low + high) / 2
        holds = cdf(z_top - middle) - cdf(z_rival + middle) >= mu
        low, high = (middle, high) if holds else (low, middle)
    return (low + high) / 2
