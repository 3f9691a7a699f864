"""The family's ends are Eq. 5 and the threshold; half-spaces flip just outside and never inside, for every phi."""

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from scipy import special

from certmix.certifiers import CERTIFIERS, exact_radius
from certmix.certifiers.envelope import EXACT, THEOREM_3_5, Envelope
from certmix.errors import InvalidArgument
from certmix.rules.family import family_accuracy, family_radius, family_score
from certmix.rules.threshold import threshold_radius
from tests.rules.scenes import along, random_bounds
from tests.strategies import BELOW_ONE, rival_uppers, seeded, sigmas, top_lowers

EXPONENTS = st.sampled_from([0.5, 1.0, 3.0, None])
SAME_AS_EXACT = Envelope(EXACT.top, EXACT.rival, EXACT.top_radius, EXACT.rival_radius, EXACT.crossing_radius)


def _scenes(count, seed, exponent):
    """Random bounds, lambda and tau, most of which certify something."""
    rng = np.random.default_rng(seed)
    top, rival = random_bounds(rng, count)
    weight = np.where(rng.random(count) < 0.2, rng.integers(0, 2, count), rng.random(count))
    score = family_score(top, rival, rival_weight=weight, exponent=exponent)
    tau = score - rng.random(count) * 3 if exponent is None else np.clip(score * rng.uniform(0, 1.1, count), 0, 0.999)
    return top, rival, weight, tau


@seeded
@given(top_lowers, rival_uppers, top_lowers, st.floats(0, 1), EXPONENTS, sigmas)
def test_radii_are_finite_and_never_above_that_of_h(top, rival, tau, weight, exponent, sigma):
    for envelope in (EXACT, THEOREM_3_5):
        radius = family_radius(top, rival, tau, sigma, rival_weight=weight, exponent=exponent, envelope=envelope)
        assert 0 <= radius <= envelope.crossing_radius(top, rival, sigma) < np.inf


@seeded
@given(
    *(st.floats(0.3, BELOW_ONE), st.floats(1e-6, 1), st.floats(0, 0.99), st.floats(0, 1), EXPONENTS),
    *(st.sampled_from(["top", "rival", "threshold", "weight"]), st.floats(0, 1)),
)
def test_radii_increase_in_top_and_decrease_in_rival_threshold_and_weight(
    top, rival, tau, weight, exponent, which, share
):
    assume(exponent is not None or which != "weight")  # where z(U) < 0, a larger weight is the weaker demand
    better = {
        "top": (min(top + (1 - top) * share, BELOW_ONE), rival, tau, weight),
        "rival": (top, max(rival * share, 1e-6), tau, weight),
        "threshold": (top, rival, tau * share, weight),
        "weight": (top, rival, tau, weight * share),
    }[which]
    here, there = (
        float(family_radius(*row[:3], 1.0, rival_weight=row[3], exponent=exponent))
        for row in ((top, rival, tau, weight), better)
    )
    assert here <= there + 1e-9


@pytest.mark.parametrize("exponent", [0.5, 1.0, 4.0, None])
def test_lambda_0_is_the_threshold(exponent):
    rng = np.random.default_rng(5)
    top, rival = random_bounds(rng, 3_000)
    c = rng.uniform(0.01, 0.99, 3_000)
    tau = special.ndtri(c) if exponent is None else c**exponent
    for envelope in (EXACT, THEOREM_3_5):
        found = family_radius(top, rival, tau, 0.5, rival_weight=0.0, exponent=exponent, envelope=envelope)
        assert found == pytest.approx(threshold_radius(top, rival, c, 0.5, envelope=envelope), abs=1e-9)
    assert (found > 0).sum() > 500


def test_lambda_1_and_the_identity_are_eq_5():
    rng = np.random.default_rng(6)
    top, rival = random_bounds(rng, 3_000)
    weight = rng.uniform(0.51, 1, 3_000)
    how = {"rival_weight": 1.0, "exponent": 1.0}
    found = family_radius(top, rival, (1 - weight) / weight, 0.5, **how)
    assert found == pytest.approx(exact_radius(top, rival, weight, 0.5), abs=1e-9)
    assert (found > 0).sum() > 700
    line = family_radius(top, rival, (1 - weight) / weight, 0.5, **how, envelope=THEOREM_3_5)
    assert line == pytest.approx(CERTIFIERS["theorem-3.5"].radius(top, rival, weight, 0.5), abs=1e-9)


def test_the_probit_closed_form_is_the_bisection():
    top, rival, weight, tau = _scenes(2_000, 7, None)
    closed = family_radius(top, rival, tau, 0.5, rival_weight=weight, exponent=None)
    searched = family_radius(top, rival, tau, 0.5, rival_weight=weight, exponent=None, envelope=SAME_AS_EXACT)
    calm = (top < 1 - 1e-6) & (rival > 1e-6)  # the curves are rounded to 1e-15, which z magnifies in the tails
    assert searched[calm] == pytest.approx(closed[calm], abs=1e-7)
    assert (searched <= closed + 1e-9).all()
    assert (closed > 0).sum() > 1_000


@pytest.mark.parametrize("exponent", [0.5, 1.0, 3.0, None])
def test_half_spaces_flip_just_outside_and_never_inside(exponent):
    top, rival, weight, tau = _scenes(5_000, 20261124, exponent)
    radius = family_radius(top, rival, tau, 1.0, rival_weight=weight, exponent=exponent)

    def kept(distance):
        h_y, h_i = along(top, rival, distance)
        z = [special.ndtri(p) if exponent is None else p**exponent for p in (h_y, h_i)]
        return (z[0] - np.where(weight > 0, weight * z[1], 0) > tau) & (h_y > h_i)

    calm = top < 1 - 1e-8
    for share in (-1, 0, 0.5, 0.95, 1 - 1e-7):
        assert kept(share * radius)[(radius > 0) & calm].all()
    assert not kept(radius * (1 + 1e-6) + 1e-6)[calm].any()
    binding = radius < 0.999 * exact_radius(top, rival, 1.0, 1.0)
    assert ((radius > 0) & binding).sum() > 1_500


def test_scores_where_h_has_no_votes_or_all_of_them():
    for exponent in (None, 2.0):
        for weight in (0.0, 0.5):
            assert family_score(0.0, 0.0, rival_weight=weight, exponent=exponent) == -np.inf
    assert family_score(1.0, 0.0, rival_weight=0.0, exponent=None) == np.inf
    assert family_score(0.6, 0.0, rival_weight=0.5, exponent=None) == np.inf
    assert float(family_score(0.6, 0.3, rival_weight=0.5, exponent=2.0)) == pytest.approx(0.36 - 0.045)
    assert float(family_score(0.6, 0.3, rival_weight=1.0, exponent=None)) == pytest.approx(0.2533 + 0.5244, abs=1e-4)


@pytest.mark.parametrize("exponent", [0.5, 1.0, None])
@pytest.mark.parametrize("weight", [0.0, 0.3, 1.0])
def test_clean_accuracy_equals_direct_evaluation(exponent, weight):
    rng = np.random.default_rng(8)
    classes, inputs = 3, 60
    g, labels = np.eye(classes)[rng.integers(0, classes, inputs)], rng.integers(0, classes, inputs)
    votes = rng.multinomial(12, [0.5, 0.3, 0.2], inputs)
    curve = family_accuracy(g, votes, labels, rival_weight=weight, exponent=exponent)
    grid = np.linspace(-4, 4, 161) if exponent is None else np.linspace(0, 0.995, 200)
    tau = np.concatenate([grid, curve.breakpoints[:-1], np.nextafter(curve.breakpoints[1:], -200)])
    expected = np.zeros(len(tau))
    for row in range(inputs):
        h, k = votes[row] / 12, int(g[row].argmax())
        score = family_score(h.max(), h[k], rival_weight=weight, exponent=exponent)
        h_right = h[labels[row]] == h.max() and (h == h.max()).sum() == 1
        expected += np.where(score > tau, h_right, k == labels[row])
    assert curve(tau) == pytest.approx(expected / inputs)
    assert len(curve.breakpoints) > 5


def test_bad_values_are_named():
    for value in (-0.1, 1.1, np.nan):
        with pytest.raises(InvalidArgument, match=r"^rival_weight must be in \[0, 1\]"):
            family_radius(0.9, 0.05, 0.5, 1.0, rival_weight=value, exponent=1.0)
    for value in (0.0, -1.0, 1e9, np.nan):
        with pytest.raises(InvalidArgument, match=r"^exponent must be in \[0.01, 100\], or None"):
            family_radius(0.9, 0.05, 0.5, 1.0, rival_weight=0.5, exponent=value)
    with pytest.raises(InvalidArgument, match=r"^threshold must be in \[0, 1\)"):
        family_radius(0.9, 0.05, -0.5, 1.0, rival_weight=0.5, exponent=1.0)
    with pytest.raises(InvalidArgument, match=r"^threshold must be in \[-100, 100\]"):
        family_radius(0.9, 0.05, np.inf, 1.0, rival_weight=0.5, exponent=None)
    with pytest.raises(InvalidArgument, match=r"rival_weight \(2,\)"):
        family_radius([0.9] * 3, 0.05, 0.5, 1.0, rival_weight=[0.5] * 2, exponent=None)
