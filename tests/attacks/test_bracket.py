"""Certified accuracy never exceeds attacked accuracy, and attacked accuracy never rises with the radius."""

import numpy as np
import pytest
import torch
from torch import nn

import certmix
from certmix.attacks.bracket import attack_smoothed_mixture
from certmix.datasets import ArrayDataset
from certmix.errors import InvalidArgument

RADII = [0.0, 0.25, 0.5, 1.0, 2.0]


def test_certified_below_attacked_above(accurate, noisy):
    data = certmix.load_dataset("digits", split="test", max=30)
    statistics = certmix.sample(noisy, data, sigma=0.5, num_estimation=2000, seed=3)
    for weight in (0.8, 1.0):
        attacked = attack_smoothed_mixture(
            data, robust=noisy, accurate=accurate, sigma=0.5, mixing_weight=weight, radii=RADII, grid_levels=16, steps=10,
            restarts=1, votes=300,
        )  # fmt: skip
        assert (np.diff(attacked.right.astype(int), axis=0) <= 0).all()
        made = certmix.certify(statistics, mixing_weight=weight)
        certified = certmix.certified_accuracy(made, statistics.labels, RADII).accuracy[0]
        assert (certified <= attacked.accuracy + 1e-9).all()
        assert attacked.accuracy[0] > 0.75
        assert attacked.accuracy[-1] < 0.2  # the attack bites


@pytest.mark.parametrize(
    "change, message",
    [
        ({}, "accurate must be given at weights below 1, got none at weight 0.5"),
        ({"mixing_weight": 1.0, "restarts": 0}, "restarts must be >= 1, got 0"),
        ({"mixing_weight": 1.0, "steps": 0}, "steps must be >= 1, got 0"),
        ({"mixing_weight": 1.0, "votes": 0}, "votes must be >= 1, got 0"),
        ({"mixing_weight": 1.0, "accurate_vote": "hard"}, "accurate_vote must be one of class, softmax, got 'hard'"),
    ],
)
def test_bad_input_is_named(change, message):
    data = ArrayDataset(np.zeros((1, 3)), [0], num_classes=3)
    how = {"robust": nn.Flatten(), "accurate": None, "sigma": 1.0, "mixing_weight": 0.5, "radii": [0.1], **change}
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
    how = {"robust": Fixed([1.0, 0.0]), "accurate": Fixed([0.0, 0.1]), "sigma": 1.0, "mixing_weight": 0.25}
    assert attack_smoothed_mixture(data, radii=[0.0], **how).accuracy[0] == 1.0
    assert attack_smoothed_mixture(data, radii=[0.0], accurate_vote="softmax", **how).accuracy[0] == 0.0
