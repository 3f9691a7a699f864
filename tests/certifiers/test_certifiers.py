"""Every certifier: worked numbers, arguments, and classifiers with known truth (laws: test_properties)."""

import numpy as np
import pytest

from certmix.certifiers import CERTIFIERS, exact_margin, exact_radius, get_certifier, lipschitz_radius
from certmix.errors import InvalidArgument
from tests.closed_form import HalfSpaces

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


def test_margin_curves_decrease():
    at = np.linspace(0, 1.5, 40)
    for certifier in CERTIFIERS.values():
        assert (np.diff(certifier.margin(0.95, 0.02, at, 0.5)) <= 0).all()
    assert float(exact_margin(0.9, 0.05, 0.0, 0.5)) == pytest.approx(0.85)


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
