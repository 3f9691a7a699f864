"""Envelopes: bounds on h over the ball, their safe inverses, and the margin curves they add up to."""

import numpy as np
import pytest
from hypothesis import given
from mpmath import mp, mpf
from scipy import special

from certmix.certifiers import exact_margin, exact_radius, lipschitz_margin, lipschitz_radius
from certmix.certifiers.envelope import EXACT, THEOREM_3_5, THEOREM_3_5_PAPER, lipschitz_envelope
from certmix.errors import InvalidArgument
from tests.certifiers.reference import cdf, quantile
from tests.strategies import rival_uppers, seeded, sigmas, top_lowers

ENVELOPES = {"exact": EXACT, "theorem-3.5": THEOREM_3_5, "paper": THEOREM_3_5_PAPER}
thresholds = top_lowers  # [0, 1), extremes included


@pytest.mark.parametrize("name", ENVELOPES)
@seeded
@given(top_lowers, rival_uppers, thresholds, sigmas)
def test_everything_is_finite_and_in_range(name, top, rival, threshold, sigma):
    one = ENVELOPES[name]
    radii = [one.top_radius(top, threshold, sigma), one.rival_radius(rival, threshold, sigma)]
    for radius in (*radii, one.crossing_radius(top, rival, sigma)):
        assert 0 <= radius < np.inf
        for at in (radius, 1e308):
            assert 0 <= one.top(top, at, sigma) < 1
            assert 0 < one.rival(rival, at, sigma) <= 1


@pytest.mark.parametrize("name", ENVELOPES)
@seeded
@given(top_lowers, rival_uppers, thresholds)
def test_radii_are_positive_exactly_where_the_condition_holds_at_the_input(name, top, rival, threshold):
    """Beyond differences that underflow."""
    for radius, excess in (
        (ENVELOPES[name].top_radius(top, threshold, 1.0), top - threshold),
        (ENVELOPES[name].rival_radius(rival, threshold, 1.0), threshold - rival),
    ):
        assert radius == 0 if excess <= 0 else radius > 0 or excess < 1e-320


@pytest.mark.parametrize("name", ENVELOPES)
def test_one_float_above_the_threshold_is_enough(name):
    for c in (0.0, 1e-300, 1e-9, 0.3, 0.5, 0.9, 1 - 2.0**-52):
        above = float(np.nextafter(c, 1))
        assert ENVELOPES[name].top_radius(above, c, 1.0) > 0 or above < 1e-320
        assert ENVELOPES[name].rival_radius(max(c, 1e-300), max(above, float(np.nextafter(1e-300, 1))), 1.0) > 0
        assert ENVELOPES[name].top_radius(c, c, 1.0) == 0


@seeded
@given(top_lowers, rival_uppers, thresholds)
def test_the_exact_envelope_is_on_the_safe_side_of_50_digits(top, rival, threshold):
    with mp.workdps(50):
        z = {
            name: quantile(mpf(p)) if 0 < p < 1 else None
            for name, p in zip("ABc", (top, rival, threshold), strict=True)
        }
        if top > threshold > 0:
            radius = float(EXACT.top_radius(top, threshold, 1.0))
            assert radius <= z["A"] - z["c"] <= radius + mpf("1e-11") * (1 + radius)
        if rival < threshold:
            radius = float(EXACT.rival_radius(rival, threshold, 1.0))
            assert radius <= z["c"] - z["B"] <= radius + mpf("1e-11") * (1 + radius)
        for radius in (0.0, 0.37, 3.1, 20.0):
            if top > 0:
                low = float(EXACT.top(top, radius, 1.0))
                assert low <= cdf(z["A"] - mpf(radius)) <= low + min(3e-14, 1e-11 * low + 1e-299)
            if rival < 1:
                high = float(EXACT.rival(rival, radius, 1.0))
                assert high - min(3e-14, 1e-11 * high + 1e-299) <= cdf(z["B"] + mpf(radius)) <= high


def test_curves_and_inverses_agree_on_a_grid():
    rng = np.random.default_rng(3)
    top, rival, c, sigma = (rng.uniform(*ends, 4_000) for ends in ((0.05, 0.99), (0.01, 0.9), (0.02, 0.98), (0.1, 2)))
    for name, one in ENVELOPES.items():
        kept, silent = one.top_radius(top, c, sigma), one.rival_radius(rival, c, sigma)
        some, few = top > c, rival < c
        assert one.top(top, kept, sigma)[some] == pytest.approx(c[some], abs=1e-10), name
        assert one.rival(rival, silent, sigma)[few] == pytest.approx(c[few], abs=1e-10), name
        crossing = one.crossing_radius(top, np.minimum(rival, 1 - top), sigma)
        ahead = crossing > 0
        gap = one.top(top, crossing, sigma) - one.rival(np.minimum(rival, 1 - top), crossing, sigma)
        assert gap[ahead] == pytest.approx(0, abs=1e-10), name
        assert ahead.sum() > 1_000


def test_curves_add_up_to_the_margin_curves():
    rng = np.random.default_rng(4)
    top, radius = rng.uniform(0.3, 0.99, 500), rng.uniform(0, 1, 500)
    rival = rng.random(500) * (1 - top)
    for one, margin in (
        (EXACT, exact_margin(top, rival, radius, 0.5)),
        (lipschitz_envelope(0.3, 0.4), lipschitz_margin(top, rival, radius, 0.3 / 0.5, 0.4 / 0.5)),
    ):
        low, high = one.top(top, radius, 0.5), one.rival(rival, radius, 0.5)
        inside, gap = (low > 0) & (high < 1), low - high
        assert gap[inside] == pytest.approx(margin[inside], abs=1e-12)
    assert EXACT.crossing_radius(0.9, 0.05, 0.5) == exact_radius(0.9, 0.05, 1.0, 0.5)
    assert lipschitz_envelope(0.3, 0.4).crossing_radius(0.9, 0.05, 1.0) == pytest.approx(
        lipschitz_radius(0.9, 0.05, 1.0, 0.3, 0.4), rel=1e-12
    )


def test_theorem_3_5_is_a_line_outside_the_exact_envelope():
    """Phi falls by at most phi(0) per sigma, and the paper's constant is twice that."""
    radius = np.linspace(0, 3, 301)
    for top, rival in ((0.95, 0.01), (0.6, 0.3)):
        for looser, tighter in ((THEOREM_3_5, EXACT), (THEOREM_3_5_PAPER, THEOREM_3_5)):
            assert (looser.top(top, radius, 1.0) <= tighter.top(top, radius, 1.0) + 1e-14).all()
            assert (looser.rival(rival, radius, 1.0) >= tighter.rival(rival, radius, 1.0) - 1e-14).all()
    assert float(THEOREM_3_5.top(0.9, 0.5, 1.0)) == pytest.approx(0.9 - 0.5 / np.sqrt(2 * np.pi), abs=1e-12)
    assert float(THEOREM_3_5_PAPER.rival(0.05, 0.5, 1.0)) == pytest.approx(0.05 + 0.5 * np.sqrt(2 / np.pi), abs=1e-12)
    assert float(EXACT.top(0.9, 0.5, 0.25)) == pytest.approx(special.ndtr(special.ndtri(0.9) - 2), abs=1e-13)


def test_bad_values_are_named():
    for one in ENVELOPES.values():
        with pytest.raises(InvalidArgument, match=r"^top_lower must be in \[0, 1\)"):
            one.top_radius(1.0, 0.5, 1.0)
        with pytest.raises(InvalidArgument, match=r"^rival_upper must be in \(0, 1\]"):
            one.rival_radius(0.0, 0.5, 1.0)
        for value in (1.0, -1e-300, np.nan, "a"):
            with pytest.raises(InvalidArgument, match=r"^threshold must be in \[0, 1\)"):
                one.top_radius(0.9, value, 1.0)
        with pytest.raises(InvalidArgument, match=r"^radius must be >= 0"):
            one.rival(0.1, np.nan, 1.0)
        with pytest.raises(InvalidArgument, match=r"^sigma must be > 0"):
            one.top(0.9, 1.0, 0.0)
        with pytest.raises(InvalidArgument, match=r"shapes must broadcast together, got top_lower \(3,\)"):
            one.top_radius([0.9] * 3, [0.5] * 2, 1.0)
    with pytest.raises(InvalidArgument, match=r"^rival_constant must be > 0"):
        lipschitz_envelope(0.5, -1.0)
