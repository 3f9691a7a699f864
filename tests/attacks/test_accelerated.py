"""Models in bf16 with folded batch norms and channels last, attacked and mixed as they are."""

import numpy as np
import pytest
import torch
from torch import nn

from certmix.adaptive.mixture import AdaptiveMixture
from certmix.adaptive.training import GateTraining, train_gate
from certmix.attacks import attack_model, cross_entropy
from certmix.attacks.pgd import value_and_gradient
from certmix.datasets import ArrayDataset
from certmix.models.acceleration import Accelerated, accelerate

SHAPE = (3, 8, 8)


def _network(seed):
    torch.manual_seed(seed)
    parts = nn.Conv2d(3, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.Flatten(), nn.Linear(128, 5)
    return nn.Sequential(*parts).eval()


@pytest.fixture
def seen(monkeypatch):
    """(precision, whether channels lie last) of what every accelerated model's first layer gets."""
    found, init = [], Accelerated.__init__

    def watched(self, *arguments):
        init(self, *arguments)

        def note(_, inputs):
            found.append((inputs[0].dtype, inputs[0].is_contiguous(memory_format=torch.channels_last)))

        next(self.model.children()).register_forward_pre_hook(note)

    monkeypatch.setattr(Accelerated, "__init__", watched)
    return found


@pytest.fixture
def data():
    images = np.random.default_rng(0).random((40, *SHAPE)).astype(np.float32)
    with torch.no_grad():
        labels = _network(1)(torch.as_tensor(images)).argmax(dim=1)
    return ArrayDataset(images, labels, num_classes=5)


def test_attacks_climb_in_bf16(seen, data):
    plain, labels = _network(1), torch.as_tensor(data.labels)
    fast = accelerate(plain, precision="bf16", fast=True)
    gradients = [
        value_and_gradient(lambda x, m=model: cross_entropy(m(x), labels), data.inputs)[1] for model in (plain, fast)
    ]
    assert gradients[1].dtype == torch.float32
    assert torch.cosine_similarity(*(gradient.flatten() for gradient in gradients), dim=0) > 0.99
    result = attack_model(fast, data.inputs, labels, norm="linf", attack_radius=0.1, steps=5)
    assert result.fooled.float().mean() > 0.3
    assert set(seen) == {(torch.bfloat16, True)}


def test_a_gate_is_trained_in_float32_on_models_that_compute_in_bf16(seen, data):
    g, h = (accelerate(_network(seed), precision="bf16", fast=True) for seed in (1, 2))
    mixture = AdaptiveMixture(accurate=g, robust=h, input_shape=SHAPE, kind="small")
    before = [parameter.clone() for parameter in mixture.network.parameters()]
    weights = [parameter.clone() for parameter in (*g.parameters(), *h.parameters())]
    train_gate(mixture, data, GateTraining(attack_radius=0.05, epochs=1, steps=(1, 1), batch_size=20))
    after = list(mixture.network.parameters())
    assert all(parameter.dtype == torch.float32 and parameter.isfinite().all() for parameter in after)
    assert any(not torch.equal(*pair) for pair in zip(before, after, strict=True))
    assert all(torch.equal(*pair) for pair in zip(weights, (*g.parameters(), *h.parameters()), strict=True))
    assert set(seen) == {(torch.bfloat16, True)}
