"""APGD: closed forms, budgets, per-input radii, and no weaker than PGD on a trained network."""

import pytest
import torch

import certmix
from certmix.attacks import cross_entropy, get_norm, pgd
from certmix.attacks.apgd import apgd, targeted_logit_ratio
from certmix.errors import InvalidArgument
from certmix.training.train import train


@pytest.mark.parametrize("norm", ["l2", "linf"])
def test_a_linear_objective_reaches_its_closed_form(norm):
    torch.manual_seed(0)
    slope = torch.randn(12, dtype=torch.float64)
    x = torch.zeros(3, 12, dtype=torch.float64)
    radius = torch.tensor([0.0, 0.5, 2.0], dtype=torch.float64)
    result = apgd(lambda v: v @ slope, x, norm=norm, attack_radius=radius, steps=50, clip=None)
    dual = get_norm(get_norm(norm).dual).length(slope[None])
    assert torch.allclose(result.objective, radius * dual, rtol=1e-3)
    assert (get_norm(norm).length(result.inputs - x) <= radius + 1e-9).all()


def test_a_narrow_bowl_is_climbed_where_fixed_steps_overshoot():
    scales = torch.tensor([1.0, 30.0], dtype=torch.float64)
    peak = torch.tensor([[0.3, -0.2]], dtype=torch.float64)

    def bowl(v):
        return -(((v - peak) * scales) ** 2).sum(dim=1)

    x = torch.zeros(1, 2, dtype=torch.float64)
    result = apgd(bowl, x, norm="l2", attack_radius=1.0, steps=200, clip=None, random_start=False)
    fixed = pgd(bowl, x, norm="l2", attack_radius=1.0, steps=200, schedule="constant", clip=None, random_start=False)
    assert result.objective > -0.1  # it starts at -36
    assert result.objective >= fixed.objective


def test_it_is_no_weaker_than_pgd_on_a_trained_network_and_stays_in_its_budget():
    data = certmix.load_dataset("digits", split="train", max=300)
    model = train(data, epochs=10, sigma=0.2)
    x = torch.stack([data[i][0] for i in range(100)])
    y = torch.as_tensor(data.labels[:100])
    found = {}
    for name, attack in (("pgd", pgd), ("apgd", apgd)):
        result = attack(
            lambda v: cross_entropy(model(v), y),
            x,
            norm="linf",
            attack_radius=0.15,
            steps=50,
            generator=torch.Generator().manual_seed(0),
            succeeded=lambda v: model(v).argmax(dim=1) != y,
        )
        found[name] = float(result.succeeded.float().mean())
        assert (result.inputs - x).abs().max() <= 0.15 + 1e-6
        assert ((result.inputs >= 0) & (result.inputs <= 1)).all()
    assert found["apgd"] >= found["pgd"] - 0.01
    assert found["apgd"] > 0.2


def test_the_targeted_ratio_ignores_shift_and_scale_and_is_positive_where_the_target_wins():
    torch.manual_seed(0)
    logits, labels, targets = torch.randn(5, 6), torch.zeros(5, dtype=torch.long), torch.full((5,), 3)
    ratio = targeted_logit_ratio(logits, labels, targets)
    assert torch.allclose(ratio, targeted_logit_ratio(7 * logits + 3, labels, targets), atol=1e-5)
    assert torch.equal(ratio > 0, logits[:, 3] > logits[:, 0])


def test_bad_arguments_are_named():
    x = torch.zeros(1, 2)
    with pytest.raises(InvalidArgument, match="norm of apgd must be l2 or linf, got 'l1'; use pgd"):
        apgd(lambda v: v.sum(dim=1), x, norm="l1", attack_radius=1.0)
    with pytest.raises(InvalidArgument, match="steps must be >= 1, got 0"):
        apgd(lambda v: v.sum(dim=1), x, norm="l2", attack_radius=1.0, steps=0)
    with pytest.raises(InvalidArgument, match="targeted_logit_ratio needs 4 classes or more, got 3"):
        targeted_logit_ratio(torch.zeros(1, 3), torch.zeros(1, dtype=torch.long), torch.ones(1, dtype=torch.long))
