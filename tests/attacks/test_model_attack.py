"""Attacks on classifiers: closed-form worst cases of linear models, budgets, restarts, adversarial training."""

import pytest
import torch
from torch import nn

from certmix.attacks import attack_model, get_norm
from certmix.attacks.model_attack import is_fooled
from certmix.errors import InvalidArgument

DUAL = {"l1": float("inf"), "l2": 2, "linf": 1}


@pytest.mark.parametrize("loss", ["cross-entropy", "margin"])
@pytest.mark.parametrize("norm", DUAL)
def test_two_linear_classes_fall_exactly_where_the_distance_says(norm, loss):
    torch.manual_seed(0)
    model = nn.Linear(10, 2).double()
    inputs = torch.randn(300, 10).double()
    labels = model(inputs).argmax(dim=1)
    slope = (model.weight[0] - model.weight[1]).detach()
    logits = model(inputs).detach()
    distance = (logits[:, 0] - logits[:, 1]).abs() / torch.linalg.vector_norm(slope, ord=DUAL[norm])
    for radius in (0.2, 0.7, 1.5):
        found = attack_model(model, inputs, labels, norm=norm, attack_radius=radius, steps=60, loss=loss, clip=None)
        assert not found.fooled[distance > radius * (1 + 1e-9)].any()
        assert found.fooled[distance < 0.98 * radius].all()


def test_restarts_only_help_and_the_budget_is_kept(accurate, digits):
    inputs, labels = digits
    for norm, radius in (("l2", 0.4), ("linf", 0.06), ("l1", 1.5)):
        how = {"norm": norm, "attack_radius": radius, "steps": 5}
        once = attack_model(accurate, inputs, labels, **how)
        thrice = attack_model(accurate, inputs, labels, restarts=3, **how)
        assert (once.fooled <= thrice.fooled).all()
        for found in (once, thrice):
            assert (get_norm(norm).length(found.inputs - inputs) <= radius * (1 + 1e-5)).all()
            assert found.inputs.min() >= 0
            assert found.inputs.max() <= 1
            assert torch.equal(found.fooled, accurate(found.inputs).argmax(dim=1) != labels)
            assert found.accuracy == 1 - float(found.fooled.double().mean())


def test_a_random_start_does_not_depend_on_the_global_seed(accurate, digits):
    inputs, labels = digits
    torch.manual_seed(1)
    first = attack_model(accurate, inputs[:20], labels[:20], norm="linf", attack_radius=0.1, steps=2).inputs
    torch.manual_seed(2)
    again = attack_model(accurate, inputs[:20], labels[:20], norm="linf", attack_radius=0.1, steps=2).inputs
    assert torch.equal(first, again)


def test_adversarial_training_withstands_what_clean_training_does_not(accurate, robust, digits):
    inputs, labels = digits
    how = {"norm": "linf", "attack_radius": 0.15}
    assert attack_model(robust, inputs, labels, **how).accuracy > 0.55
    assert attack_model(accurate, inputs, labels, **how).accuracy < 0.45
    assert 1 - float(is_fooled(robust, inputs, labels).double().mean()) > 0.9


def test_bad_input_is_named(accurate, digits):
    with pytest.raises(InvalidArgument, match="loss must be one of cross-entropy, margin, dlr, got 'hinge'"):
        attack_model(accurate, *digits, norm="l2", attack_radius=1.0, loss="hinge")
