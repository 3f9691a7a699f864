"""Every certifier: worked numbers, an independent 50-digit computation, laws, and classifiers with known truth."""

from fractions import Fraction

import mpmath
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import certmix
from certmix.certifiers import CERTIFIERS, exact_margin, exact_radius, get_certifier, lipschitz_radius
from certmix.errors import InvalidArgument
from tests.closed_form import HalfSpaces

_tails = st.floats(1e-12, 0.5)
_probabilities = st.one_of(_tails, _tails.map(lambda tail: 1.0 - tail))
top_lowers = st.one_of(st.just(0.0), _probabilities)
rival_uppers = st.one_of(st.just(1.0), _probabilities)
weights = st.one_of(st.just(0.5), st.just(1.0), st.floats(0.5, 1.0), st.floats(0.5, 0.5001))
sigmas = st.floats(0.05, 4.0)

NAMES = ("theorem-3.5-paper", "theorem-3.5", "theorem-a1", "exact")
TABLE = [
    (0.55, 0.99, 0.01, 0.101, 0.203, 0.112, 0.991),
    (0.6, 0.9, 0.1, 0.084, 0.167, 0.100, 0.314),
    (0.6, 0.99, 0.002, 0.201, 0.403, 0.244, 1.598),
    (0.7, 0.95, 0.05, 0.295, 0.591, 0.426, 1.079),
    (0.79, 0.9, 0.05, 0.366, 0.732, 0.616, 1.118),
    (0.8, 0.8, 0.2, 0.219, 0.439, 0.358, 0.523),
    (0.8, 0.99, 0.01, 0.457, 0.915, 0.813, 2.008),
    (0.9, 0.9, 0.02, 0.482, 0.964, 1.031, 1.517),
    (0.95, 0.99, 0.002, 0.586, 1.172, 1.593, 2.534),
]


@pytest.mark.parametrize("row", TABLE)
def test_the_worked_table_to_three_decimals(row):
    weight, top, rival, *expected = row
    for name, value in zip(NAMES, expected, strict=True):
        assert round(float(CERTIFIERS[name].radius(top, rival, weight, 1.0)), 3) == value


def _points(count, seed):
    """Random (p_A, p_B, a), a third of them extreme."""
    g = np.random.default_rng(seed)
    top = np.where(g.random(count) < 0.5, 1 - 10 ** g.uniform(-12, -0.3, count), g.uniform(0.02, 0.98, count))
    rival = np.where(g.random(count) < 0.7, (1 - top) * g.uniform(0.001, 1, count), g.uniform(1e-12, 1, count))
    weight = g.choice([0.5, 1.0, 0.500001, 0.999999], count)
    weight = np.where(g.random(count) < 0.8, g.uniform(0.5, 1, count), weight)
    pinned = g.random(count)
    top = np.where(pinned < 0.05, 1 - 1e-12, top)
    rival = np.where((pinned > 0.03) & (pinned < 0.1), 1e-12, rival)
    return top, np.maximum(rival, 1e-12), weight


def _mp_quantile(p):
    return mpmath.sqrt(2) * mpmath.erfinv(2 * p - 1)


def _mp_holds(name, top, rival, weight, quantiles, radius):
    """Whether theory certifies a radius, from the formulas alone; everything is an mpf."""
    if name == "exact":
        return weight * (mpmath.ncdf(quantiles[0] - radius) - mpmath.ncdf(quantiles[1] + radius)) >= 1 - weight
    if name == "theorem-a1":
        return 2 * radius <= quantiles[2] - quantiles[3]
    constant = mpmath.sqrt(2 / mpmath.pi) if name.endswith("paper") else 1 / mpmath.sqrt(2 * mpmath.pi)
    return 2 * radius * constant * weight <= weight * (top - rival) + weight - 1


@pytest.mark.slow
def test_all_radii_agree_with_50_digits_and_never_exceed_them():
    top, rival, weight = _points(10_000, 0)
    radii = {name: CERTIFIERS[name].radius(top, rival, weight, 1.0) for name in NAMES}
    positive = dict.fromkeys(NAMES, 0)
    with mpmath.workdps(50):
        step = mpmath.mpf("1e-9")
        for i in range(len(top)):
            p_a, a = mpmath.mpf(float(top[i])), mpmath.mpf(float(weight[i]))
            p_b = min(mpmath.mpf(float(rival[i])), 1 - p_a)
            inside = a * p_a > 0 and a * p_b + 1 - a < 1
            quantiles = [_mp_quantile(p) for p in (p_a, p_b)]
            quantiles += [_mp_quantile(a * p_a), _mp_quantile(a * p_b + 1 - a)] if inside else [mpmath.mpf(0)] * 2
            for name in NAMES:
                stated = mpmath.mpf(float(radii[name][i]))
                if stated > 0:
                    positive[name] += 1
                    assert _mp_holds(name, p_a, p_b, a, quantiles, stated), (name, top[i], rival[i], weight[i])
                if p_a - p_b > (1 - a) / a:
                    too_far = stated + step
                    assert not _mp_holds(name, p_a, p_b, a, quantiles, too_far), (name, top[i], rival[i], weight[i])
                else:
                    assert stated == 0
    assert min(positive.values()) > 3000


@given(top_lowers, rival_uppers, weights, sigmas)
def test_orderings_and_range(top, rival, weight, sigma):
    radius = {name: float(CERTIFIERS[name].radius(top, rival, weight, sigma)) for name in NAMES}
    assert all(np.isfinite(value) and value >= 0 for value in radius.values())
    slack = 1e-10 * sigma
    assert radius["theorem-3.5-paper"] <= radius["theorem-a1"] + slack <= radius["exact"] + 2 * slack
    assert radius["theorem-3.5"] <= radius["exact"] + slack


@pytest.mark.parametrize("name", NAMES)
@given(st.tuples(top_lowers, top_lowers), st.tuples(rival_uppers, rival_uppers), st.tuples(weights, weights))
def test_radii_increase_in_weight_and_top_and_decrease_in_rival(name, tops, rivals, pair):
    radius = CERTIFIERS[name].radius
    worse = float(radius(min(tops), max(rivals), min(pair), 1.0))
    better = float(radius(max(tops), min(rivals), max(pair), 1.0))
    assert worse <= better + 1e-10


@pytest.mark.parametrize("name", NAMES)
@given(top_lowers, rival_uppers, weights)
def test_radius_is_zero_exactly_where_the_margin_is_too_small(name, top, rival, weight):
    p_a, a = Fraction(top), Fraction(weight)
    p_b = min(Fraction(rival), 1 - p_a)
    spare = p_a - p_b - (1 - a) / a
    radius = float(CERTIFIERS[name].radius(top, rival, weight, 1.0))
    if spare <= 0:
        assert radius == 0
    if spare > Fraction(1, 10**11):
        assert radius > 0


@pytest.mark.parametrize("name", NAMES)
@given(st.floats(0.55, 1 - 1e-6), st.floats(0.001, 0.999), st.floats(0.52, 0.999))
def test_margin_curve_and_radius_are_inverse(name, top, share, weight):
    rival = max((1 - top) * share, 1e-9)
    certifier = CERTIFIERS[name]
    radius = float(certifier.radius(top, rival, weight, 0.5))
    if radius > 1e-6:
        needed = float(certmix.required_margin(weight))
        assert float(certifier.margin(top, rival, radius * (1 - 1e-6), 0.5)) >= needed - 1e-9
        assert float(certifier.margin(top, rival, radius * (1 + 1e-6), 0.5)) <= needed + 1e-9


def test_margin_curves_decrease():
    at = np.linspace(0, 1.5, 40)
    for certifier in CERTIFIERS.values():
        assert (np.diff(certifier.margin(0.95, 0.02, at, 0.5)) <= 0).all()
    assert float(exact_margin(0.9, 0.05, 0.0, 0.5)) == pytest.approx(0.85)


@pytest.mark.parametrize("name", NAMES)
def test_broadcasting_equals_loops(name):
    top, rival, weight = _points(30, 1)
    grid = CERTIFIERS[name].radius(top, rival, weight[:, None], 0.5)
    assert grid.shape == (30, 30)
    for w in range(0, 30, 7):
        for i in range(30):
            assert grid[w, i] == pytest.approx(
                float(CERTIFIERS[name].radius(top[i], rival[i], weight[w], 0.5)), rel=1e-11
            )


def test_weight_one_is_cohen_and_weights_below_half_certify_nothing():
    assert float(exact_radius(0.99, 0.01, 1.0, 0.5)) == pytest.approx(0.5 * 2.3263478740408408, rel=1e-11)
    for name in NAMES:
        assert (CERTIFIERS[name].radius(0.999999, 1e-6, [0.0, 0.2, 0.4999999, 0.5], 1.0) == 0).all()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((1.0, 0.1, 0.8, 1.0), r"top_lower must be in \[0, 1\)"),
        ((np.nan, 0.1, 0.8, 1.0), "top_lower must be"),
        ((0.9, 0.0, 0.8, 1.0), r"rival_upper must be in \(0, 1\]"),
        ((0.9, 0.1, 1.2, 1.0), r"mixing_weight must be in \[0, 1\].*got 1\.2"),
        ((0.9, 0.1, 0.8, 0.0), "sigma must be > 0"),
        ((0.9, 0.1, 0.8, np.inf), "sigma must be > 0"),
    ],
)
@pytest.mark.parametrize("name", NAMES)
def test_values_out_of_range_are_named(name, arguments, message):
    with pytest.raises(InvalidArgument, match=message):
        CERTIFIERS[name].radius(*arguments)


def test_other_bad_arguments_are_named():
    with pytest.raises(InvalidArgument, match=r"certifier must be one of .* did you mean exact\?"):
        get_certifier("exactly")
    with pytest.raises(InvalidArgument, match="lipschitz_top must be > 0"):
        lipschitz_radius(0.9, 0.1, 0.8, 0.0, 1.0)
    with pytest.raises(InvalidArgument, match="radius must be >= 0"):
        exact_margin(0.9, 0.1, -1.0, 1.0)


def test_theorem_35_takes_a_constant_per_class():
    per_rival = lipschitz_radius(0.8, np.array([0.1, 0.05]), 0.9, 1.0, np.array([1.0, 3.0]))
    spare = [0.9 * (0.8 - p) + 0.9 - 1 for p in (0.1, 0.05)]
    assert per_rival == pytest.approx([spare[0] / (0.9 * 2), spare[1] / (0.9 * 4)])


SCENES = [
    HalfSpaces(left, left + gap, sigma)
    for left in (0.1, 0.4, 0.9, 1.6)
    for gap in (0.0, 0.3, 1.0)
    for sigma in (0.25, 0.5, 1.0)
]


@pytest.mark.parametrize("weight", [0.55, 0.7, 0.79, 0.9, 1.0])
def test_on_half_spaces_no_radius_exceeds_the_truth_and_the_exact_one_equals_it(weight):
    equal = 0
    for scene in SCENES:
        h = scene.smoothed(0.0)
        truth = scene.true_radius(weight)
        for name in NAMES:
            assert float(CERTIFIERS[name].radius(h[0], h[1:].max(), weight, scene.sigma)) <= truth + 1e-12
        # The opposite half-space must be the rival that (p_A, p_B) describes, and 1 - p_A must keep its digits.
        if h[1] >= h[2] and h[0] < 1 - 1e-6:
            exact = float(exact_radius(h[0], h[1], weight, scene.sigma))
            assert exact == pytest.approx(truth, abs=1e-9)
            equal += 1
            if exact > 0:
                assert scene.mixture_class(exact * (1 + 1e-6), weight, 1) == 1
                for along in np.linspace(-exact, exact, 101) * (1 - 1e-9):
                    assert all(scene.mixture_class(float(along), weight, g) == 0 for g in (0, 1, 2))
    assert equal >= 10
