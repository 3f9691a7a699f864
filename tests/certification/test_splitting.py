"""Certificates of splitting noise: every input of little grids is attacked by every other one, whatever g says."""

import itertools
from fractions import Fraction

import numpy as np
import pytest
import torch

import certmix
from certmix.certification.bounds import check_certifiable
from certmix.certification.certify import next_on_grid
from certmix.certifiers import CERTIFIERS
from certmix.datasets import ArrayDataset
from certmix.errors import InvalidArgument
from certmix.promise import Promise
from certmix.rules import LinearRule, ThresholdRule

LEVELS, SIZE = 4, 2
GRID = np.array(list(itertools.product(range(LEVELS + 1), repeat=SIZE)))
RULES = [
    LinearRule(1.0),
    LinearRule(0.8),
    LinearRule(0.55),
    ThresholdRule(0.2),
    ThresholdRule(0.5),
    ThresholdRule(0.75),
]


class _Steep(torch.nn.Module):
    """A random network that is nearly a step function."""

    def __init__(self, seed):
        super().__init__()
        generator = torch.Generator().manual_seed(seed)
        self.first = torch.nn.Parameter(8.0 * torch.randn(SIZE, 16, generator=generator))
        self.shift = torch.nn.Parameter(4.0 * torch.randn(16, generator=generator))
        self.last = torch.nn.Parameter(torch.randn(16, 3, generator=generator))

    def forward(self, inputs):
        return torch.relu(inputs.flatten(1) @ self.first - self.shift) @ self.last


def _sampled(seed, values, **options):
    data = ArrayDataset((GRID / LEVELS).astype(np.float32), np.zeros(len(GRID)), num_classes=3, grid_levels=LEVELS)
    return certmix.sample(
        _Steep(seed), data, sigma=values / (2 * LEVELS), noise="splitting",
        execution=certmix.Execution("cpu", 64), **options,
    )  # fmt: skip


def _keeps(rule, votes, values, winner):
    """Whether h's class is kept whatever g says, of exact votes: the rule's region by its definition."""
    top, rivals = int(votes[winner]), np.delete(votes, winner)
    parameter = Fraction(rule.parameter)
    if rule.kind == "threshold":
        return top > parameter * values and top > rivals.max()
    return all(parameter * (top - int(rival)) > (1 - parameter) * values for rival in rivals)


@pytest.mark.parametrize("values", [3, 8, 13])
def test_no_input_of_the_grid_inside_the_ball_breaks_a_certificate(values):
    distance = np.abs(GRID[:, None] - GRID[None]).sum(axis=-1)
    certified = tight = 0
    for seed in range(6):
        statistics = _sampled(seed, values)
        made = certmix.certify(statistics, rules=RULES)
        votes = statistics.estimation_counts
        for (k, rule), row in itertools.product(enumerate(RULES), range(len(GRID))):
            radius = Fraction(float(made.radius[k, row])) * LEVELS
            certified += radius > 0
            for other in np.flatnonzero(distance[row] <= radius):
                kept = _keeps(rule, votes[other], values, made.prediction[row])
                assert kept or distance[row, other] == radius, (seed, values, rule, GRID[row], GRID[other])
                tight += not kept and radius > 0
    assert certified > 300
    assert tight > 5  # an open ball a step larger would not hold


def test_deferred_draws_are_no_votes_and_certified_as_such():
    statistics = _sampled(0, 8, confidence=0.75)
    assert statistics.estimation_deferred.any()
    made = certmix.certify(statistics, rules=RULES)
    assert made.promise == Promise(0.0, votes="confident", confidence=0.75)
    assert (made.radius <= certmix.certify(_sampled(0, 8), rules=RULES).radius.max()).all()
    assert (statistics.estimation_draws == 8).all()


def test_unanimous_values_certify_lambda_itself():
    promise = Promise(0.0)
    said = check_certifiable([LinearRule(1.0), ThresholdRule(0.75)], 48, promise, 1.5)
    assert said == "All values of the noise can certify l1 radii up to 1.499 at weight 1, 0.749 at threshold 0.75."
    with pytest.raises(InvalidArgument, match="nothing can be certified at weight 0.5"):
        check_certifiable([LinearRule(0.5)], 48, promise, 1.5)
    assert "failure probability 0" in promise.text


def test_what_needs_chance_or_another_norm_is_refused():
    statistics = _sampled(0, 8)
    for options, why in (
        ({"certifier": "exact"}, "certifier must be one for splitting noise, which certifies l1 radii"),
        ({"certifier": "cdf"}, "certifier must be one for splitting noise"),
        ({"failure_probability": 0.001}, "failure_probability must be left out, got 0.001"),
        ({"interval": "cohen"}, "failure_probability 0 is for"),
        ({"real_valued": True}, "failure_probability 0 is for"),
        ({"votes": "soft"}, "need a run that holds soft ones"),
    ):
        with pytest.raises(InvalidArgument, match=why):
            certmix.certify(statistics, **options)
    gaussian = certmix.bound_probabilities(np.array([[9, 0]]), np.array([[900, 0]]), sigma=0.5)
    with pytest.raises(InvalidArgument, match="certifier must be one for Gaussian noise, which certifies l2 radii"):
        certmix.certify(gaussian, certifier="theorem-3.5-l1")
    for value in (0.0, -1.0):
        with pytest.raises(InvalidArgument, match=r"failure_probability must be in \(0, 1\)"):
            certmix.bound_probabilities(np.array([[9, 0]]), np.array([[900, 0]]), sigma=0.5, failure_probability=value)


@pytest.mark.parametrize("levels", [16, 255, 7])
def test_radii_are_raised_to_the_grid_and_never_above_it(levels):
    rng = np.random.default_rng(levels)
    radius = np.concatenate([rng.uniform(0, 3, 500), np.arange(3 * levels) / levels, [0.0, 5e-324]])
    raised = next_on_grid(radius, levels)
    for number, (before, after) in enumerate(zip(radius, raised, strict=True)):
        steps = -(-Fraction(float(before)) * levels // 1)
        assert Fraction(float(after)) <= steps / levels
        assert after >= before * (1 - 1e-15)
        assert number >= 500 or float(steps / levels) - after < 1e-15  # the others may stay on their own step


@pytest.mark.parametrize(("own", "wanted", "factor"), [("l2", "linf", 8.0), ("l1", "linf", 64.0), ("l1", "l2", 8.0)])
def test_radii_in_another_norm_are_rounded_down(own, wanted, factor):
    radius = np.random.default_rng(0).uniform(0, 2, (1, 100))
    radius[0, 0] = 0.0
    name = {"l1": "theorem-3.5-l1", "l2": "exact"}[own]
    made = certmix.Certificates(np.zeros(100, np.int64), radius, (LinearRule(1.0),), name, 0.5, norm=own)
    moved = made.in_norm(wanted, 64)
    assert moved.norm == wanted
    assert (moved.radius * factor <= radius).all()
    assert (moved.radius * factor >= radius * (1 - 1e-12)).all()
    assert (moved.radius >= 0).all()
    assert np.array_equal(made.in_norm(own, 64).radius, radius)
    with pytest.raises(InvalidArgument, match="norm must be one of l1, l2, linf"):
        made.in_norm("l0", 64)


def test_a_ball_of_a_larger_norm_is_inside_the_certified_one():
    rng = np.random.default_rng(1)
    made = certmix.Certificates(np.zeros(1, np.int64), np.array([[0.7]]), (LinearRule(1.0),), "exact", 0.5)
    for size in (3, 10, 784):
        radius = made.in_norm("linf", size).radius[0, 0]
        corners = radius * rng.choice([-1.0, 1.0], size=(50, size))
        assert (np.linalg.norm(corners, axis=1) <= 0.7 * (1 + 1e-15)).all()
        assert np.isclose(np.linalg.norm(corners[0]), 0.7)
    assert made.in_norm("l1", 10).radius[0, 0] == 0.7  # an l1 ball lies in the l2 ball of its radius


def test_every_certifier_states_its_norm():
    assert {name for name, one in CERTIFIERS.items() if one.norm == "l1"} == {"theorem-3.5-l1"}
