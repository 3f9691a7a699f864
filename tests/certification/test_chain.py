"""Chains from votes: never overstated, exact at 50 digits, at least the constant-route rule, chosen on other inputs."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import stats

import certmix
from certmix.certification.certify import certify
from certmix.certification.chain import bound_chain, certify_chain
from certmix.datasets import ArrayDataset
from certmix.errors import InvalidArgument
from certmix.pareto import chain_candidate, choose_thresholds
from certmix.rules import Chain, ThresholdRule
from certmix.rules.chain import chain_radius, firing_node
from certmix.runs.store import Statistics
from certmix.verification.chain import check_chain
from certmix.verification.redraw import Verification
from tests.records import manifest

SIGMAS = (0.25, 0.5, 1.0)


def _run(rng, shares, sigma, runs, draws=300, selection=20):
    """`runs` inputs whose votes all come from one multinomial."""
    chosen, drawn = rng.multinomial(selection, shares, runs), rng.multinomial(draws, shares, runs)
    zeros = np.zeros(runs, dtype=np.int64)
    about = manifest(sigma=sigma, num_selection=selection, num_estimation=draws, num_classes=len(shares))
    return Statistics(
        chosen, drawn, zeros, zeros, zeros, np.arange(runs), np.tile(np.eye(len(shares))[1], (runs, 1)),
        np.zeros(runs), zeros, about,
    )  # fmt: skip


@pytest.mark.parametrize("err", [0.05, 0.01])
@pytest.mark.parametrize(
    ("shares", "thresholds"),
    [
        (
            ((0.5, 0.45, 0.05), (0.7, 0.2, 0.1), (0.8, 0.1, 0.1)),
            (0.6, 0.5, 0.3),
        ),  # node 1 is nearly tied: nodes disagree
        (((0.55, 0.4, 0.05), (0.45, 0.5, 0.05), (0.9, 0.05, 0.05)), (0.56, 0.55, 0.4)),
        (((0.9, 0.05, 0.05), (0.9, 0.05, 0.05), (0.9, 0.05, 0.05)), (0.85, 0.5, 0.5)),
    ],
)
def test_stated_radii_exceed_the_truth_no_more_often_than_promised(err, shares, thresholds):
    """Selection, fresh draws and the choice of the class included; half-spaces in one direction attain the truth."""
    rng, runs = np.random.default_rng(23), 3_000
    bounds = bound_chain(
        [_run(rng, np.array(p), s, runs) for p, s in zip(shares, SIGMAS, strict=True)], failure_probability=err
    )
    made = certify_chain(bounds, thresholds)
    h = np.array(shares)
    truth = [chain_radius(h[:, y], np.delete(h, y, axis=1).max(axis=1), thresholds, SIGMAS) for y in range(3)]
    wrong = made.radius[0] > np.array([*truth, 0.0])[made.prediction] + 1e-12
    assert stats.binomtest(int(wrong.sum()), runs, err, alternative="greater").pvalue > 1e-5
    assert (made.radius > 0).any()


@pytest.fixture(scope="module")
def runs():
    torch.manual_seed(3)
    g = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 4))
    generator = np.random.default_rng(3)
    inputs = generator.integers(0, 256, (24, 1, 4, 4)).astype(np.float32) / 255
    data, made = ArrayDataset(inputs, generator.integers(0, 4, 24), num_classes=4, grid_levels=255), []
    shared = torch.randn(4, 16)
    for sigma in SIGMAS:  # nodes that agree on most inputs
        h = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 4))
        h[1].weight.data = 2 * shared + 0.7 * torch.randn(4, 16)
        made.append(
            certmix.sample(h, data, accurate=g, sigma=sigma, num_estimation=500, seed=int(8 * sigma), votes="both")
        )
    return made


@pytest.mark.parametrize("confidence", [None, 0.75])
def test_every_radius_is_recomputed_at_50_digits(runs, confidence):
    bounds = bound_chain(runs, confidence=confidence)
    disagree = (bounds.candidates != bounds.candidates[:1]).any(axis=0)
    assert 0 < disagree.sum() < 24
    made = certify_chain(bounds, [0.8, 0.5, 0.2])
    result = Verification()
    check_chain(runs, made, result)
    assert result.holds, result.differences
    assert result.certificates_checked == 24
    assert (made.radius > 0).sum() > 3
    for change, said in ((1e-6, "is above what"), (-2e-6, "below the recomputed one")):
        changed = Verification()
        check_chain(runs, replace(made, radius=np.where(made.radius > 0, made.radius + change, 0.0)), changed)
        assert len(changed.differences) == (made.radius > 0).sum()
        assert all(said in line for line in changed.differences)
    part, rows = Verification(), np.arange(1, 24, 3)
    check_chain(runs, certify_chain(bounds.rows(rows), [0.8, 0.5, 0.2]), part)
    assert (part.holds, part.certificates_checked) == (True, 8), part.differences


def test_certificates_that_are_not_about_these_runs_are_differences(runs):
    made = certify_chain(bound_chain(runs), [0.8, 0.5, 0.2])
    hard = made.promise
    for claim, said in (
        (replace(made, labels=made.labels + 1), "labels of the chain's certificates are not those"),
        (replace(made, indices=made.indices + 1), "inputs that its runs do not hold"),
        (replace(made, indices=np.zeros_like(made.indices)), "names inputs twice"),
        (replace(made, promise=replace(hard, votes="soft")), "must be of whole votes under pair bounds"),
        (replace(made, rules=(Chain(SIGMAS[:2], [0.8, 0.5]),)), "sigmas of the chain"),
        (replace(made, prediction=np.where(made.prediction >= 0, 9, -1)), "of class 9 is above what the votes support"),
        (replace(made, promise=replace(hard, failure_probability=0.5)), "below the recomputed one"),
    ):
        result = Verification()
        check_chain(runs, claim, result)
        assert any(said in line for line in result.differences), (said, result.differences)


def test_one_node_is_the_threshold_rule(runs):
    alone = certify(runs[1], rules=ThresholdRule(0.4))
    made = certify_chain(bound_chain(runs[1:2]), [0.4])
    assert np.array_equal(made.radius, alone.radius)
    sure = alone.radius[0] > 0
    assert np.array_equal(made.prediction[sure], alone.prediction[sure])


def test_chosen_thresholds_are_the_best_of_all_that_keep_the_target(runs):
    candidate, rows, radii = chain_candidate(runs[:2]), np.arange(0, 24, 2), [0.01, 0.1]
    target = candidate.clean_accuracy([0.9, 0.9], rows)
    thresholds, score = choose_thresholds(candidate, rows, target=target, radii=radii)

    def scored(limits):
        made = certify_chain(candidate.bounds.rows(rows), limits)
        right = made.prediction == made.labels
        return sum((right & (made.radius[0] >= r)).mean() for r in radii)

    assert scored(thresholds) == pytest.approx(score)
    assert candidate.clean_accuracy(thresholds, rows) >= target
    rng = np.random.default_rng(0)
    shares = candidate.robust[:, rows].max(axis=-1)
    for _ in range(200):
        limits = [float(min(rng.choice(one), 0.999)) for one in shares]
        if candidate.clean_accuracy(limits, rows) >= target:
            assert scored(limits) <= score + 1e-12
    with pytest.raises(InvalidArgument, match="target clean accuracy must be one that a chain reaches"):
        choose_thresholds(candidate, rows, target=1.0, radii=radii)


def test_clean_accuracy_is_that_of_the_answering_node(runs):
    candidate, limits = chain_candidate(runs), [0.8, 0.6, 0.5]
    node = firing_node(candidate.robust.max(axis=-1), limits)
    answers = np.stack([*candidate.robust.argmax(axis=-1), candidate.accurate.argmax(axis=-1)])[node, np.arange(24)]
    assert candidate.clean_accuracy(limits, np.arange(24)) == pytest.approx((answers == runs[0].labels).mean())


def _declared(about):
    """The manifest of a run that stored draws above .75 only."""
    return replace(about, draws=replace(about.draws, votes="hard", confidence=0.75))


def test_bad_chains_are_named(runs):
    other = replace(runs[1], indices=runs[1].indices + 1)
    for make, message in (
        (lambda: bound_chain([]), "a chain needs at least one run, got none"),
        (lambda: bound_chain([runs[0], other]), "must be over the same inputs"),
        (lambda: certify_chain(bound_chain(runs), [0.5]), "a chain of 3 runs needs as many thresholds, got 1"),
        (
            lambda: certify_chain(bound_chain(runs), [0.5] * 3, certifier="theorem-a1"),
            "one with an envelope for a chain",
        ),
        (
            lambda: bound_chain([runs[0], replace(runs[1], manifest=_declared(runs[1].manifest))]),
            "must count the same votes, got all, those above 0.75",
        ),
        (lambda: Chain([], []), "a chain of 0 runs"),
        (lambda: bound_chain(runs, failure_probability=1e-200), "num_estimation must be at least"),
    ):
        with pytest.raises(InvalidArgument, match=message):
            make()
