"""Certified accuracy never exceeds attacked accuracy, and attacked accuracy never rises with the radius."""

import numpy as np
import pytest
import torch
from torch import nn

import certmix
from certmix.attacks.bracket import attack_smoothed_mixture
from certmix.datasets.batches import stack
from certmix.errors import InvalidArgument

RADII = [0.0, 0.25, 0.5, 1.0, 2.0]


def test_certified_below_attacked_above(accurate, noisy):
    data = certmix.load_dataset("digits", split="test", max=30)
    statistics = certmix.sample(noisy, data, sigma=0.5, num_estimation=2000, seed=3)
    for weight in (0.8, 1.0):
        attacked = attack_smoothed_mixture(
            noisy, accurate, *stack(data), sigma=0.5, mixing_weight=weight, radii=RADII, grid_levels=16, steps=10,
            restarts=1, votes=300,
        )  # fmt: skip
        assert (np.diff(attacked.right.astype(int), axis=0) <= 0).all()
        made = certmix.certify(statistics, mixing_weight=weight)
        certified = certmix.certified_accuracy(made, statistics.labels, RADII).accuracy[0]
        assert (certified <= attacked.accuracy + 1e-9).all()
        assert attacked.accuracy[0] > 0.75
        assert attacked.accuracy[-1] < 0.2  # the attack bites


def test_an_accurate_model_is_needed_below_weight_1():
    with pytest.raises(InvalidArgument, match="accurate must be given at weights below 1, got none at weight 0.5"):
        attack_smoothed_mixture(
            nn.Flatten(), None, torch.zeros(1, 3), torch.zeros(1), sigma=1.0, mixing_weight=0.5, radii=[0.1]
        )
