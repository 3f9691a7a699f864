"""What all rules share: decisions, exact clean accuracy, what is decided for every h within bounds, and their files."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from certmix.certification.bounds import bound_probabilities
from certmix.certifiers import CERTIFIERS, exact_radius
from certmix.errors import InvalidArgument, RunError
from certmix.intervals import ProbabilityBounds
from certmix.json_fields import Fields
from certmix.rules import RULES, FamilyRule, LinearRule, ThresholdRule, rule_from_json
from certmix.rules.family import family_radius
from certmix.rules.threshold import threshold_radius

MAKERS = {
    **RULES,
    "family": lambda parameter, vote: FamilyRule(parameter, 0.25, 1.0, vote),
    "power": lambda parameter, vote: FamilyRule(parameter, 1.0, 3.0, vote),
    "probit": lambda parameter, vote: FamilyRule(6 * parameter - 3, 0.5, None, vote),
}
KINDS = tuple(MAKERS)
parameters = st.floats(0.0, 0.999)
generators = st.integers(0, 10**6).map(np.random.default_rng)


def _scene(generator, inputs=30, classes=4):
    g, h = (generator.dirichlet(np.ones(classes), inputs) for _ in range(2))
    return g, np.rint(1000 * h), generator.integers(0, classes, inputs)


@given(generators, parameters, st.sampled_from(KINDS), st.sampled_from(["class", "softmax"]))
def test_the_step_function_is_the_share_of_right_decisions(generator, parameter, kind, vote):
    g, h, labels = _scene(generator)
    rule = MAKERS[kind](parameter, vote)
    exact = rule.clean_accuracy(g, h, labels)
    assert float(exact(rule.parameter)) == pytest.approx((rule.decide(g, h) == labels).mean())


@given(generators, parameters, st.sampled_from(KINDS), st.sampled_from(["class", "softmax"]))
def test_a_positive_lead_decides_for_every_h_within_the_bounds(generator, parameter, kind, vote):
    classes, rule = 4, MAKERS[kind](parameter, vote)
    g, centre = (
        generator.dirichlet(np.ones(classes)),
        generator.dirichlet(np.ones(classes) * generator.choice([0.3, 3])),
    )
    width = generator.uniform(0, 0.15, classes)
    lower, upper = np.maximum(centre - width, 0), np.minimum(centre + width, 1)
    inside = generator.dirichlet(np.ones(classes) * 50 * centre + 0.01, 200)
    inside = inside[((inside >= lower) & (inside <= upper)).all(axis=1)]
    inside = np.concatenate([inside, centre[None]])
    found = rule.decide(np.tile(g, (len(inside), 1)), inside)
    leads = [rule.lead(candidate, g, lower, upper) for candidate in range(classes)]
    for candidate, lead in enumerate(leads):
        if lead > 0:
            assert (found == candidate).all()
    # With no doubt about h, the class is decided unless it is a tie.
    sharp = [rule.lead(candidate, g, centre, centre) for candidate in range(classes)]
    assert max(sharp) >= 0
    assert rule.decide(g[None], centre[None])[0] == int(np.argmax(sharp))


def test_radii_are_those_of_the_formulas():
    top, rival = np.array([0.99, 0.7, 0.5]), np.array([0.005, 0.2, 0.4])
    bounds = ProbabilityBounds(np.zeros(3, dtype=np.int64), top, rival, 0.5)
    assert np.array_equal(LinearRule(0.8).radius(CERTIFIERS["exact"], bounds), exact_radius(top, rival, 0.8, 0.5))
    for name in ("exact", "theorem-3.5", "theorem-3.5-paper"):
        certifier = CERTIFIERS[name]
        expected = threshold_radius(top, rival, 0.6, 0.5, envelope=certifier.envelope)
        assert np.array_equal(ThresholdRule(0.6).radius(certifier, bounds), expected)
        assert (expected <= certifier.radius(top, rival, 1.0, 0.5)).all()


@given(parameters, st.sampled_from(KINDS), st.sampled_from(["class", "softmax"]))
def test_what_is_written_is_read(parameter, kind, vote):
    rule = MAKERS[kind](parameter, vote)
    again = rule_from_json(Fields(json.loads(json.dumps(rule.to_json())), "rule"))
    assert again == rule
    assert hash(again) == hash(rule)


def test_bad_values_are_named():
    for make, message in (
        (lambda: LinearRule(1.5), r"mixing_weight must be in \[0, 1\].*got 1\.5"),
        (lambda: ThresholdRule(1.0), r"threshold must be in \[0, 1\)"),
        (lambda: LinearRule(0.8, "logits"), "accurate_vote must be one of class, softmax, got 'logits'"),
        (lambda: ThresholdRule(0.8, "logits"), "accurate_vote must be one of class, softmax, got 'logits'"),
    ):
        with pytest.raises(InvalidArgument, match=message):
            make()
    for change, message in (
        ({"kind": "median"}, "kind"),
        ({"parameter": 1.5}, "parameter"),
        ({"parameter": None}, "parameter"),
    ):
        with pytest.raises(RunError, match=message):
            rule_from_json(Fields({**LinearRule(0.8).to_json(), **change}, "rule"))
    with pytest.raises(RunError, match="rule: threshold must be in"):
        rule_from_json(Fields({**ThresholdRule(0.8).to_json(), "parameter": 1.0}, "rule"))


def test_family_rules_certify_by_their_formula_and_meet_their_neighbours():
    top, rival = np.array([0.99, 0.7, 0.5]), np.array([0.005, 0.2, 0.4])
    bounds = ProbabilityBounds(np.zeros(3, dtype=np.int64), top, rival, 0.5)
    exact = CERTIFIERS["exact"]
    ends = ((FamilyRule(0.45, 0.0), ThresholdRule(0.45)), (FamilyRule(0.25, 1.0), LinearRule(0.8)))
    for rule, other in ends:
        assert rule.radius(exact, bounds) == pytest.approx(other.radius(exact, bounds), abs=1e-6)
    for exponent in (1.0, 3.0, None):
        found = FamilyRule(0.3, 0.25, exponent).radius(exact, bounds)
        assert np.array_equal(found, family_radius(top, rival, 0.3, 0.5, rival_weight=0.25, exponent=exponent))
    with pytest.raises(InvalidArgument, match="one with an envelope for the family"):
        FamilyRule(0.3, 0.25).radius(CERTIFIERS["theorem-a1"], bounds)


@pytest.mark.parametrize("err", [0.05, 0.01])
@pytest.mark.parametrize("shares", [(0.6, 0.3, 0.1), (0.8, 0.1, 0.1), (0.5, 0.48, 0.02)])
def test_stated_radii_exceed_the_truth_no_more_often_than_promised(err, shares):
    """From votes, selection included; one region covers every rule, so that each is right as often as promised."""
    rng, runs, p = np.random.default_rng(5), 4_000, np.array(shares)
    selection, votes = rng.multinomial(20, p, runs), rng.multinomial(300, p, runs)
    bounds = bound_probabilities(selection, votes, sigma=0.5, failure_probability=err)
    true = ProbabilityBounds(np.zeros(1, dtype=np.int64), p[:1], p[1:2], 0.5)
    for rule in (ThresholdRule(0.45), FamilyRule(0.3, 0.25), FamilyRule(0.1, 0.5, 3.0), FamilyRule(0.2, 0.5, None)):
        truth = float(rule.radius(CERTIFIERS["exact"], true)[0])
        wrong = rule.radius(CERTIFIERS["exact"], bounds) > np.where(bounds.prediction == 0, truth, 0.0) + 1e-6
        assert stats.binomtest(int(wrong.sum()), runs, err, alternative="greater").pvalue > 1e-5
