"""Bounds on means from histograms: coverage in seeded simulations, and how tight they are."""

import numpy as np
import pytest
from scipy import stats

from certmix.intervals import (
    betting_lower,
    betting_upper,
    empirical_bernstein_lower,
    empirical_bernstein_upper,
    hoeffding_lower,
    hoeffding_upper,
)
from tests.soft import values_histogram

# Laws on [0, 1] with their means: flat, confident, at the edges, with mass at 0 and 1 (underflow), nearly constant.
LAWS = {
    "uniform": (lambda g, shape: g.random(shape), 0.5),
    "confident": (lambda g, shape: g.beta(9.0, 0.1, shape), 9.0 / 9.1),
    "coin": (lambda g, shape: (g.random(shape) < 0.3).astype(float), 0.3),
    "nearly 1": (lambda g, shape: (g.random(shape) < 0.995).astype(float), 0.995),
    "rarely not 0": (lambda g, shape: (g.random(shape) < 0.01).astype(float), 0.01),
    "constant": (lambda g, shape: np.full(shape, 0.625), 0.625),
    "two points": (lambda g, shape: np.where(g.random(shape) < 0.5, 0.499, 0.501), 0.5),
}
LOWER = {"betting": betting_lower, "bernstein": empirical_bernstein_lower, "hoeffding": hoeffding_lower}
UPPER = {"betting": betting_upper, "bernstein": empirical_bernstein_upper, "hoeffding": hoeffding_upper}


def _bound(function, name, values, selection, err):
    return function(values, selection, err) if name == "betting" else function(values, err)


@pytest.mark.parametrize("err", [0.05, 0.01])
@pytest.mark.parametrize("law", LAWS)
@pytest.mark.parametrize("name", LOWER)
def test_a_bound_is_wrong_no_more_often_than_stated(name, law, err):
    draw, mean = LAWS[law]
    generator = np.random.default_rng(7)
    runs, n = 1500, 150
    values, selection = values_histogram(draw(generator, (runs, n))), values_histogram(draw(generator, (runs, 30)))
    for function, wrong in ((LOWER[name], np.greater), (UPPER[name], np.less)):
        # What is stored of a value is up to 2 units of 2^-20 less: the mean that a lower bound must not exceed is lower,
        # too, so the test is of the stored values' own mean, from above for upper bounds.
        bound = _bound(function, name, values, selection, err)
        misses = int(wrong(bound, mean if wrong is np.greater else mean - 2.0**-19).sum())
        assert stats.binomtest(misses, runs, err, alternative="greater").pvalue > 1e-4, misses


@pytest.mark.parametrize("err", [0.05, 1e-3, 1e-6])
def test_bounds_are_in_range_on_the_right_side_and_ordered(err):
    generator = np.random.default_rng(0)
    values = np.concatenate([generator.random((5, 400)), np.zeros((1, 400)), np.ones((1, 400)), np.eye(400)[:2]])
    data, selection = values_histogram(values), values_histogram(values[:, :50])
    for name in LOWER:
        low, high = (_bound(side[name], name, data, selection, err) for side in (LOWER, UPPER))
        assert ((low >= 0) & (low < 1) & (high > 0) & (high <= 1)).all()
        assert (low <= values.mean(axis=1)).all()
        assert (high >= values.mean(axis=1) - 2.0**-19).all()
        tighter = _bound(LOWER[name], name, data, selection, err / 10)
        assert (tighter <= low + 1e-12).all()


def test_a_cap_changes_no_bound_that_is_below_it():
    generator = np.random.default_rng(1)
    data, selection = (
        values_histogram(generator.beta(5, 1, (30, 500))),
        values_histogram(generator.beta(5, 1, (30, 50))),
    )
    free = betting_lower(data, selection, 1e-3)
    capped = betting_lower(data, selection, 1e-3, at_most=0.8)
    assert capped == pytest.approx(np.minimum(free, 0.8), abs=1e-9)
    assert (betting_upper(data, selection, 1e-3, at_least=0.9) >= 0.9 - 1e-9).all()


def _beta_law(mean, spread):
    size = mean * (1 - mean) / spread**2 - 1
    return mean * size, (1 - mean) * size


@pytest.mark.parametrize(
    ("mean", "spread", "gaps"),
    [(0.986, 0.043, (0.0186, 0.0035, 0.0020)), (0.775, 0.249, (0.0191, 0.0120, 0.0099))],
)
def test_the_gap_to_the_true_mean_is_as_published_within_15_percent(mean, spread, gaps):
    generator = np.random.default_rng(3)
    first, second = _beta_law(mean, spread)
    data = values_histogram(generator.beta(first, second, (40, 10_000)))
    selection = values_histogram(generator.beta(first, second, (40, 100)))
    found = (
        (mean - hoeffding_lower(data, 1e-3)).mean(),
        (mean - empirical_bernstein_lower(data, 1e-3)).mean(),
        (mean - betting_lower(data, selection, 1e-3)).mean(),
    )
    assert found == pytest.approx(gaps, rel=0.15)


@pytest.mark.parametrize("parameters", [(0.5, 0.5), (2.0, 2.0), (30.0, 0.5), (1.0, 30.0), (200.0, 20.0)])
def test_betting_beats_hoeffding_and_bernstein_on_every_kind_of_scores(parameters):
    generator = np.random.default_rng(4)
    data, selection = (values_histogram(generator.beta(*parameters, (20, draws))) for draws in (10_000, 100))
    mean = parameters[0] / sum(parameters)
    betting, bernstein, hoeffding = (
        (mean - bound).mean()
        for bound in (
            betting_lower(data, selection, 1e-3),
            empirical_bernstein_lower(data, 1e-3),
            hoeffding_lower(data, 1e-3),
        )
    )
    assert 0 < betting < 1.02 * min(bernstein, hoeffding)
