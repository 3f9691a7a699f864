"""Laws of every certifier over the whole range of floats it accepts, denormal and contradictory bounds included."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from mpmath import mp, mpf

from certmix.certifiers import (
    CERTIFIERS,
    exact_margin,
    exact_radius,
    lipschitz_margin,
    lipschitz_radius,
    required_margin,
    theorem_a1_margin,
)
from certmix.errors import InvalidArgument
from tests.certifiers.reference import cdf, excess_margin, quantile
from tests.strategies import BELOW_ONE, certifiable_bounds, mixing_weights, rival_uppers, seeded, sigmas, top_lowers

NAMES = list(CERTIFIERS)


def radius_of(name: str, *arguments: float) -> float:
    return float(CERTIFIERS[name].radius(*arguments))


@seeded
@given(top_lowers, rival_uppers, mixing_weights, sigmas)
def test_radii_and_margins_are_finite_and_in_range(top, rival, weight, sigma):
    for certifier in CERTIFIERS.values():
        radius = float(certifier.radius(top, rival, weight, sigma))
        assert np.isfinite(radius)
        assert radius >= 0
        for at in (radius, 0.0, 1e308):
            assert -1 <= float(certifier.margin(top, rival, at, sigma)) <= 1


@seeded
@given(certifiable_bounds(), sigmas)
def test_orderings(bounds, sigma):
    radius = {name: radius_of(name, *bounds, sigma) / sigma for name in NAMES}
    assert radius["theorem-3.5-paper"] <= radius["theorem-a1"] + 1e-10
    assert radius["theorem-a1"] <= radius["exact"] + 1e-10
    assert radius["theorem-3.5"] <= radius["exact"] + 1e-10


@seeded
@given(st.one_of(certifiable_bounds(), st.tuples(top_lowers, rival_uppers, mixing_weights.filter(bool))))
def test_radius_is_zero_exactly_where_the_margin_is_not_exceeded(bounds):
    excess = excess_margin(*bounds)
    for name in NAMES:
        radius = radius_of(name, *bounds, 1.0)
        if excess <= 0:
            assert radius == 0
        elif excess > 1e-14:
            assert radius > 0


@pytest.mark.parametrize(
    "top, rival", [(0.9, 0.05), (0.99, 0.3), (0.7, 1e-300), (BELOW_ONE, 1e-12), (0.3, 0.1), (0.6, 1.0)]
)
def test_the_first_weight_that_certifies_is_the_same_for_all(top, rival):
    """Around 1 / (1 + p_A - p_B), one float at a time: zero on one side, positive from a few ulps on."""
    limit = 1.0 / (1.0 + top - min(rival, 1.0 - top))
    for step in range(-40, 41):
        weight = min(limit + step * 2.0**-52, 1.0)
        excess = excess_margin(top, rival, weight)
        for name in NAMES:
            radius = radius_of(name, top, rival, weight, 1.0)
            assert (radius == 0) if excess <= 0 else (radius > 0 or excess < 2e-15)


@seeded
@given(certifiable_bounds(), st.sampled_from(["top", "rival", "weight"]), st.floats(0.0, 1.0))
def test_radii_increase_in_top_and_weight_and_decrease_in_rival(bounds, which, share):
    top, rival, weight = bounds
    better = {
        "top": (min(top + (1.0 - top) * share, BELOW_ONE), rival, weight),
        "rival": (top, max(rival * share, 5e-324), weight),
        "weight": (top, rival, min(weight + (1.0 - weight) * share, 1.0)),
    }[which]
    for name in NAMES:
        assert radius_of(name, *bounds, 1.0) <= radius_of(name, *better, 1.0) + 1e-10


@seeded
@given(certifiable_bounds(), st.sampled_from([0.25, 1.0]))
def test_margin_curve_and_radius_are_inverse(bounds, sigma):
    """At the radius the curve gives the required margin; it falls by at most sqrt(2/pi) (paper: twice that) per sigma."""
    top, rival, weight = bounds
    needed = float(required_margin(weight))
    assume(excess_margin(*bounds) > 1e-9)
    for name, certifier in CERTIFIERS.items():
        radius = float(certifier.radius(top, rival, weight, sigma))
        assert float(certifier.margin(top, rival, radius, sigma)) == pytest.approx(needed, abs=2e-10), name
        assert float(certifier.margin(top, rival, radius * 1.01 + 1e-3 * sigma, sigma)) < needed, name


@pytest.mark.slow
@seeded
@given(certifiable_bounds(), st.floats(0.0, 1.5), st.floats(0.25, 2.0))
def test_margin_curves_are_lower_bounds(bounds, share, sigma):
    """The exact curve at 50 digits is above both: it is the best there is."""
    top, rival, weight = bounds
    radius = share * float(exact_radius(top, rival, weight, sigma))
    with mp.workdps(50):
        p_top = mpf(top)
        z_top, z_rival, t = quantile(p_top), quantile(min(mpf(rival), 1 - p_top)), mpf(radius) / mpf(sigma)
        truth = cdf(z_top - t) - cdf(z_rival + t)
        ours = float(exact_margin(top, rival, radius, sigma))
        assert ours <= truth <= ours + 1e-13
        assert float(theorem_a1_margin(top, rival, radius, sigma)) <= truth
        assert float(CERTIFIERS["theorem-3.5"].margin(top, rival, radius, sigma)) <= truth


@pytest.mark.parametrize("name", NAMES)
def test_a_grid_equals_its_entries(name):
    rng = np.random.default_rng(7)
    top, rival = rng.uniform(0.3, 1, 40), rng.uniform(0.001, 0.6, 40)
    weight, sigma = rng.uniform(0.5, 1, (5, 1)), rng.uniform(0.1, 2, (3, 1, 1))
    grid = CERTIFIERS[name].radius(top, rival, weight, sigma)
    curve = CERTIFIERS[name].margin(top, rival, weight, sigma)
    assert grid.shape == curve.shape == (3, 5, 40)
    assert (grid > 0).sum() > 100
    for s, w, i in np.ndindex(grid.shape):
        one = top[i], rival[i], weight[w, 0], sigma[s, 0, 0]
        assert grid[s, w, i] == pytest.approx(radius_of(name, *one), rel=1e-12, abs=1e-15)
        assert curve[s, w, i] == pytest.approx(float(CERTIFIERS[name].margin(*one)), rel=1e-12, abs=1e-15)


@pytest.mark.parametrize("name", NAMES)
def test_empty_and_scalar_arguments(name):
    assert CERTIFIERS[name].radius(np.empty(0), np.empty(0), np.ones((4, 1)), 1.0).shape == (4, 0)
    assert np.shape(CERTIFIERS[name].radius(0.9, 0.1, 0.9, 1.0)) == ()
    assert float(CERTIFIERS[name].radius(np.float32(0.9), 0.1, 1, 1)) > 0


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(
    ("position", "argument", "values"),
    [
        (0, "top_lower", [1.0, -1e-300, np.nan, np.inf, "a", None, 0.5j]),
        (1, "rival_upper", [0.0, 1.0000001, np.nan, -np.inf]),
        (2, "mixing_weight", [-1e-300, np.nextafter(1, 2), np.nan, np.inf]),
        (3, "sigma", [0.0, -0.25, np.nan, np.inf, 1e-320, 1e308]),
    ],
)
def test_every_bad_value_is_named_in_one_line(name, position, argument, values):
    for value in values:
        arguments: list[object] = [0.9, 0.1, 0.9, 1.0]
        arguments[position] = [arguments[position], value]
        with pytest.raises(InvalidArgument, match=f"^{argument} must be ") as error:
            CERTIFIERS[name].radius(*arguments)
        assert "\n" not in str(error.value)
        if isinstance(value, float):
            assert f"got {float(value)!r}" in str(error.value)
        if argument != "mixing_weight":
            arguments[2] = 0.1
            with pytest.raises(InvalidArgument, match=f"^{argument} must be "):
                CERTIFIERS[name].margin(*arguments)


@pytest.mark.parametrize("name", NAMES)
def test_a_bad_radius_and_shapes_that_do_not_match_are_named(name):
    for value in (-1e-9, np.nan, np.inf):
        with pytest.raises(InvalidArgument, match=r"^radius must be >= 0"):
            CERTIFIERS[name].margin(0.9, 0.1, value, 1.0)
    with pytest.raises(InvalidArgument, match=r"top_lower \(3,\), rival_upper \(2,\)"):
        CERTIFIERS[name].radius([0.9] * 3, [0.1] * 2, 0.9, 1.0)
    with pytest.raises(InvalidArgument, match=r"mixing_weight \(2,\)"):
        CERTIFIERS[name].radius([0.9] * 3, 0.1, [0.9] * 2, 1.0)


def test_lipschitz_constants_are_checked_and_broadcast():
    for value in (0.0, -1.0, np.nan, np.inf):
        with pytest.raises(InvalidArgument, match=r"^lipschitz_rival must be > 0"):
            lipschitz_radius(0.9, 0.1, 0.9, 1.0, value)
    per_class = np.array([[0.5], [2.0]])
    assert lipschitz_radius(0.9, [0.05, 0.02], 0.9, 1.0, per_class).shape == (2, 2)
    radius = lipschitz_radius(0.9, [0.05, 0.02], 0.9, 1.0, per_class)
    assert lipschitz_margin(0.9, [0.05, 0.02], radius, 1.0, per_class) == pytest.approx(0.1 / 0.9)


def test_arguments_are_not_changed():
    arguments = [np.array([0.9, 0.8]), np.array([0.5, 0.1]), np.array([0.8, 0.9]), np.array([1.0, 0.5])]
    copies = [argument.copy() for argument in arguments]
    for certifier in CERTIFIERS.values():
        certifier.radius(*arguments)
        certifier.margin(*arguments)
    for argument, copy in zip(arguments, copies, strict=True):
        assert (argument == copy).all()
