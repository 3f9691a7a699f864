"""The CDF certificate: the exact one on hard votes, and never above the truth on functions that are known."""

import numpy as np
import pytest
from scipy import integrate, special

from certmix.certifiers import cdf_margin, cdf_radius, exact_margin, exact_radius
from certmix.certifiers.cdf import cdf_top_radius
from certmix.certifiers.exact import exact_top_radius
from certmix.errors import InvalidArgument
from certmix.intervals.histograms import THRESHOLDS

WEIGHTS = [0.5, 0.6, 0.75, 0.9, 1.0]


def _hard_tails(top, rival):
    """P[D >= s] of D = 1 with probability top, -1 with probability rival, else 0."""
    return np.where(THRESHOLDS[1:] > 0, top, 1.0 - rival)


@pytest.mark.parametrize(("top", "rival"), [(0.9, 0.05), (0.99, 0.01), (0.6, 0.3), (0.4, 0.001), (0.5, 0.5)])
def test_on_hard_votes_it_is_the_exact_certificate(top, rival):
    tails = _hard_tails(top, rival)[None, None]
    ours, exact = cdf_radius(tails, THRESHOLDS, WEIGHTS, 0.5)[:, 0], exact_radius(top, rival, WEIGHTS, 0.5)
    # Thresholds lie 2 units of 2^-20 below the grid, so that values rounded down still reach them.
    assert ours == pytest.approx(exact, abs=2e-4)
    assert (ours <= exact + 1e-12).all()
    for radius in (0.0, 0.2, 0.7):
        margin = float(cdf_margin(tails[0, 0], THRESHOLDS, radius, 0.5))
        assert margin == pytest.approx(float(exact_margin(top, rival, radius, 0.5)), abs=1e-5)


def _difference(scale):
    """A soft base classifier's difference of two probabilities along one direction, and its smoothed value."""

    def smoothed(at, sigma):
        value, _ = integrate.quad(
            lambda z: np.tanh(scale * (at + sigma * z)) * np.exp(-z * z / 2) / np.sqrt(2 * np.pi), -10, 10, limit=200
        )
        return value

    return smoothed


@pytest.mark.parametrize("scale", [0.5, 2.0, 20.0])
@pytest.mark.parametrize("distance", [0.3, 1.0, 2.0])
def test_radii_from_the_true_distribution_never_exceed_the_truth(scale, distance):
    sigma, smoothed = 0.5, _difference(scale)
    # D = tanh(scale (distance + sigma z)) >= s  <=>  z >= (atanh(s) / scale - distance) / sigma
    with np.errstate(divide="ignore"):
        tails = special.ndtr(-(np.arctanh(THRESHOLDS[1:]) / scale - distance) / sigma)
    tails = np.minimum(tails, 1 - 1e-16)
    for weight in (0.6, 0.8, 1.0):
        radius = float(cdf_radius(tails[None, None], THRESHOLDS, weight, sigma)[0, 0])
        needed = (1 - weight) / weight
        if radius > 0:
            assert smoothed(distance - radius, sigma) >= needed - 1e-7
            assert smoothed(distance - radius * 1.5 - 0.3, sigma) < max(needed, 0.9)  # and it is not vacuous
        margin = cdf_margin(tails, THRESHOLDS, 0.3, sigma)
        assert float(margin) <= smoothed(distance - 0.3, sigma) + 1e-9


def test_it_is_no_worse_than_the_mean_alone_allows_and_falls_with_weight_and_more_rivals():
    generator = np.random.default_rng(0)
    tails = np.sort(generator.random((20, 3, 64)), axis=2)[..., ::-1] * 0.999
    radii = cdf_radius(tails, THRESHOLDS, WEIGHTS, 1.0)
    assert (np.diff(radii, axis=0) >= -1e-12).all()
    assert (radii[0] == 0).all()  # weight 1/2
    assert (cdf_radius(tails[:, :1], THRESHOLDS, WEIGHTS, 1.0) >= radii - 1e-12).all()
    assert np.isfinite(radii).all()
    at = np.linspace(0, 2, 20)
    assert (np.diff(cdf_margin(tails[0, 0], THRESHOLDS, at, 1.0)) <= 0).all()
    assert cdf_radius(np.zeros((2, 1, 64)), THRESHOLDS, 1.0, 1.0).tolist() == [[0.0, 0.0]]
    assert cdf_radius(np.zeros((0, 1, 64)), THRESHOLDS, 1.0, 1.0).shape == (1, 0)


def test_bad_arguments_are_named():
    with pytest.raises(InvalidArgument, match="mixing_weight must be in"):
        cdf_radius(np.zeros((1, 1, 64)), THRESHOLDS, 1.5, 1.0)
    with pytest.raises(InvalidArgument, match="sigma must be > 0"):
        cdf_margin(np.zeros(64), THRESHOLDS, 0.1, 0.0)


def test_the_curve_of_hard_votes_is_that_of_the_exact_envelope():
    steps = (1.0 + THRESHOLDS) / 2
    top, confidence = np.array([0.2, 0.6, 0.95]), np.array([0.0, 0.3, 0.7])
    tails = np.broadcast_to(top[:, None], (3, len(steps) - 1))
    ours, exact = cdf_top_radius(tails, steps, confidence[1:], 0.5), exact_top_radius(top, confidence[1:, None], 0.5)
    assert ours == pytest.approx(exact, abs=1e-4)
    assert (ours <= exact + 1e-12).all()
    assert (cdf_top_radius(tails, steps, confidence, 0.5)[0] > 1).all()


@pytest.mark.parametrize("scale", [0.5, 2.0, 20.0])
@pytest.mark.parametrize("distance", [0.3, 1.0, 2.0])
def test_confidence_stays_above_the_threshold_inside_and_more_is_known_than_from_the_mean(scale, distance):
    """p_y = (1 + tanh(scale u)) / 2 along the worst direction, from its true tails and from its true mean."""
    sigma, smoothed, steps = 0.5, _difference(scale), (1.0 + THRESHOLDS) / 2
    with np.errstate(divide="ignore"):
        tails = special.ndtr(-(np.arctanh(2 * steps[1:] - 1) / scale - distance) / sigma)
    tails, mean = np.minimum(tails, 1 - 1e-16)[None], (1 + smoothed(distance, sigma)) / 2
    for c in (0.3, 0.5, 0.6):
        radius = float(cdf_top_radius(tails, steps, c, sigma)[0, 0])
        assert radius == 0 or (1 + smoothed(distance - radius, sigma)) / 2 >= c - 1e-7
        if mean > c + 0.02:
            gain = {0.5: 2.5, 2.0: 1.15, 20.0: 0.95}[scale]  # the softer the votes, the more the distribution tells
            assert radius > gain * float(exact_top_radius(mean, c, sigma))
            assert (1 + smoothed(distance - radius - 0.1, sigma)) / 2 < c
