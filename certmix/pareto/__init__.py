"""Pairs of a rule and a sigma at fixed clean accuracy: the paper's Figures 6 and 7 from stored draws, without a grid.

Clean accuracy is that of the mixture of g and of h's vote shares, which estimate the smoothed h.
Source: Bai et al., Adaptive Smoothing, arXiv:2301.12554, Sections A.2 and A.3.
"""

from certmix.pareto.candidate import Candidate, candidate_from_log, candidate_from_statistics
from certmix.pareto.chains import ChainCandidate, chain_candidate, choose_chain, choose_thresholds
from certmix.pareto.frontier import pareto_frontier, split_rows
from certmix.pareto.methods import Method, compare_methods
from certmix.pareto.result import MatchedPair, ParetoResult, Unreached
from certmix.pareto.significance import holm, paired_p_values

__all__ = [
    "Candidate",
    "ChainCandidate",
    "MatchedPair",
    "Method",
    "ParetoResult",
    "Unreached",
    "candidate_from_log",
    "candidate_from_statistics",
    "chain_candidate",
    "choose_chain",
    "choose_thresholds",
    "compare_methods",
    "holm",
    "paired_p_values",
    "pareto_frontier",
    "split_rows",
]
