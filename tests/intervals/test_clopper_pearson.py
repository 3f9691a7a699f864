"""Clopper-Pearson: the statsmodels oracle, 50 digits, and exact coverage by summing the binomial."""

import mpmath
import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

from certmix.intervals import clopper_pearson_lower, clopper_pearson_upper


@pytest.mark.parametrize("err", [0.05, 1e-3, 1e-6])
@pytest.mark.parametrize("n", [1, 10, 1000, 100_000])
def test_the_oracle_agrees_and_ours_is_on_the_safe_side(n, err):
    k = np.unique(np.concatenate([[0, 1, n // 2, n - 1, n], np.random.default_rng(0).integers(0, n + 1, 50)]))
    low, high = proportion_confint(k, n, alpha=2 * err, method="beta")
    assert clopper_pearson_lower(k, n, err) == pytest.approx(low, rel=1e-9, abs=1e-12)
    assert clopper_pearson_upper(k, n, err) == pytest.approx(high, rel=1e-9, abs=1e-12)


def test_both_bounds_are_on_the_safe_side_at_50_digits():
    g = np.random.default_rng(1)
    with mpmath.workdps(50):
        for _ in range(60):
            n = int(10 ** g.uniform(0, 4))
            k, err = int(g.integers(0, n + 1)), float(10 ** g.uniform(-5, -1))
            low, high = float(clopper_pearson_lower(k, n, err)), float(clopper_pearson_upper(k, n, err))
            assert 0 <= low < 1
            assert 0 < high <= 1
            if k:  # P[Binomial(n, low) >= k] must not exceed err
                assert mpmath.betainc(k, n - k + 1, 0, mpmath.mpf(low), regularized=True) <= err
            if k < n:
                assert mpmath.betainc(n - k, k + 1, 0, 1 - mpmath.mpf(high), regularized=True) <= err


@pytest.mark.parametrize("err", [0.05, 0.01])
@pytest.mark.parametrize("n", [5, 30, 200])
def test_coverage_is_never_below_the_promise(n, err):
    k = np.arange(n + 1)
    low, high = clopper_pearson_lower(k, n, err), clopper_pearson_upper(k, n, err)
    for p in np.concatenate([np.linspace(0, 1, 201), low[1:], high[:-1]]):
        mass = stats.binom.pmf(k, n, p)
        assert mass[low > p].sum() <= err * (1 + 1e-9)
        assert mass[high < p].sum() <= err * (1 + 1e-9)


def test_unanimous_votes_keep_the_tail_exact():
    tail = 1.0 - float(clopper_pearson_lower(10_000, 10_000, 1e-3))
    assert tail == pytest.approx(-np.expm1(np.log(1e-3) / 10_000), rel=1e-9)
    assert float(clopper_pearson_upper(0, 10_000, 1e-3)) == pytest.approx(tail, rel=1e-9)
