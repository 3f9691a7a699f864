"""The page's own JavaScript against SciPy's unrounded formulas, and against the certificates rounded to the safe side."""

import numpy as np
import pytest
from scipy import optimize, special

from certmix.certifiers import CERTIFIERS
from certmix.intervals import ProbabilityBounds
from certmix.report.payload import PAGE_CERTIFIERS, RULE_CONTROLS
from certmix.rules import rule_named

POINTS = 10_000
PAIRS = [
    (rule.kind, name)
    for rule in RULE_CONTROLS
    for name in PAGE_CERTIFIERS
    if rule.kind == "linear" or CERTIFIERS[name].envelope is not None
]
RADII = """argument.top.map((p, i) => RADIUS[argument.rule][argument.certifier](
    p, argument.rival[i], quantile(p), quantile(argument.rival[i]), argument.parameter[i]))"""


def z(p):
    """The normal quantile, from the smaller tail."""
    p = np.asarray(p, dtype=np.float64)
    return np.where(p > 0.5, -special.ndtri(1.0 - p), special.ndtri(p))


def exact_linear(top, rival, weight):
    """Root of Phi(z_A - t) - Phi(z_B + t) = (1 - a) / a by Brent's method, one at a time."""
    found = []
    for a, zt, zr in zip(weight, z(top), z(rival), strict=True):
        mu, nu = (1 - a) / a, (2 * a - 1) / a

        def short(t, mu=mu, nu=nu, zt=zt, zr=zr):
            if mu < 0.1:
                return mu + special.ndtr(t + zr) - special.ndtr(zt - t)
            return special.ndtr(t - zt) + special.ndtr(t + zr) - nu

        found.append(
            0.0 if short(0.0) >= 0 else optimize.brentq(short, 0.0, 0.5 * (zt - zr) + 0.1, xtol=1e-15, rtol=9e-16)
        )
    return np.array(found)


def theorem_a1(top, rival, a):
    first = np.where(a * top < 0.5, special.ndtri(a * top), -special.ndtri((1 - a) + a * (1 - top)))
    lower = a * rival + (1 - a)
    return np.maximum(0.5 * (first - np.where(lower < 0.5, special.ndtri(lower), -special.ndtri(a * (1 - rival)))), 0.0)


def unrounded(rule, name, top, rival, parameter):
    """Radii in units of sigma."""
    slope = {"theorem-3.5": 1 / np.sqrt(2 * np.pi), "theorem-3.5-paper": np.sqrt(2 / np.pi), "theorem-3.5-l1": 0.5}.get(
        name
    )
    if rule == "threshold":
        if slope:
            return np.maximum(np.minimum((top - rival) / (2 * slope), (top - parameter) / slope), 0.0)
        return np.maximum(np.minimum(0.5 * (z(top) - z(rival)), z(top) - z(parameter)), 0.0)
    if slope:
        return np.maximum(top - rival - (1 - parameter) / parameter, 0.0) / (2 * slope)
    return (exact_linear if name == "exact" else theorem_a1)(top, rival, parameter)


def points(seed=3):
    """Bounds as votes give them, unsure to all but certain, with p_B at most 1 - p_A."""
    rng = np.random.default_rng(seed)
    top = 1 - 10 ** rng.uniform(-5, 0, POINTS)
    rival = np.minimum((1 - top) * rng.choice([1.0, 0.5, 0.01], POINTS) + 1e-9, 1 - top)
    return top, rival, rng.uniform(0.5, 1.0, POINTS)


@pytest.mark.parametrize("rule, name", PAIRS)
def test_radii_are_those_of_scipy_to_twelve_digits(javascript, rule, name):
    top, rival, parameter = points()
    parameter[:100], (top[100], rival[100]) = 1.0 if rule == "linear" else 0.0, (0.0, 1.0)
    given = {"top": top.tolist(), "rival": rival.tolist(), "parameter": parameter.tolist()}
    page = np.array(javascript(RADII, {**given, "rule": rule, "certifier": name}))
    with np.errstate(invalid="ignore"):
        wanted = np.nan_to_num(unrounded(rule, name, top, rival, parameter))
    assert (wanted > 0).mean() > 0.1
    np.testing.assert_allclose(page, wanted, rtol=0, atol=1e-12)


@pytest.mark.parametrize("rule, name", PAIRS)
def test_certificates_are_below_the_page_by_less_than_a_billionth(javascript, rule, name):
    top, rival, _ = points(4)
    given = {"top": top.tolist(), "rival": rival.tolist(), "parameter": [0.7] * POINTS}
    page = np.array(javascript(RADII, {**given, "rule": rule, "certifier": name}))
    bounds = ProbabilityBounds(np.zeros(POINTS, dtype=np.int64), top, rival, 1.0)
    stored = rule_named(rule).with_parameter(0.7).radius(CERTIFIERS[name], bounds)
    assert (stored <= page + 1e-13).all()
    assert (page - stored).max() < 1e-9


def test_the_normal_distribution_is_scipys(javascript):
    x = np.linspace(-37, 8, 4000)
    np.testing.assert_allclose(javascript("argument.map(cdf)", x.tolist()), special.ndtr(x), rtol=2e-13)
    p = np.concatenate([10 ** np.linspace(-300, -0.01, 3000), 1 - 10 ** np.linspace(-15, -1, 1000)])
    np.testing.assert_allclose(javascript("argument.map(quantile)", p.tolist()), z(p), rtol=1e-14, atol=1e-15)


def test_the_envelope_ends_where_the_radius_is(javascript):
    top, rival = [0.95, 0.8], [0.02, 0.1]
    code = "argument.top.map((p, i) => { const q = argument.rival[i], zs = [quantile(p), quantile(q)]; return envelope("
    code += "'exact', p, q, ...zs, RADIUS.linear.exact(p, q, ...zs, 0.8)); })"
    ends = np.array(javascript(code, {"top": top, "rival": rival}))
    np.testing.assert_allclose(ends[:, 0] - ends[:, 1], 0.25, atol=1e-12)


@pytest.mark.parametrize("name", PAGE_CERTIFIERS)
def test_the_drawn_margin_is_the_certifiers_margin(javascript, name):
    top, rival, sigma = 0.93, 0.04, 0.5
    run = (
        "Object.assign(Object.create(Run.prototype), { top: [argument.top], rival: [argument.rival], moved: 0, sigma: "
    )
    run += "argument.sigma, zTop: [quantile(argument.top)], zRival: [quantile(argument.rival)], prediction: [0], none: 1 })"
    given = {"top": top, "rival": rival, "sigma": sigma, "name": name}
    drawn = np.array(javascript(f"marginCurve({run}, 0, 'linear', argument.name)", given))
    assert drawn[0].tolist() == [0.0, top - rival]
    assert (np.diff(drawn, axis=0) * [1, -1] >= 0).all()
    margin = CERTIFIERS[name].margin(top, rival, drawn[:-1, 0], sigma)
    np.testing.assert_allclose(margin, drawn[:-1, 1], atol=1e-8)
    beyond = CERTIFIERS[name].margin(top, rival, drawn[-1, 0] * 1.01, sigma)
    assert drawn[-1, 1] == 0.0
    assert beyond <= 0.0


def test_accuracies_are_printed_rounded_to_the_safe_side(javascript):
    shares = [0.428, 2 / 3, 1.0, 0.0, 0.9999]
    assert javascript("argument.map(percentDown)", shares) == ["42.8", "66.6", "100.0", "0.0", "99.9"]
    assert javascript("argument.map(percentUp)", shares) == ["42.8", "66.7", "100.0", "0.0", "100.0"]
