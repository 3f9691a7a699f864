"""Certified accuracy never exceeds attacked accuracy, and attacked accuracy never rises with the radius."""

import numpy as np
import pytest
import torch
from scipy import stats
from torch import nn

import certmix
from certmix.attacks.bracket import attack_smoothed_mixture
from certmix.datasets import ArrayDataset
from certmix.errors import InvalidArgument
from certmix.rules import FamilyRule, LinearRule, ThresholdRule

RADII = [0.0, 0.25, 0.5, 1.0, 2.0]


def test_certified_below_attacked_above(accurate, noisy):
    data = certmix.load_dataset("digits", split="test", max=30)
    statistics = certmix.sample(noisy, data, sigma=0.5, num_estimation=2000, seed=3)
    for rule in (LinearRule(0.8), LinearRule(1.0), ThresholdRule(0.5)):
        attacked = attack_smoothed_mixture(
            data, robust=noisy, accurate=accurate, sigma=0.5, rule=rule, radii=RADII, grid_levels=16, steps=10,
            restarts=2, votes=300,
        )  # fmt: skip
        assert (np.diff(attacked.right.astype(int), axis=0) <= 0).all()
        made = certmix.certify(statistics, rules=rule)
        certified = certmix.certified_accuracy(made, statistics.labels, RADII).accuracy[0]
        assert (certified <= attacked.accuracy + 1e-9).all()
        assert attacked.accuracy[0] > 0.75
        assert attacked.accuracy[-1] < 0.2  # the attack bites


@pytest.mark.parametrize(
    "change, message",
    [
        ({}, r"accurate must be given unless h decides alone \(weight 1 or threshold 0\), got none at weight 0.5"),
        ({"rule": ThresholdRule(0.5)}, "accurate must be given unless h decides alone .*, got none at threshold 0.5"),
        (
            {"rule": FamilyRule(0.5, rival_weight=0.5), "accurate": nn.Flatten()},
            "rule must be a mixing weight or a threshold to be attacked, got",
        ),
        ({"rule": LinearRule(1.0), "restarts": 0}, "restarts must be >= 1, got 0"),
        ({"rule": LinearRule(1.0), "steps": 0}, "steps must be >= 1, got 0"),
        ({"rule": LinearRule(1.0), "votes": 0}, "votes must be >= 1, got 0"),
    ],
)
def test_bad_input_is_named(change, message):
    data = ArrayDataset(np.zeros((1, 3)), [0], num_classes=3)
    how = {"robust": nn.Flatten(), "accurate": None, "sigma": 1.0, "rule": LinearRule(0.5), "radii": [0.1], **change}
    with pytest.raises(InvalidArgument, match=message):
        attack_smoothed_mixture(data, **how)


def test_g_votes_with_its_class_where_nothing_else_is_asked_for():
    # g is barely for class 1, h clearly for class 0: g's class wins at weight 1/4, its softmax does not.
    class Fixed(nn.Module):
        def __init__(self, logits):
            super().__init__()
            self.logits = torch.tensor(logits)

        def forward(self, inputs):
            return self.logits + 0.0 * inputs.sum(dim=1, keepdim=True)

    data = ArrayDataset(np.zeros((1, 3)), [1], num_classes=2)
    how = {"robust": Fixed([1.0, 0.0]), "accurate": Fixed([0.0, 0.1]), "sigma": 1.0}
    assert attack_smoothed_mixture(data, radii=[0.0], rule=LinearRule(0.25), **how).accuracy[0] == 1.0
    assert attack_smoothed_mixture(data, radii=[0.0], rule=LinearRule(0.25, "softmax"), **how).accuracy[0] == 0.0


def test_both_routes_to_a_wrong_answer_of_a_threshold_are_found():
    # Where g errs, it is enough that h is no longer sure (at distance .1); where g is right, h must be sure of the wrong
    # class (at .3): the boundary is .2 away, and c = Phi(.1 / sigma).
    class HalfSpace(nn.Module):
        def __init__(self, shift, slope):
            super().__init__()
            self.shift, self.slope = shift, slope

        def forward(self, inputs):
            return torch.stack([self.slope * (inputs[:, 0] - self.shift), 0.0 * inputs[:, 0]], dim=1)

    data = ArrayDataset(np.array([[0.6, 0.5]]), [0], num_classes=2)
    sure, robust = ThresholdRule(float(stats.norm.cdf(0.4))), HalfSpace(0.4, 30.0)
    for accurate, radius in ((HalfSpace(9.0, 30.0), 0.1), (HalfSpace(-9.0, 30.0), 0.3)):
        attacked = attack_smoothed_mixture(
            data, robust=robust, accurate=accurate, sigma=0.25, rule=sure, steps=10, votes=20_000,
            radii=[0.0, 0.85 * radius, 1.15 * radius],
        )  # fmt: skip
        assert attacked.right[:, 0].tolist() == [True, True, False]
