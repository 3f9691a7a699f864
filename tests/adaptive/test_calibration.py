"""Calibration of a gate and of a fixed weight on held-out inputs, by hand and in batches."""

import numpy as np
import pytest
import torch

from certmix.adaptive.attacks import AttackBudget
from certmix.adaptive.calibration import base_values, calibrate_mixture, fixed_mixture
from certmix.adaptive.mixture import AdaptiveMixture
from certmix.datasets import ArrayDataset
from certmix.errors import InvalidArgument
from certmix.models import make_architecture
from tests.adaptive.test_oracle import Table


def _numbered(labels):
    """A data set whose inputs are their own numbers, scaled into [0, 1]."""
    return ArrayDataset(np.arange(len(labels), dtype=np.float32)[:, None] / 100, np.array(labels), num_classes=2)


class Hundredfold(Table):
    def forward(self, inputs):
        return super().forward((100 * inputs).round())


def test_the_fixed_weight_is_the_middle_of_the_step_that_keeps_the_accuracy():
    # g is right on inputs 0 and 1, h on 2: the mixture is right on 0 below 5/7, on 1 below 5/8, on 2 above 5/9.
    g = Hundredfold(torch.tensor([[0.75, 0.25], [0.75, 0.25], [0.75, 0.25]]).log())
    h = Hundredfold(torch.tensor([[0.4, 0.6], [0.35, 0.65], [0.3, 0.7]]).log())
    labels = [0, 0, 1]
    steps = {0: 5 / 7, 1: 5 / 8, 2: 5 / 9}
    for target, low, high in ((1.0, steps[2], steps[1]), (2 / 3, steps[1], steps[0]), (1 / 3, steps[0], 1.0)):
        fixed = fixed_mixture(accurate=g, robust=h, validation=_numbered(labels), target=target)
        assert fixed.mixing_weight == pytest.approx((low + high) / 2)
        right = (fixed(torch.arange(3)[:, None] / 100).argmax(dim=1) == torch.tensor(labels)).double().mean()
        assert float(right) >= target - 1e-9
    with pytest.raises(InvalidArgument):
        fixed_mixture(accurate=g, robust=h, validation=_numbered([1, 1, 1]), target=1.5)


@pytest.fixture(scope="module")
def mixture():
    torch.manual_seed(0)
    bases = {name: make_architecture("digits-cnn") for name in ("accurate", "robust")}
    return AdaptiveMixture(**bases, input_shape=(1, 8, 8)).eval()


@pytest.fixture(scope="module")
def data():
    torch.manual_seed(1)
    return ArrayDataset(torch.rand(30, 1, 8, 8), torch.randint(0, 10, (30,)), num_classes=10)


def test_values_do_not_depend_on_the_batch(mixture, data):
    whole, parts = base_values(mixture, data), base_values(mixture, data, batch_size=7)
    for one, other in zip(whole, parts, strict=True):
        np.testing.assert_allclose(one, other, atol=1e-6)


def test_the_default_target_is_midway_and_the_choice_is_recorded(mixture, data):
    accurate, robust, _ = base_values(mixture, data)
    midway = np.mean([(values.argmax(axis=1) == data.labels).mean() for values in (accurate, robust)])
    chosen = calibrate_mixture(mixture, data)
    assert chosen.target == pytest.approx(midway)
    assert chosen.clean_accuracy >= midway - 1e-12
    assert (chosen.scale, chosen.held_out, chosen.sigma) == (2.0, 30, None)
    assert mixture.calibration.tolist() == pytest.approx([chosen.scale, chosen.shift])


def test_the_scale_is_the_one_that_holds_best_under_attack_b(mixture, data):
    budget = AttackBudget("linf", 0.05, steps=3)
    chosen = calibrate_mixture(mixture, data, target=0.0, scales=[0.5, 4.0], budget=budget, batch_size=11)
    assert chosen.scale in (0.5, 4.0)
    with pytest.raises(InvalidArgument, match="several scales need an attack budget to choose by, got 2 scales"):
        calibrate_mixture(mixture, data, target=0.0, scales=[0.5, 4.0])


def test_calibration_of_the_smoothed_mixture_counts_votes(mixture, data):
    chosen = calibrate_mixture(mixture, data, target=0.0, sigma=0.3, draws=20, batch_size=8)
    assert chosen.sigma == 0.3
