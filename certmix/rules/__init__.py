"""How g and h become one classifier: a file per rule. A certificate is where the envelope of h leaves the rule's region."""

from certmix.rules.family import FamilyRule
from certmix.rules.linear import LinearRule
from certmix.rules.registry import RULES, rule_from_json, rule_named
from certmix.rules.rule import ACCURATE_VOTES, AccurateVote, Rule, accurate_votes
from certmix.rules.threshold import ThresholdRule, threshold_radius

__all__ = [
    "ACCURATE_VOTES",
    "RULES",
    "AccurateVote",
    "FamilyRule",
    "LinearRule",
    "Rule",
    "ThresholdRule",
    "accurate_votes",
    "rule_from_json",
    "rule_named",
    "threshold_radius",
]
