"""The mixture of Eq. 5."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from certmix.errors import InvalidArgument
from certmix.models import MixedClassifier


class Fixed(torch.nn.Module):
    """Returns the logits it was given."""

    def __init__(self, logits):
        super().__init__()
        self.logits = torch.nn.Parameter(torch.as_tensor(logits, dtype=torch.float64))

    def forward(self, inputs):
        return self.logits


INPUT = torch.zeros(1, 1)


def _mixed(g, h, weight, vote="softmax"):
    return MixedClassifier(accurate=Fixed(g), robust=Fixed(h), mixing_weight=weight, accurate_vote=vote)


def _mix(g, h, weight, vote="softmax"):
    return _mixed(g, h, weight, vote)(INPUT)


logits = st.lists(st.floats(-30, 30), min_size=3, max_size=3).map(lambda row: [row])


@given(logits, logits, st.floats(0, 1), st.sampled_from(["class", "softmax"]))
def test_the_mixture_is_equation_five(g, h, weight, vote):
    g_probabilities = torch.softmax(torch.tensor(g, dtype=torch.float64), 1)
    if vote == "class":
        g_probabilities = torch.nn.functional.one_hot(torch.tensor(g, dtype=torch.float64).argmax(1), 3).double()
    expected = (1 - weight) * g_probabilities + weight * torch.softmax(torch.tensor(h, dtype=torch.float64), 1)
    assert torch.allclose(_mix(g, h, weight, vote).exp(), expected, atol=1e-12)


@pytest.mark.parametrize("weight", [0.0, 1e-300, 0.3, 0.5, 1.0])
@pytest.mark.parametrize("vote", ["class", "softmax"])
def test_outputs_and_gradients_are_finite_for_huge_logits(weight, vote):
    mixture = _mixed([[1e4, -1e4, 0.0]], [[-1e4, 0.0, 1e4]], weight, vote)
    outputs = mixture(INPUT)
    assert torch.isfinite(outputs).all()
    torch.nn.functional.nll_loss(outputs, torch.tensor([1])).backward()
    gradients = [p.grad for p in mixture.parameters() if p.grad is not None]
    assert gradients or (vote == "class" and weight == 0)
    assert all(torch.isfinite(g).all() for g in gradients)


def test_gradients_flow_into_both_models():
    mixture = _mixed([[0.3, 0.1, 0.0]], [[0.0, 0.2, 0.1]], 0.6)
    mixture(INPUT)[0, 1].backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in mixture.parameters())


def test_g_votes_with_its_class_unless_told_otherwise_and_attacks_may_soften_it():
    parts = {"accurate": Fixed([[0.3, 0.1, 0.0]]), "robust": Fixed([[0.0, 0.2, 0.1]])}
    mixture = MixedClassifier(**parts, mixing_weight=0.4)
    assert mixture.accurate_vote == "class"
    assert torch.equal(mixture(INPUT), _mix([[0.3, 0.1, 0.0]], [[0.0, 0.2, 0.1]], 0.4, "class"))
    assert torch.equal(mixture.softened()(INPUT), _mix([[0.3, 0.1, 0.0]], [[0.0, 0.2, 0.1]], 0.4, "softmax"))


def test_a_mixture_checks_its_weight_and_its_shapes():
    with pytest.raises(InvalidArgument, match=r"mixing_weight must be in \[0, 1\]"):
        _mix([[0.0]], [[0.0]], 1.5)
    with pytest.raises(InvalidArgument, match="accurate_vote must be one of class, softmax, got 'hard'"):
        _mix([[0.0]], [[0.0]], 0.5, "hard")
    with pytest.raises(InvalidArgument, match="outputs of one shape"):
        _mix([[0.0, 1.0]], [[0.0, 1.0, 2.0]], 0.5)
    assert math.isclose(float(_mix([[0.0, 0.0]], [[0.0, 0.0]], 0.5).detach().exp().sum()), 1.0)
