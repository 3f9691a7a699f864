"""Rules by their names, and a rule from a file."""

from typing import cast

from certmix.errors import InvalidArgument, RunError, check_choice
from certmix.json_fields import Fields
from certmix.rules.chain import Chain
from certmix.rules.family import PROBIT_RANGE, FamilyRule
from certmix.rules.linear import LinearRule
from certmix.rules.rule import ACCURATE_VOTES, AccurateVote, Form, Rule
from certmix.rules.threshold import ThresholdRule

RULES: dict[str, type[LinearRule] | type[ThresholdRule]] = {rule.kind: rule for rule in (LinearRule, ThresholdRule)}


def rule_named(kind: str, accurate_vote: AccurateVote = "class") -> Rule:
    """The rule of that kind, at parameter 0 until it gets another. Raises InvalidArgument where there is none."""
    return RULES[check_choice("rules", kind, tuple(RULES))](0.0, accurate_vote)


def rule_from_json(tree: Fields) -> Rule:
    """Of what `Rule.to_json` made. Raises RunError where a field is missing, unknown or breaks its rule."""
    return _rule(tree, tree.choice("kind", (*RULES, FamilyRule.kind)))


def form_from_json(tree: Fields) -> Form:
    """Likewise of what `Form.to_json` made: a rule, or a chain."""
    kind = tree.choice("kind", (*RULES, FamilyRule.kind, Chain.kind))
    if kind != Chain.kind:
        return _rule(tree, kind)
    sigmas, thresholds = tree.numbers("sigmas", 0.0), tree.numbers("thresholds", 0.0, 1.0)
    tree.end()
    try:
        return Chain(sigmas, thresholds)
    except InvalidArgument as error:
        raise RunError(f"{tree.where}: {error}") from None


def _rule(tree: Fields, kind: str) -> Rule:
    family = kind == FamilyRule.kind
    parameter = tree.number("parameter", *((-PROBIT_RANGE, PROBIT_RANGE) if family else (0.0, 1.0)))
    accurate_vote = cast(AccurateVote, tree.choice("accurate_vote", ACCURATE_VOTES))
    rival_weight = tree.number("rival_weight", 0.0, 1.0) if family else 0.0
    exponent = tree.optional("exponent", lambda: tree.number("exponent", 0.01, 100.0)) if family else None
    tree.end()
    try:
        if family:
            return FamilyRule(parameter, rival_weight, exponent, accurate_vote)
        return RULES[kind](parameter, accurate_vote)
    except InvalidArgument as error:
        raise RunError(f"{tree.where}: {error}") from None
