"""Theorem 3.5 with known constants is a certificate: networks that are 1-Lipschitz by construction, attacked inside it."""

import numpy as np
import pytest
import torch
from torch import nn

import certmix
from certmix.attacks import attack_model
from certmix.attacks.losses import margin
from certmix.certifiers import softmax_lipschitz_constant
from certmix.datasets.batches import stack
from certmix.lipschitz import estimate_local_lipschitz, local_lipschitz_radius
from certmix.models import MixedClassifier

TEMPERATURE = 0.25


class GroupSort(nn.Module):
    """Pairs of units in order: 1-Lipschitz, and it keeps gradient norms."""

    def forward(self, inputs):
        pairs = inputs.view(len(inputs), -1, 2)
        return torch.stack([pairs.amax(dim=2), pairs.amin(dim=2)], dim=2).flatten(1)


class Tempered(nn.Module):
    """Logits of a 1-Lipschitz network over the temperature."""

    def __init__(self, network):
        super().__init__()
        self.network = network

    def forward(self, inputs):
        return self.network(inputs) / TEMPERATURE


def _orthogonal_network():
    orthogonal = nn.utils.parametrizations.orthogonal
    return nn.Sequential(
        nn.Flatten(), orthogonal(nn.Linear(64, 64)), GroupSort(), orthogonal(nn.Linear(64, 64)), GroupSort(),
        orthogonal(nn.Linear(64, 10)),
    )  # fmt: skip


def _torchlip_network():
    torchlip = pytest.importorskip("deel.torchlip")
    return torchlip.Sequential(
        nn.Flatten(), torchlip.SpectralLinear(64, 64), torchlip.GroupSort2(), torchlip.SpectralLinear(64, 64),
        torchlip.GroupSort2(), torchlip.SpectralLinear(64, 10),
    )  # fmt: skip


@pytest.fixture(scope="module", params=[_orthogonal_network, _torchlip_network])
def network(request):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = Tempered(request.param())
        inputs, labels = stack(certmix.load_dataset("digits", split="train"))
        optimizer = torch.optim.Adam(model.parameters(), lr=1e-2)
        for _ in range(8):
            for rows in torch.randperm(len(labels)).split(128):
                optimizer.zero_grad()
                nn.functional.cross_entropy(model(inputs[rows]), labels[rows]).backward()
                optimizer.step()
    return model.eval()


@pytest.fixture(scope="module")
def digits():
    return stack(certmix.load_dataset("digits", split="test", max=100))


def _certified(network, inputs, weights):
    with torch.no_grad():
        h = network(inputs).double().softmax(dim=1).numpy()
    constant = softmax_lipschitz_constant(1.0001, temperature=TEMPERATURE)  # 1e-4 for the float32 layers
    return h.argmax(axis=1), local_lipschitz_radius(h, h.argmax(axis=1), constant, weights)


@pytest.mark.filterwarnings("ignore")
def test_the_network_is_1_lipschitz(network, digits):
    inputs, _ = digits
    for seed in range(20):
        moved = inputs + 0.5 * torch.randn(inputs.shape, generator=torch.Generator().manual_seed(seed))
        with torch.no_grad():
            change = TEMPERATURE * (network(moved) - network(inputs)).norm(dim=1)
        assert (change <= 1.0001 * (moved - inputs).flatten(1).norm(dim=1)).all()


@pytest.mark.filterwarnings("ignore")
def test_theorem_3_5_certifies_and_no_attack_succeeds_inside(network, digits):
    inputs, labels = digits
    weights = [0.7, 0.9, 1.0]
    prediction, radius = _certified(network, inputs, weights)
    assert (np.diff(radius, axis=0) >= 0).all()
    right = prediction == labels.numpy()
    assert right.mean() > 0.8
    assert np.median(radius[2][right]) > 0.1
    torch.manual_seed(0)
    hostile = nn.Sequential(nn.Flatten(), nn.Linear(64, 10))  # any accurate model will do
    for weight, radii in zip(weights, radius, strict=True):
        mixture = MixedClassifier(accurate=hostile, robust=network, mixing_weight=weight).eval()
        certified = torch.as_tensor(radii > 0)
        found = attack_model(
            mixture, inputs[certified], torch.as_tensor(prediction)[certified], norm="l2", restarts=2, clip=None,
            attack_radius=torch.as_tensor(0.99 * radii).float()[certified], loss=margin,
        )  # fmt: skip
        assert not found.fooled.any()


@pytest.mark.filterwarnings("ignore")
def test_estimates_stay_below_the_known_constant(network, digits):
    inputs, _ = digits
    found = estimate_local_lipschitz(network, inputs[:30], attack_radius=0.3, steps=10, balls=2, clip=None)
    known = softmax_lipschitz_constant(1.0001, temperature=TEMPERATURE)
    assert (found.constant <= known).all()
    assert found.constant.max() > 0.3 * known
