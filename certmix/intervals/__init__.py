"""Counts -> probability bounds: one file per inequality. NumPy float64, never torch."""

from certmix.intervals.clopper_pearson import clopper_pearson_lower, clopper_pearson_upper
from certmix.intervals.probability_bounds import ABSTAIN, ProbabilityBounds

__all__ = ["ABSTAIN", "ProbabilityBounds", "clopper_pearson_lower", "clopper_pearson_upper"]
