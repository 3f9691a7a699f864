"""Counts -> probability bounds: one file per inequality. NumPy float64, never torch."""

from certmix.intervals.betting import betting_lower, betting_upper
from certmix.intervals.clopper_pearson import clopper_pearson_lower, clopper_pearson_upper
from certmix.intervals.moments import (
    empirical_bernstein_lower,
    empirical_bernstein_upper,
    hoeffding_lower,
    hoeffding_upper,
)
from certmix.intervals.probability_bounds import ABSTAIN, DistributionBounds, ProbabilityBounds

__all__ = [
    "ABSTAIN",
    "DistributionBounds",
    "ProbabilityBounds",
    "betting_lower",
    "betting_upper",
    "clopper_pearson_lower",
    "clopper_pearson_upper",
    "empirical_bernstein_lower",
    "empirical_bernstein_upper",
    "hoeffding_lower",
    "hoeffding_upper",
]
