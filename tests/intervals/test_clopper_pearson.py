"""Clopper-Pearson: the statsmodels oracle, binomial tails at 50 digits, and exact coverage by summing the binomial."""

import mpmath
import numpy as np
import pytest
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

from certmix.errors import InvalidArgument
from certmix.intervals import clopper_pearson_lower, clopper_pearson_upper


@pytest.mark.parametrize("err", [0.05, 1e-3, 1e-6])
@pytest.mark.parametrize("n", [1, 10, 1000, 100_000])
def test_the_oracle_agrees_and_ours_is_on_the_safe_side(n, err):
    k = np.unique(np.concatenate([[0, 1, n // 2, n - 1, n], np.random.default_rng(0).integers(0, n + 1, 50)]))
    low, high = proportion_confint(k, n, alpha=2 * err, method="beta")
    # The slack is relative to the upper tail 1 - L, so a lower bound near 0 gives up 1e-11 of 1, not of itself.
    assert clopper_pearson_lower(k, n, err) == pytest.approx(low, rel=1e-9, abs=2e-11)
    assert clopper_pearson_upper(k, n, err) == pytest.approx(high, rel=1e-9, abs=0)


def _at_least(k: int, n: int, p: mpmath.mpf) -> mpmath.mpf:
    """P[Binomial(n, p) >= k], term by term with a geometric bound on the rest: the definition, no beta function."""
    term = mpmath.binomial(n, k) * p**k * (1 - p) ** (n - k)
    total = mpmath.mpf(0)
    for j in range(k, n + 1):
        total += term
        ratio = (n - j) * p / ((j + 1) * (1 - p))  # falls with j
        term *= ratio
        if ratio < 1 and term / (1 - ratio) < total * mpmath.mpf(10) ** -26:
            break
    return total * (1 + mpmath.mpf(10) ** -25)


@pytest.mark.parametrize("n", [1, 7, 100, 10_000, 100_000])
@pytest.mark.parametrize("err", [0.05, 1e-3, 1e-6])
def test_both_bounds_are_on_the_safe_side_at_50_digits_and_tight(n, err):
    g = np.random.default_rng(n)
    for k in sorted({0, 1, n - 1, n, n - n // 1000, *g.integers(0, n + 1, 4).tolist()}):
        low, high = float(clopper_pearson_lower(k, n, err)), float(clopper_pearson_upper(k, n, err))
        assert 0 <= low < 1
        assert 0 < high <= 1
        with mpmath.workdps(50):
            for votes, p in ((k, mpmath.mpf(low)), (n - k, 1 - mpmath.mpf(high))):
                if votes:  # P[Binomial(n, p) >= votes] must not exceed err, and would, a little further on
                    assert _at_least(votes, n, p) <= err
                    assert _at_least(votes, n, p + 3e-11) > err
                else:
                    assert p == 0


@pytest.mark.parametrize("err", [0.05, 0.01])
@pytest.mark.parametrize("n", [5, 30, 200])
def test_coverage_is_never_below_the_promise(n, err):
    k = np.arange(n + 1)
    low, high = clopper_pearson_lower(k, n, err), clopper_pearson_upper(k, n, err)
    for p in np.concatenate([np.linspace(0, 1, 201), np.nextafter(low[1:], 0), np.nextafter(high[:-1], 1)]):
        mass = stats.binom.pmf(k, n, p)
        assert mass[low > p].sum() <= err * (1 + 1e-9)
        assert mass[high < p].sum() <= err * (1 + 1e-9)


def test_unanimous_votes_keep_the_tail_exact():
    tail = 1.0 - float(clopper_pearson_lower(10_000, 10_000, 1e-3))
    assert tail == pytest.approx(-np.expm1(np.log(1e-3) / 10_000), rel=1e-9)
    assert float(clopper_pearson_upper(0, 10_000, 1e-3)) == pytest.approx(tail, rel=1e-9)


@pytest.mark.parametrize(("n", "k"), [(10**7, 5), (10**7, 300), (10**8, 1), (10**9, 1000), (10**9, 18)])
@pytest.mark.parametrize("err", [5e-4, 1e-6])
def test_millions_of_draws_are_on_the_safe_side_too(n, k, err):
    with mpmath.workdps(50):
        low, high = float(clopper_pearson_lower(n - k, n, err)), float(clopper_pearson_upper(k, n, err))
        # P[at least n - k votes] at the lower bound is the mirror image of P[at most k] of the other class.
        for p in (1 - mpmath.mpf(low), mpmath.mpf(high)):
            at_most = sum(mpmath.binomial(n, j) * p**j * (1 - p) ** (n - j) for j in range(min(k, 3000) + 1))
            assert at_most <= err
    assert high == pytest.approx(stats.beta.isf(err, k + 1, n - k), rel=2e-5)


def test_more_draws_than_were_checked_are_refused():
    with pytest.raises(InvalidArgument, match="draws per input must be at most 1000000000"):
        clopper_pearson_lower(1, 10**9 + 1, 0.01)
