"""How g and h become one classifier: a file per rule. A certificate is where the envelope of h leaves the rule's region."""

from certmix.rules.chain import Chain
from certmix.rules.family import FamilyRule
from certmix.rules.linear import LinearRule
from certmix.rules.registry import RULES, form_from_json, rule_from_json, rule_named
from certmix.rules.rule import ACCURATE_VOTES, AccurateVote, Form, Rule, accurate_votes
from certmix.rules.threshold import ThresholdRule, threshold_radius

__all__ = [
    "ACCURATE_VOTES",
    "RULES",
    "AccurateVote",
    "Chain",
    "FamilyRule",
    "Form",
    "LinearRule",
    "Rule",
    "ThresholdRule",
    "accurate_votes",
    "form_from_json",
    "rule_from_json",
    "rule_named",
    "threshold_radius",
]
