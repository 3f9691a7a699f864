"""The threshold's laws, and half-spaces with an adversarial one-hot g: none flips inside, all flip just outside."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from certmix.certifiers import exact_radius
from certmix.certifiers.envelope import THEOREM_3_5, THEOREM_3_5_PAPER, lipschitz_envelope
from certmix.errors import InvalidArgument
from certmix.rules.threshold import threshold_radius
from tests.rules.scenes import along, random_bounds
from tests.strategies import BELOW_ONE, rival_uppers, seeded, sigmas, top_lowers

ENVELOPES = {"exact": {}, "theorem-3.5": {"envelope": THEOREM_3_5}, "paper": {"envelope": THEOREM_3_5_PAPER}}


@pytest.mark.parametrize("envelope", ENVELOPES)
@seeded
@given(top_lowers, rival_uppers, top_lowers, sigmas)
def test_radii_are_finite_and_never_above_that_of_h(envelope, top, rival, threshold, sigma):
    radius = threshold_radius(top, rival, threshold, sigma, **ENVELOPES[envelope])
    assert 0 <= radius < np.inf
    assert radius <= threshold_radius(top, rival, 0.0, sigma, **ENVELOPES[envelope])
    if envelope == "exact":
        assert radius <= exact_radius(top, rival, 1.0, sigma)
        assert (radius > 0) == (top > threshold and exact_radius(top, rival, 1.0, sigma) > 0)


@pytest.mark.parametrize("envelope", ENVELOPES)
@seeded
@given(top_lowers, rival_uppers, top_lowers, st.sampled_from(["top", "rival", "threshold"]), st.floats(0, 1))
def test_radii_increase_in_top_and_decrease_in_rival_and_threshold(envelope, top, rival, threshold, which, share):
    better = {
        "top": (min(top + (1 - top) * share, BELOW_ONE), rival, threshold),
        "rival": (top, max(rival * share, 5e-324), threshold),
        "threshold": (top, rival, threshold * share),
    }[which]
    here = float(threshold_radius(top, rival, threshold, 1.0, **ENVELOPES[envelope]))
    assert here <= float(threshold_radius(*better, 1.0, **ENVELOPES[envelope])) + 1e-10


@seeded
@given(st.floats(0.5, BELOW_ONE), st.floats(0.5, 1.0, exclude_min=True))
def test_it_is_the_exact_margin_certificate_where_the_rivals_are_one(top, weight):
    """p_B = 1 - p_A and c = 1 / (2a): section 5's closed form."""
    threshold = 0.5 / weight
    if threshold < 1:
        expected = float(exact_radius(top, 1 - top, weight, 1.0))
        # Near c = 1 a rounding of c moves z(c) by up to 2^-54 / phi(z(c)).
        assert float(threshold_radius(top, 1 - top, threshold, 1.0)) == pytest.approx(
            expected, abs=1e-9 + 1e-15 / (1 - threshold)
        )


def test_without_a_threshold_it_is_h_itself():
    top, rival = random_bounds(np.random.default_rng(1), 2_000)
    assert (threshold_radius(top, rival, 0.0, 0.5) == exact_radius(top, rival, 1.0, 0.5)).all()


def test_half_spaces_flip_just_outside_and_never_inside_at_20000_points():
    """The adversary answers anything but y wherever h_y <= c or some h_i >= h_y."""
    rng = np.random.default_rng(20261124)
    top, rival = random_bounds(rng, 20_000)
    threshold, sigma = (
        rng.uniform(0, 1, 20_000) * np.where(rng.random(20_000) < 0.8, top, 1),
        rng.uniform(0.1, 2, 20_000),
    )
    radius = threshold_radius(top, rival, threshold, sigma)

    def kept(distance):
        h_y, h_i = along(top, rival, distance / sigma)
        return (h_y > threshold) & (h_y > h_i)

    for share in (-1, -0.5, 0, 0.3, 0.9, 1 - 1e-9):
        assert kept(share * radius)[radius > 0].all()
    assert not kept(radius * (1 + 1e-9) + 1e-9 * sigma).any()
    binding = radius < exact_radius(top, rival, 1.0, sigma)
    assert min((radius > 0).sum(), (binding & (radius > 0)).sum(), (~binding & (radius > 0)).sum()) > 3_000


def test_a_table_and_given_constants():
    """Worked by hand: s/2 (z(.9) + z(.95)) = 1.463, z(.9) - z(.6) = 1.028; (.9 - .6) / .5 = .6 and (.9 - .05) / .7 > .6."""
    found = threshold_radius([0.9, 0.9, 0.5], 0.05, [[0.0], [0.6]], 1.0)
    assert found == pytest.approx(np.array([[1.46320, 1.46320, 0.82243], [1.02820, 1.02820, 0.0]]), abs=1e-5)
    given_constants = lipschitz_envelope(0.5, 0.2)
    assert float(threshold_radius(0.9, 0.05, 0.6, 1.0, envelope=given_constants)) == pytest.approx(0.6)
    assert float(threshold_radius(0.9, 0.05, 0.2, 1.0, envelope=given_constants)) == pytest.approx(0.85 / 0.7)


def test_bad_values_and_shapes_are_named():
    for value in (1.0, -0.1, np.nan):
        with pytest.raises(InvalidArgument, match=r"^threshold must be in \[0, 1\) .* got "):
            threshold_radius(0.9, 0.05, value, 1.0)
    with pytest.raises(InvalidArgument, match="^top_lower must be "):
        threshold_radius(1.0, 0.05, 0.5, 1.0)
    with pytest.raises(InvalidArgument, match=r"threshold \(2,\)"):
        threshold_radius([0.9] * 3, 0.05, [0.5] * 2, 1.0)
