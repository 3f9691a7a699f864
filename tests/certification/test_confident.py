"""Confident votes: counted to the safe side, the same from histograms and from declared draws, and certified soundly."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

import certmix
from certmix.certification.bounds import pair_bounds
from certmix.certification.certify import certify
from certmix.certification.votes import ClassVotes, votes_of_h, whole_votes
from certmix.certifiers import CERTIFIERS, exact_radius
from certmix.datasets import ArrayDataset
from certmix.errors import InvalidArgument, RunError
from certmix.intervals.confidence import confident_counts, least_confident
from certmix.intervals.histograms import UNITS
from certmix.pareto import candidate_from_statistics, pareto_frontier
from certmix.promise import CONFIDENCE_STEPS, Promise, check_confidence
from certmix.rules import FamilyRule, LinearRule, ThresholdRule, threshold_radius
from certmix.verification.recompute import check_certificates
from certmix.verification.redraw import Verification, redraw
from tests.soft import soft_votes
from tests.strategies import seeded

confidences = st.integers(33, 63).map(lambda step: step / CONFIDENCE_STEPS)


@seeded
@given(confidences, st.integers(0, 10**6).map(np.random.default_rng))
def test_no_rival_is_counted_too_low_and_no_top_too_high(confidence, rng):
    """Probabilities within a few units of 2^-20 of the edge, where rounding decides, and all over."""
    near = np.float32(confidence + rng.integers(-5, 6, 60) / (2 * UNITS))
    first = np.where(rng.random(60) < 0.7, near, rng.random(60)).astype(np.float32)
    order = rng.random(60) < 0.5  # either class may be the confident one
    one = np.where(order, first, 1 - first)
    drawn = np.stack([one, (1 - one) * 0.75, (1 - one) * 0.25], axis=-1).astype(np.float32)[None]
    votes = soft_votes(drawn[:, :10], drawn[:, 10:])
    counts = confident_counts(votes, confidence, 3, "estimation")[0]
    sure = drawn[0, 10:] >= np.float32(least_confident(confidence))
    top = int(votes.prediction[0])
    for i in range(3):
        exact, at_most = int(sure[:, i].sum()), int((drawn[0, 10:, i] > confidence - 3 / UNITS).sum())
        assert counts[i] == exact if i == top else exact <= counts[i] <= at_most
    assert sure.sum(axis=1).max() <= 1  # one vote per draw
    assert (drawn[0, 10:][sure] >= confidence - 1 / UNITS).all()
    assert sure[drawn[0, 10:] >= confidence].all()


def test_only_edges_of_the_bins_are_confidences():
    assert check_confidence(0.75) == 0.75
    for bad, near in ((0.9, "0.890625 or 0.90625"), (0.5, "0.515625"), (1.0, "0.984375"), (np.nan, "take 0.515625")):
        with pytest.raises(InvalidArgument, match=f"multiple of 1/64 in .*{near}"):
            check_confidence(bad)


@pytest.fixture(scope="module")
def scene():
    torch.manual_seed(3)
    h = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 4))
    g = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 4))
    h[1].weight.data *= 5
    generator = np.random.default_rng(3)
    inputs = generator.integers(0, 256, (12, 1, 4, 4)).astype(np.float32) / 255
    return h, g, ArrayDataset(inputs, generator.integers(0, 4, 12), num_classes=4, grid_levels=255)


def _sample(scene, **options):
    h, g, data = scene
    return certmix.sample(h, data, accurate=g, **{"sigma": 0.3, "num_estimation": 400, "seed": 3, **options})


def test_declared_draws_are_those_of_the_histograms(scene, tmp_path):
    soft = _sample(scene, votes="both")
    declared = _sample(scene, confidence=0.75, out=tmp_path / "run")
    assert np.array_equal(declared.estimation_draws, soft.estimation_draws)
    assert 0 < declared.estimation_deferred.sum() < 12 * 400
    assert certmix.read_statistics(tmp_path / "run").draws.confidence == 0.75
    made, stored = certify(soft, confidence=0.75), certify(declared)
    assert made.promise == stored.promise
    assert made.promise.votes == "confident"
    counts = whole_votes(soft, made.promise).counts
    same = made.prediction == stored.prediction
    assert same.sum() >= 10
    rows = np.arange(12)
    assert np.array_equal(counts[rows, made.prediction], declared.estimation_counts[rows, made.prediction])
    assert (counts[:, :-1] >= declared.estimation_counts).all()
    assert np.allclose(made.radius[:, same], stored.radius[:, same])
    more = certify(soft, confidence=0.90625)
    assert (whole_votes(soft, more.promise).counts <= counts).all()
    for statistics in (soft, declared):
        result = Verification()
        check_certificates(statistics, certify(statistics, rules=ThresholdRule(0.3), confidence=0.75), result)
        assert result.holds, result.differences
        assert result.certificates_checked == 12
    family = Verification()
    check_certificates(soft, certify(soft, rules=[FamilyRule(0.2, 0.25), FamilyRule(-0.5, 0.5, None)]), family)
    assert family.holds, family.differences
    forged = certify(soft, rules=ThresholdRule(0.3), confidence=0.75)
    result = Verification()
    check_certificates(soft, replace(forged, radius=forged.radius + 1e-3), result)
    assert not result.holds
    result = Verification()
    redraw(declared, result, robust=scene[0], accurate=scene[1], dataset=scene[2], count=4)
    assert result.holds, result.differences


def test_a_run_is_certified_by_what_it_holds(scene):
    hard, declared, soft = _sample(scene), _sample(scene, confidence=0.75), _sample(scene, votes="soft")
    for statistics, options, message in (
        (hard, {"confidence": 0.75}, "votes 'confident' need a run that holds soft ones"),
        (declared, {"confidence": 0.8125}, "votes must be confident at 0.75, got 0.8125"),
        (declared, {"votes": "hard"}, "votes must be confident at 0.75, got 'hard'"),
        (soft, {"votes": "confident"}, "confidence must be given for votes 'confident'"),
        (soft, {"votes": "soft", "confidence": 0.75}, "and for these alone"),
        (soft, {"certifier": "cdf", "confidence": 0.75}, "certifier 'cdf' needs soft votes, got votes 'confident'"),
    ):
        with pytest.raises(InvalidArgument, match=message):
            certify(statistics, **options)
    with pytest.raises(InvalidArgument, match="declared before drawing for votes hard alone, got votes 'both'"):
        _sample(scene, votes="both", confidence=0.75)


def test_a_manifest_of_another_confidence_is_refused(scene, tmp_path):
    _sample(scene, confidence=0.75, out=tmp_path / "run")
    with pytest.raises(RunError, match=r"confidence: the run has 0\.75, asked for is None"):
        _sample(scene, out=tmp_path / "run")


def test_clean_accuracy_counts_deferred_draws(scene):
    soft = _sample(scene, votes="soft")
    votes, draws = votes_of_h(soft, Promise(votes="confident", confidence=0.75))
    assert (draws == 400).all()
    candidate = candidate_from_statistics(soft, confidence=0.75)
    for rule in (ThresholdRule(0.3), LinearRule(0.8)):
        found = rule.decide(candidate.accurate, votes, draws=draws) == soft.labels
        assert float(candidate.clean(rule, np.arange(12))(rule.parameter)) == pytest.approx(found.mean())
    undecided = (votes / draws[:, None]).max(axis=1) <= 0.3
    assert undecided.any()
    g = candidate.accurate.argmax(axis=1)
    found = ThresholdRule(0.3).decide(candidate.accurate, votes, draws=draws)
    assert (found[undecided] == g[undecided]).all()


def test_a_sweep_chooses_the_confidence_on_other_inputs(scene):
    soft = _sample(scene, votes="both")
    plain = candidate_from_statistics(soft)
    sure = [candidate_from_statistics(soft, confidence=kappa) for kappa in (0.75, 0.90625)]
    with pytest.raises(InvalidArgument, match="of several confidences one is chosen"):
        pareto_frontier([plain, *sure], target=0.0, rules=("threshold",))
    made = pareto_frontier([plain, *sure], target=0.0, rules=("threshold",), split=0.5)
    assert made.matched[0].confidence is None
    assert len(made.matched) == 2
    assert made.matched[1].confidence in (0.75, 0.90625)
    assert "confident at" in made.matched[1].label
    single = pareto_frontier([plain, sure[0]], target=0.0, rules=("threshold",))
    assert [pair.confidence for pair in single.matched] == [None, 0.75]


@pytest.mark.parametrize("err", [0.05, 0.01])
@pytest.mark.parametrize("shares", [(0.55, 0.25), (0.7, 0.02, 0.02), (0.34, 0.33), (0.97, 0.005), (0.3, 0.1, 0.1, 0.1)])
def test_stated_radii_exceed_the_truth_no_more_often_than_promised(err, shares):
    """Selection and estimation from a known base function that defers the rest of the draws."""
    rng, runs, c = np.random.default_rng(17), 4_000, 0.25
    p = np.array([*shares, 1 - sum(shares)])
    chosen = rng.multinomial(20, p, runs)[:, :-1].argmax(axis=1)
    drawn = rng.multinomial(200, p, runs)
    votes = ClassVotes(
        chosen, np.concatenate([drawn[:, :-1], np.zeros((runs, 1), np.int64)], axis=1), np.full(runs, 200)
    )
    bounds = pair_bounds(votes, Promise(err, votes="confident", confidence=0.75), sigma=0.5)
    for rule, truth in (
        (ThresholdRule(c), threshold_radius(shares[0], max(shares[1:]), c, 0.5)),
        (LinearRule(0.8), exact_radius(shares[0], max(shares[1:]), 0.8, 0.5)),
    ):
        radius = rule.radius(CERTIFIERS["exact"], bounds)
        wrong = int((radius > np.where(chosen == 0, truth, 0.0) + 1e-12).sum())
        assert stats.binomtest(wrong, runs, err, alternative="greater").pvalue > 1e-5
