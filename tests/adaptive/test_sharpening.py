"""MixedNUTS: by hand, order kept, and what is chosen is the best of what keeps the clean accuracy."""

import math

import pytest
import torch
from torch import nn

from certmix.adaptive.attacks import AttackBudget
from certmix.adaptive.calibration import fixed_mixture
from certmix.adaptive.sharpening import Sharpened, Sharpening, sharpened_mixture
from certmix.attacks.losses import cross_entropy, margin
from certmix.attacks.pgd import pgd
from certmix.datasets import ArrayDataset
from certmix.errors import InvalidArgument


def test_by_hand_and_blind_to_shift_and_scale_of_the_logits():
    logits = torch.tensor([[3.0, 1.0]], dtype=torch.float64)  # normalised: 1 and -1, up to the layer norm's 1e-5
    high, low = (value * 0.5 * (1 + math.erf(value / math.sqrt(2))) for value in (0.5, -1.5))
    expected = torch.tensor([[2 * high**3, -2 * (-low) ** 3]], dtype=torch.float64)
    sharpening = Sharpening(scale=2.0, exponent=3.0, bias=-0.5)
    assert torch.allclose(sharpening(logits), expected, atol=1e-4)
    assert torch.allclose(sharpening(10 * logits + 7), expected, atol=1e-4)


def test_the_class_stays_where_its_value_is_above_zero_and_gradients_are_finite():
    logits = torch.randn(500, 10, generator=torch.Generator().manual_seed(0), requires_grad=True)
    for sharpening in (Sharpening(5.0, 4.0, -0.3), Sharpening(1.0, 1.0, 0.0), Sharpening(10.0, 6.0, -1.1)):
        outputs = sharpening(logits)
        sure = outputs.amax(dim=1) > 0
        assert sure.sum() > 100
        assert torch.equal(outputs.argmax(dim=1)[sure], logits.argmax(dim=1)[sure])
        (gradient,) = torch.autograd.grad(outputs.sum(), logits)
        assert torch.isfinite(gradient).all()


@pytest.fixture(scope="module")
def pair():
    """Two linear models, one of them right more often, and inputs that both know something about."""
    torch.manual_seed(0)
    linear = nn.Linear(12, 4)
    inputs = torch.rand(300, 12)
    labels = linear(inputs).argmax(dim=1)
    models = []
    for noise in (0.02, 0.1):
        model = nn.Linear(12, 4)
        weight = linear.weight + noise * torch.randn(4, 12)
        model.load_state_dict({"weight": 20 * weight, "bias": 20 * linear.bias})
        models.append(model.eval())
    return (*models, ArrayDataset(inputs.numpy(), labels.numpy(), num_classes=4))


def test_of_the_choices_the_one_whose_attacked_margins_hold_most_often(pair):
    g, h, data = pair
    budget = AttackBudget("linf", 0.01, steps=5)
    choices = [
        Sharpening(scale, exponent, bias) for scale in (0.5, 5.0) for exponent in (1.0, 3.0) for bias in (-0.5, 0)
    ]
    inputs, labels = torch.stack([data[row][0] for row in range(len(data))]), torch.as_tensor(data.labels)
    right = [(model(inputs).argmax(dim=1) == labels).double().mean() for model in (g, h)]
    target = float(right[0] + right[1]) / 2
    assert right[0] > right[1]
    moved = pgd(
        lambda x: cross_entropy(h(x), labels), inputs, norm="linf", attack_radius=0.01, steps=5, random_start=False
    ).inputs

    def holds(mixture):
        assert (mixture(inputs).argmax(dim=1) == labels).double().mean() >= target - 1e-9
        ahead = -margin(mixture.robust(moved).softmax(dim=1), labels)  # g gives all to the best other class
        return int((ahead * mixture.mixing_weight > 1 - mixture.mixing_weight).sum())

    how = {"accurate": g, "validation": data, "target": target}
    each = [holds(fixed_mixture(robust=Sharpened(h, choice), **how)) for choice in choices]
    found = sharpened_mixture(robust=h, budget=budget, choices=choices, batch_size=77, **how)
    assert max(each) - min(each) > 10
    assert abs(holds(found) - max(each)) <= 1  # a weight in the middle of its step, in place of its end


def test_a_target_beyond_all_choices_is_named(pair):
    _, h, data = pair
    budget = AttackBudget("linf", 0.05, steps=1)
    with pytest.raises(
        InvalidArgument, match=r"target clean accuracy must be one that some sharpening reaches, got 1\.0"
    ):
        sharpened_mixture(accurate=h, robust=h, validation=data, target=1.0, budget=budget)
