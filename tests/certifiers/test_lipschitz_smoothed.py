"""The Lipschitz-aware certificate: between Theorem 3.5 and the exact one, never above the truth, and tight on ramps."""

import datetime
import os

import mpmath
import numpy as np
import pytest
from scipy import special, stats

from certmix.certification.soft import soft_bounds
from certmix.certifiers import (
    CERTIFIERS,
    exact_radius,
    lipschitz_radius,
    lipschitz_smoothed_envelope,
    lipschitz_smoothed_margin,
    lipschitz_smoothed_radius,
    smoothing_lipschitz_constant,
)
from certmix.certifiers.envelope import EXACT, lipschitz_envelope
from certmix.errors import InvalidArgument
from certmix.intervals import ProbabilityBounds
from certmix.promise import Promise
from certmix.rules import FamilyRule, ThresholdRule, threshold_radius
from certmix.verification.formulas import _clipped_ramp, certifies, certifies_threshold, number
from tests.rules.scenes import random_bounds
from tests.soft import soft_votes

SEED = datetime.date.today().toordinal()  # a new sample each day: what fails is named with its seed
POINTS = int(os.environ.get("CERTMIX_POINTS", "24"))


def _cases(count, seed=0):
    """(p_A, p_B, weight with a positive margin, threshold below p_A), many at the edges."""
    rng = np.random.default_rng(seed)
    top, rival = random_bounds(rng, count)
    margin = np.maximum(top - np.minimum(rival, 1 - top), 0.0)
    limit = 1 / (1 + margin)
    weight = np.minimum(limit + (1 - limit) * 10 ** rng.uniform(-3, 0, count), 1.0)
    return top, rival, weight, top * (1 - 10 ** rng.uniform(-6, 0, count))


def _ramp_mean(u, lipschitz):
    """E clip(L (u + Z) + 1/2, 0, 1) by another route: the tail integral of P[ramp > y] over y, by 400 nodes."""
    nodes, weights = np.polynomial.legendre.leggauss(400)
    y = 0.5 * (nodes + 1)
    return float(0.5 * weights @ special.ndtr(u - (y - 0.5) / lipschitz))


def test_worked_values():
    given = {constant: float(lipschitz_smoothed_radius(0.9, 0.05, 0.8, 1.0, constant)) for constant in (0.5, 0.25)}
    assert given == {0.5: pytest.approx(1.315, abs=5e-4), 0.25: pytest.approx(1.712, abs=5e-4)}
    assert float(exact_radius(0.9, 0.05, 0.8, 1.0)) == pytest.approx(1.139, abs=5e-4)
    assert float(lipschitz_radius(0.9, 0.05, 0.8, 0.5, 0.5)) == pytest.approx(0.6, abs=1e-9)
    scaled = lipschitz_smoothed_radius(0.9, 0.05, 0.8, 0.25, [2.0, 1.0])
    assert scaled == pytest.approx([0.25 * given[0.5], 0.25 * given[0.25]], rel=1e-10)


def test_limits_are_the_exact_certificate_and_theorem_3_5():
    top, rival, weight, c = _cases(300)
    sharp, flat = lipschitz_smoothed_envelope(1e7), lipschitz_smoothed_envelope(1.0)
    for ours, limit in (
        (lipschitz_smoothed_radius(top, rival, weight, 1.0, 1e7), exact_radius(top, rival, weight, 1.0)),
        (threshold_radius(top, rival, c, 1.0, envelope=sharp), threshold_radius(top, rival, c, 1.0)),
        (lipschitz_smoothed_radius(top, rival, weight, 1e-12, 1.0), lipschitz_radius(top, rival, weight, 1.0, 1.0)),
        (
            threshold_radius(top, rival, c, 1e-12, envelope=flat),
            threshold_radius(top, rival, c, 1.0, envelope=lipschitz_envelope(1.0, 1.0)),
        ),
    ):
        assert ours == pytest.approx(limit, abs=1e-9)
        assert (ours >= limit).all()
        assert (limit > 0).mean() > 0.5


@pytest.mark.parametrize("lipschitz", [1e-6, 0.3, 1.0, 10.0])
def test_it_is_never_below_either_certificate_and_grows_as_l_falls(lipschitz):
    top, rival, weight, c = _cases(150, seed=1)
    one, wider = lipschitz_smoothed_envelope(lipschitz), lipschitz_smoothed_envelope(lipschitz / 2)
    line = lipschitz_envelope(lipschitz, lipschitz)
    smoothing = smoothing_lipschitz_constant(1.0)
    ours = lipschitz_smoothed_radius(top, rival, weight, 1.0, lipschitz)
    assert (ours >= exact_radius(top, rival, weight, 1.0)).all()
    for constant in (lipschitz, smoothing):
        assert (ours >= lipschitz_radius(top, rival, weight, constant, constant) * (1 - 1e-12)).all()
    assert (lipschitz_smoothed_radius(top, rival, weight, 1.0, lipschitz / 2) >= ours * (1 - 1e-9)).all()
    by_threshold = threshold_radius(top, rival, c, 1.0, envelope=one)
    assert (by_threshold >= threshold_radius(top, rival, c, 1.0)).all()
    assert (by_threshold >= threshold_radius(top, rival, c, 1.0, envelope=line)).all()
    for r in (0.0, 0.4, 3.0):
        assert (one.top(top, r, 1.0) >= np.maximum(EXACT.top(top, r, 1.0), line.top(top, r, 1.0))).all()
        assert (one.rival(rival, r, 1.0) <= np.minimum(EXACT.rival(rival, r, 1.0), line.rival(rival, r, 1.0))).all()
        assert (wider.top(top, r, 1.0) >= one.top(top, r, 1.0) - 1e-10).all()
        assert (one.top(top, r, 1.0) <= top).all()
        assert (one.rival(rival, r, 1.0) >= rival).all()


def test_50_digits_without_an_overshoot_and_closely():
    top, rival, weight, c = _cases(POINTS, seed=SEED)
    lipschitz = 10 ** np.random.default_rng(SEED).uniform(-6, 6, POINTS)
    radius = lipschitz_smoothed_radius(top, rival, weight, 1.0, lipschitz)
    by_threshold = threshold_radius(top, rival, c, 1.0, envelope=lipschitz_smoothed_envelope(lipschitz))
    for i in range(POINTS):
        p_a, p_b, constant = (number(float(v[i])) for v in (top, rival, lipschitz))
        for formula, parameter, r in ((certifies, weight[i], radius[i]), (certifies_threshold, c[i], by_threshold[i])):
            where = f"seed {SEED}, point {i}: {top[i]!r}, {rival[i]!r}, {lipschitz[i]!r}, {parameter!r}, radius {r!r}"
            how = ("lipschitz-smoothed", (p_a, p_b), number(float(parameter)))
            if r > 0:
                assert formula(*how, number(float(r)), lipschitz=constant), where
            more = number(float(r)) * (1 + number(1e-9)) + number(1e-9) + number(1e-10) / constant
            assert not formula(*how, more, lipschitz=constant), where
    assert (radius > 0).mean() > 0.6


def test_curves_and_inverses_against_50_digits():
    context = mpmath.MPContext()
    context.dps = 50
    for half_width, u in ((0.5, 0.3), (2.0, -1.7), (30.0, -29.0), (1e-3, -2.0)):
        half = context.mpf(half_width)

        def ramp(z, u=u, half=half):
            return min(max((u + z) / (2 * half) + 0.5, 0), 1) * context.npdf(z)

        ends = sorted({-12, *(float(np.clip(e, -12, 12)) for e in (-u - half_width, -u + half_width)), 12})
        assert float(_clipped_ramp(number(u), number(half_width))) == pytest.approx(
            float(context.quad(ramp, ends)), rel=1e-12
        )
    rng = np.random.default_rng(5)
    top, c, sigma, some = (rng.uniform(*ends, 300) for ends in ((0.05, 0.99), (0.02, 0.98), (0.1, 2), (0.05, 5)))
    for lipschitz in (some, 1e-4 * some, 1e4 * some):
        one = lipschitz_smoothed_envelope(lipschitz)
        kept, silent = one.top_radius(top, c, sigma), one.rival_radius(c, top, sigma)
        above = top > c
        assert one.top(top, kept, sigma)[above] == pytest.approx(c[above], abs=2e-10)
        assert one.rival(c, silent, sigma)[above] == pytest.approx(top[above], abs=2e-10)
        assert (kept[~above] == 0).all()
        rival = np.minimum(c, 1 - top) * 0.9
        radius = lipschitz_smoothed_radius(top, rival, 0.8, sigma, lipschitz)
        margin = lipschitz_smoothed_margin(top, rival, radius, sigma, lipschitz)
        assert margin[radius > 0] == pytest.approx(0.25, abs=1e-9)
        assert (radius > 0).any()


def _random_functions(rng, count, lipschitz, knots):
    """Values at equidistant knots, shape (count, knots): walks in [0, 1] of slope at most L, most at full slope."""
    step = lipschitz * (knots[1] - knots[0])
    full = rng.random((count, len(knots) - 1)) < rng.random((count, 1))
    turns = np.where(rng.random(full.shape) < 10 ** rng.uniform(-2.5, 0, (count, 1)), -1.0, 1.0).cumprod(axis=1)
    walk = np.where(full, turns, rng.uniform(-1, 1, full.shape)) * step * rng.choice([-1.0, 1.0], (count, 1))
    values = np.empty((count, len(knots)))
    values[:, 0] = rng.choice([0.0, 1.0, 0.5], count)
    for j in range(walk.shape[1]):
        values[:, j + 1] = np.clip(values[:, j] + walk[:, j], 0.0, 1.0)
    return values


def _smoothed(values, knots, shift):
    """E f(Z + shift), exactly: f is linear between knots and constant outside."""
    y = knots - shift
    integral = y * special.ndtr(-y) - np.exp(-0.5 * y * y) / np.sqrt(2 * np.pi)  # of P[Z > y]
    slopes = np.diff(values, axis=1) / np.diff(knots)
    return values[:, 0] + slopes @ np.diff(integral)


def test_10_000_random_lipschitz_functions_stay_inside():
    """Mostly walks at full slope, so that the curves are nearly met."""
    rng, knots, closest = np.random.default_rng(2), np.linspace(-6, 6, 91), np.inf
    for lipschitz in (0.1, 0.25, 0.5, 1.0, 3.0):
        envelope = lipschitz_smoothed_envelope(lipschitz)
        values = _random_functions(rng, 2_000, lipschitz, knots)
        start = np.clip(_smoothed(values, knots, 0.0), 1e-12, 1 - 1e-12)
        assert start.std() > 0.05
        for shift in (-2.0, -0.5, 0.1, 1.0):
            moved = _smoothed(values, knots, shift)
            low, high = envelope.top(start, abs(shift), 1.0), envelope.rival(start, abs(shift), 1.0)
            assert (moved >= low - 1e-12).all()
            assert (moved <= high + 1e-12).all()
            closest = min(closest, np.min((moved - low)[low > 0.02]))
    assert closest < 0.02


def test_any_dimension_is_one_dimension():
    """Bowls and pyramids in the plane, L-Lipschitz in l2, smoothed on a grid."""
    rng, lipschitz = np.random.default_rng(3), 0.6
    grid = np.linspace(-6, 6, 81)
    x = np.stack(np.meshgrid(grid, grid), axis=-1).reshape(-1, 2)

    def mean_at(f, shift):
        weights = np.exp(-0.5 * ((x - shift) ** 2).sum(axis=1))
        return float(weights @ f / weights.sum())

    envelope = lipschitz_smoothed_envelope(lipschitz)
    for _ in range(30):
        centres = rng.normal(0, 1.5, (3, 2))
        cones = lipschitz * np.linalg.norm(x[:, None] - centres, axis=2) + rng.uniform(-0.5, 0.5, 3)
        f = np.clip(cones.min(axis=1) if rng.random() < 0.5 else 1 - cones.min(axis=1), 0, 1)
        direction = rng.normal(size=2)
        shift = rng.uniform(0.2, 2) * direction / np.linalg.norm(direction)
        start, moved, r = mean_at(f, np.zeros(2)), mean_at(f, shift), float(np.linalg.norm(shift))
        assert envelope.top(start, r, 1.0) - 3e-4 <= moved <= envelope.rival(start, r, 1.0) + 3e-4


@pytest.mark.parametrize("lipschitz", [0.2, 1.0, 5.0])
def test_ramps_attain_it(lipschitz):
    """Class y on a falling ramp, the rival on a rising one: the envelope is met, and the mixture falls just outside."""
    envelope = lipschitz_smoothed_envelope(lipschitz)
    for u, gap in ((0.4, 0.0), (1.5, 0.7), (2.5, 0.1)):
        own = lambda t, u=u: _ramp_mean(u - t, lipschitz)  # noqa: E731
        other = lambda t, u=u, gap=gap: _ramp_mean(-u - gap + t, lipschitz)  # noqa: E731
        top, rival = own(0.0), other(0.0)
        for r in (0.1, 1.0, 2.0):
            assert float(envelope.top(top, r, 1.0)) == pytest.approx(own(r), abs=1e-9)
            assert float(envelope.rival(rival, r, 1.0)) == pytest.approx(other(r), abs=1e-9)
        weight = 1 / (1 + 0.4 * (top - rival))
        radius = float(lipschitz_smoothed_radius(top, rival, weight, 1.0, lipschitz))
        assert radius > 0
        for share, sign in ((1 - 1e-6, 1), (1 + 1e-6, -1)):
            t = radius * share
            assert np.sign(weight * (own(t) - other(t)) - (1 - weight)) == sign


def test_false_claims_from_draws_are_as_rare_as_promised():
    """Draws of two ramps, bounds of their means, radii of both rules against the true ones."""
    rng, err, lipschitz, u, count = np.random.default_rng(8), 0.1, 0.5, 0.9, 300
    drawn = np.clip(lipschitz * (u - rng.standard_normal((count, 660))) + 0.5, 0, 1)
    votes = np.stack([drawn, 1 - drawn], axis=2)
    promise = Promise(err, votes="soft", mean_bound="bernstein", lipschitz=lipschitz)
    bounds = soft_bounds(soft_votes(votes[:, :60], votes[:, 60:]), promise, sigma=1.0)
    assert (bounds.prediction == 0).mean() > 0.9
    certifier = CERTIFIERS["lipschitz-smoothed"].supposing(lipschitz)
    t = np.linspace(0, 4, 501)
    own = np.array([_ramp_mean(u - r, lipschitz) for r in t])
    for radius, held in (
        (certifier.certify(bounds, 0.8), 2 * own - 1 > 0.25),
        (ThresholdRule(0.55).radius(certifier, bounds), own > 0.55),
    ):
        truth = t[held].max()
        false = int(((bounds.prediction == 0) & (radius > truth + 0.008)).sum())
        assert false <= stats.binom.ppf(1 - 1e-6, count, err)
        assert np.median(radius) > 0.4 * truth


def test_other_rules_take_the_envelope():
    envelope = lipschitz_smoothed_envelope(0.5)
    bounds = ProbabilityBounds(np.array([0]), np.array([0.9]), np.array([0.05]), 1.0)
    certifier = CERTIFIERS["lipschitz-smoothed"].supposing(0.5)
    by_family = FamilyRule(0.25, rival_weight=1.0).radius(certifier, bounds)
    assert by_family == pytest.approx(certifier.certify(bounds, 0.8), abs=1e-6)
    assert FamilyRule(0.3, rival_weight=0.0).radius(certifier, bounds) == pytest.approx(
        threshold_radius(0.9, 0.05, 0.3, 1.0, envelope=envelope), abs=1e-6
    )


def test_extremes_stay_in_range():
    tops, rivals = [0.0, 1e-310, 0.5, 1 - 2.0**-53], [5e-324, 1e-300, 0.5, 1.0]
    top, rival, constant, sigma = np.meshgrid(tops, rivals, [1e-160, 1.0, 1e160], [1e-150, 1.0, 1e150])
    envelope = lipschitz_smoothed_envelope(constant)
    radii = [
        lipschitz_smoothed_radius(top, rival, 1.0, sigma, constant),
        envelope.top_radius(top, 0.0, sigma),
        envelope.rival_radius(rival, 0.9, sigma),
    ]
    for radius in radii:
        assert (np.isfinite(radius) & (radius >= 0)).all()
        for at in (radius, 1e308):
            assert ((envelope.top(top, at, sigma) >= 0) & (envelope.top(top, at, sigma) < 1)).all()
            assert ((envelope.rival(rival, at, sigma) > 0) & (envelope.rival(rival, at, sigma) <= 1)).all()
            assert (np.abs(lipschitz_smoothed_margin(top, rival, at, sigma, constant)) <= 1).all()
    assert (lipschitz_smoothed_radius(0.9, 0.1, [0.0, 0.3, 0.5], 1.0, 1.0) == 0).all()
    assert lipschitz_smoothed_radius(np.full((3, 1), 0.9), 0.1, np.ones(4), 1.0, 1.0).shape == (3, 4)


def test_bad_values_are_named():
    for value in (0.0, -1.0, np.inf, np.nan):
        with pytest.raises(InvalidArgument, match=r"^lipschitz must be > 0 and finite"):
            lipschitz_smoothed_radius(0.9, 0.1, 0.8, 1.0, value)
        with pytest.raises(InvalidArgument, match=r"^lipschitz must be > 0 and finite"):
            Promise(votes="soft", lipschitz=value)
    with pytest.raises(InvalidArgument, match=r"lipschitz needs votes 'soft', .* got 'hard'"):
        Promise(lipschitz=1.0)
    with pytest.raises(InvalidArgument, match=r"certifier 'lipschitz-smoothed' needs lipschitz"):
        CERTIFIERS["lipschitz-smoothed"].supposing(None)
    with pytest.raises(InvalidArgument, match=r"^sigma must be > 0"):
        lipschitz_smoothed_envelope(1.0).top(0.9, 0.1, 0.0)
    with pytest.raises(InvalidArgument, match=r"shapes must broadcast together"):
        lipschitz_smoothed_radius([0.9] * 3, 0.1, [0.8] * 2, 1.0, 1.0)
