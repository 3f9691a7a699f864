"""The table of integer noise: its numbers, and that the network sees a function of x + noise."""

import itertools
from concurrent.futures import ThreadPoolExecutor

import mpmath
import numpy as np
import pytest

from certmix.errors import InvalidArgument
from certmix.noise.table import clip_range, probabilities, table_hash, thresholds, total_variation


@pytest.mark.parametrize(("sigma", "levels"), [(0.25, 255), (1.0, 255), (0.12, 16), (0.5, 16)])
def test_the_table_equals_an_independent_high_precision_computation(sigma, levels):
    table = thresholds(sigma, levels)
    reach = len(table) // 2
    generator = np.random.default_rng(0)
    with mpmath.workdps(60):
        for j in [*generator.integers(0, 2 * reach, 60), 0, 2 * reach - 1, reach, reach - 1]:
            edge = (2 * (int(j) - reach) + 1) / (mpmath.mpf(2) * levels * mpmath.mpf(sigma))
            exact = mpmath.erfc(-edge / mpmath.sqrt(2)) / 2 * 2**64
            assert int(table[j]) == min(int(mpmath.floor(exact)), 2**64 - 1)
    assert (np.diff(table.astype(object)) >= 0).all()


def test_the_table_is_the_same_when_threads_compute_it_side_by_side():
    alone = {sigma: thresholds.__wrapped__(sigma, 255) for sigma in (0.25, 0.26, 0.5, 0.51)}
    with ThreadPoolExecutor(4) as pool, mpmath.workdps(5):
        together = list(pool.map(lambda sigma: thresholds.__wrapped__(sigma, 255), list(alone) * 3))
    for table, sigma in zip(together, list(alone) * 3, strict=True):
        assert np.array_equal(table, alone[sigma])


def _drawn(x, sigma, levels, clipped):
    """Exact law of what the network sees at grid point x: {steps: probability}, in 2^-64."""
    edges = [0, *(int(value) for value in thresholds(sigma, levels)), 2**64]
    low, reach = clip_range(sigma, levels)
    law = {}
    for place, (left, right) in enumerate(itertools.pairwise(edges)):
        value = x + place - reach
        value = min(max(value, low), reach) if clipped else value
        law[value] = law.get(value, 0) + right - left
    return {value: mpmath.mpf(weight) / 2**64 for value, weight in law.items()}


def _certified(x, sigma, levels, clipped):
    """Law of round(G (x + noise)) with true Gaussian noise, with the clip or without (then to 12 sigma)."""
    low, high = clip_range(sigma, levels)
    if not clipped:
        low, high = x - int(12 * sigma * levels), x + int(12 * sigma * levels)
    scale = sigma * levels
    law, before = {}, mpmath.mpf(0)
    for value in range(low, high + 1):
        upto = mpmath.ncdf((value + mpmath.mpf(1) / 2 - x) / scale) if value < high else mpmath.mpf(1)
        law[value], before = upto - before, upto
    return law


def _apart(left, right):
    return sum(abs(left.get(value, 0) - right.get(value, 0)) for value in {**left, **right}) / 2


@pytest.mark.parametrize(("sigma", "levels"), [(0.333, 255), (0.25, 16), (0.5, 16), (0.05, 16), (1.0, 4)])
def test_the_network_sees_a_function_of_the_noisy_input_up_to_the_stated_distance(sigma, levels):
    with mpmath.workdps(40):
        for x in (0, 1, levels // 2, levels):
            apart = _apart(_drawn(x, sigma, levels, True), _certified(x, sigma, levels, True))
            assert apart <= total_variation(sigma, levels, 1)


def test_without_the_clip_the_distance_would_be_the_mass_beyond_reach():
    size = 3 * 224 * 224
    with mpmath.workdps(40):
        apart = float(_apart(_drawn(0, 0.333, 255, False), _certified(0, 0.333, 255, False)))
    assert apart * size == pytest.approx(2.8e-4, rel=0.1)
    assert total_variation(0.333, 255, size) < 2e-11


@pytest.mark.parametrize("clipped", [True, False])
def test_no_event_moves_faster_than_gaussian_noise_lets_it(clipped):
    # Neyman and Pearson: for y = x + noise no event can gain more than Phi(z + shift / sigma) between two inputs, whatever
    # function of y is shown. "Further than reach" does without the clip: 0 at x = 0, 1.35e-3 at x = 1.
    sigma, levels = 0.333, 16
    low, reach = clip_range(sigma, levels)
    with mpmath.workdps(40):
        slack, worst = mpmath.mpf(total_variation(sigma, levels, 1)), mpmath.mpf(0)
        laws = [_drawn(x, sigma, levels, clipped) for x in range(levels + 1)]
        for x, bound in ((x, bound) for x in range(1, levels + 1) for bound in range(low - levels, reach + levels)):
            here, there = (sum(p for value, p in law.items() if value > bound) for law in (laws[0], laws[x]))
            most = mpmath.ncdf(_z(here + slack) + mpmath.mpf(x) / (levels * mpmath.mpf(sigma)))
            worst = max(worst, there - most - slack)
    assert (worst == 0) == clipped
    assert clipped or worst > 9e-4


def _z(p):
    return mpmath.sqrt(2) * mpmath.erfinv(2 * p - 1) if p < 1 else mpmath.inf


def test_the_clip_reaches_equally_far_on_both_sides_of_the_box():
    for sigma in (0.05, 0.12, 0.25, 1 / 3, 0.333, 0.5, 1.0, 2.0):
        low, high = clip_range(sigma, 16)
        assert low + high == 16
        assert high == len(thresholds(sigma, 16)) // 2 >= 6 * sigma * 16


@pytest.mark.parametrize(
    ("sigma", "levels", "message"),
    [
        (40.0, 255, r"sigma must be >= 0\.00196 .* and < 20\.7 .*, got 40\.0; use float"),
        (5e-4, 255, "half a step of the grid 1/255; rounding takes smaller noise away"),
        (0.0, 16, "sigma must be"),
        (-1.0, 16, "sigma must be"),
        (float("nan"), 16, "sigma must be"),
        (float("inf"), 16, "sigma must be"),
        (0.5, 0, r"grid levels must be in 1\.\.10666"),
        (0.5, 65_535, r"grid levels must be in 1\.\.10666"),
    ],
)
def test_a_sigma_or_grid_that_the_table_cannot_hold_is_refused(sigma, levels, message):
    with pytest.raises(InvalidArgument, match=message) as caught:
        thresholds(sigma, levels)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("sigma", "levels"), [(0.5 / 16, 16), (0.5 / 255, 255), (0.1, 10_666), (20.6, 255)])
def test_the_ends_of_the_allowed_range_fit_sixteen_bits(sigma, levels):
    assert clip_range(sigma, levels)[1] + levels <= 32_000
    if levels <= 16:
        assert probabilities(sigma, levels).sum() == pytest.approx(1.0)


def test_the_hash_tells_sigmas_grids_and_clips_apart():
    assert len({table_hash(sigma, levels) for sigma in (0.25, 0.5) for levels in (8, 16)}) == 4
