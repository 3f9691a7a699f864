"""Table 1's pattern on digits, and the gaps by hand."""

import numpy as np
import pytest
import torch
from torch import nn

from certmix.datasets import ArrayDataset
from certmix.errors import InvalidArgument
from certmix.paper.confidence import ConfidenceGap, confidence_gaps


def test_the_robust_model_is_sure_when_right_under_attack_and_unsure_when_wrong(robust, accurate, dataset):
    clean, attacked = confidence_gaps(robust, dataset, norm="linf", attack_radius=0.1)
    assert clean.data == "clean"
    assert attacked.right.mean() > 2 * clean.wrong.mean()
    assert attacked.accuracy < clean.accuracy
    fragile = confidence_gaps(accurate, dataset, norm="linf", attack_radius=0.15)[1]
    assert fragile.wrong.mean() > 0.7  # the accurate model errs with confidence
    assert 0.5 < attacked.weight_needed() < 0.75


def test_attacked_gaps_are_the_smallest_margins_even_where_the_attack_fails(robust, dataset):
    clean, attacked = confidence_gaps(robust, dataset, batch_size=90, norm="linf", attack_radius=0.02, restarts=2)
    stays = len(attacked.right) / len(dataset)
    assert stays > 0.8
    assert attacked.right.mean() < clean.right.mean()


def test_gaps_by_hand():
    class Fixed(nn.Module):
        def forward(self, inputs):
            return torch.tensor([[0.7, 0.2, 0.1], [0.5, 0.3, 0.2]]).log() + 0 * inputs.sum(dim=1, keepdim=True)

    clean = confidence_gaps(
        Fixed(), ArrayDataset(np.zeros((2, 4)), [0, 1], num_classes=3), norm="l2", attack_radius=0.1
    )[0]
    np.testing.assert_allclose([*clean.right, *clean.wrong], [0.5, 0.2], rtol=1e-5)
    assert clean.accuracy == 0.5
    assert clean.weight_needed() == pytest.approx(1 / 1.5, rel=1e-5)  # margin 1/2 suffices above weight 2/3 (Lemma 3.2)
    assert ConfidenceGap("pgd", 0.0, np.array([]), np.array([0.3])).weight_needed() == 1.0


def test_bad_input_is_named(robust, dataset):
    with pytest.raises(InvalidArgument, match="attack must be pgd or auto, got 'fab'"):
        confidence_gaps(robust, dataset, norm="l2", attack_radius=0.1, attacks=["fab"])
