"""How many inputs at a time: what gradients keep, counted; and no attack holds more."""

import numpy as np
import pytest
import torch
from torch import nn

from certmix.adaptive.attacks import AttackBudget
from certmix.adaptive.certificate_attacks import attack_adaptive_certificates
from certmix.adaptive.evaluation import right_under_attack
from certmix.adaptive.mixture import AdaptiveMixture
from certmix.attacks import attack_mixture, attack_model
from certmix.attacks.bracket import attack_smoothed_mixture
from certmix.attacks.certificates import attack_certificates
from certmix.datasets import ArrayDataset
from certmix.errors import InvalidArgument
from certmix.models import memory
from certmix.models.memory import inputs_at_once, kept_bytes
from certmix.paper.confidence import confidence_gaps
from certmix.paper.form_attacks import compare_mixing_forms
from certmix.rules import LinearRule

SHAPE, INPUTS = (1, 4, 4), 23


def test_what_a_gradient_keeps_is_counted_per_input_without_the_weights():
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 50), nn.ReLU(), nn.Linear(50, 10))
    assert kept_bytes(model, SHAPE) == 4 * (16 + 50)  # the input and the hidden values, which two layers keep
    assert kept_bytes(nn.Sequential(nn.Flatten(), nn.Linear(16, 5000)), SHAPE) == 4 * 16


def test_inputs_fill_the_budget_and_are_never_none(monkeypatch):
    model = nn.Sequential(nn.Flatten(), nn.Linear(16, 50), nn.ReLU(), nn.Linear(50, 10))
    assert inputs_at_once(SHAPE, model) == 250
    monkeypatch.setattr(memory, "_BUDGET", {"cpu": 264 * 60 + 263})
    assert inputs_at_once(SHAPE, model) == 60
    assert inputs_at_once(SHAPE, model, model) == 30
    assert inputs_at_once(SHAPE, model, copies=20) == 3
    assert inputs_at_once(SHAPE, model, copies=20_000) == 1
    assert inputs_at_once(SHAPE, model, wanted=77) == 77
    with pytest.raises(InvalidArgument, match="batch_size must be >= 1, got 0"):
        inputs_at_once(SHAPE, model, wanted=0)


@pytest.fixture
def pair():
    torch.manual_seed(0)
    return {
        name: nn.Sequential(nn.Conv2d(1, 3, 3), nn.ReLU(), nn.Conv2d(3, 3, 2), nn.Flatten(), nn.Linear(3, 5)).eval()
        for name in ("accurate", "robust")
    }


@pytest.mark.parametrize(
    "attack",
    ["model", "mixture", "bracket", "certificates", "confidence", "forms", "adaptive", "adaptive-certificates"],
)
def test_no_gradient_of_an_attack_takes_more_than_the_budget(pair, attack, monkeypatch):
    images = np.random.default_rng(0).random((INPUTS, *SHAPE)).astype(np.float32)
    h, ball = pair["robust"], {"norm": "linf", "attack_radius": 0.1}
    labels = h(torch.as_tensor(images)).argmax(dim=1).numpy()
    data = ArrayDataset(images, labels, num_classes=5)
    budget = 12 * (kept_bytes(pair["accurate"], SHAPE) + kept_bytes(h, SHAPE))
    mixture = AdaptiveMixture(**pair, input_shape=SHAPE, kind="small").eval()
    everywhere, noisy = np.full((1, INPUTS), 0.1), {"sigma": 0.2, "draws": 3, "votes": 20}
    calls = {
        "model": lambda: attack_model(h, torch.as_tensor(images), torch.as_tensor(labels), **ball, steps=1),
        "mixture": lambda: attack_mixture(data, **pair, **ball, mixing_weight=[0.9], steps=1),
        "bracket": lambda: attack_smoothed_mixture(data, **pair, **noisy, rule=LinearRule(0.9), radii=[0.1], steps=1),
        "certificates": lambda: attack_certificates(
            h, data, labels, everywhere, [LinearRule(1.0)], **noisy, steps=1, restarts=1, significance=1e-300
        ),
        "confidence": lambda: confidence_gaps(h, data, **ball, steps=1),
        "forms": lambda: compare_mixing_forms(
            data, **pair, **ball, steps=1, num_gammas=2, losses=["margin"], forms=[("gradient-ratio", "probabilities")]
        ),
        "adaptive": lambda: right_under_attack(mixture, data, AttackBudget(**ball, steps=1), settings=["B"]),
        "adaptive-certificates": lambda: attack_adaptive_certificates(
            mixture, data, labels, everywhere[0], **noisy, setting="C", strong_steps=1, significance=1e-300
        ),
    }
    monkeypatch.setattr(memory, "_BUDGET", {"cpu": budget})
    rows = []
    h.register_forward_hook(lambda _, inputs, output: rows.append(len(output) * inputs[0].requires_grad))
    calls[attack]()
    assert 1 <= max(rows) <= 24
    assert sum(size > 0 for size in rows) > 1
