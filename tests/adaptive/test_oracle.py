"""Theorem 4.1: the oracle is right wherever either model is."""

import torch
from hypothesis import given
from hypothesis import strategies as st

from certmix.adaptive.oracle import Oracle
from certmix.models import MixedClassifier
from tests.strategies import seeded


class Table(torch.nn.Module):
    """Logits by the number of the input."""

    def __init__(self, logits):
        super().__init__()
        self.logits = logits

    def forward(self, inputs):
        return self.logits[inputs[:, 0].long()]


@seeded
@given(seed=st.integers(0, 10**6))
def test_theorem_4_1_the_oracle_is_right_wherever_either_model_is(seed):
    torch.manual_seed(seed)
    inputs, classes = 30, int(torch.randint(2, 6, ()))
    labels = torch.randint(0, classes, (inputs,))
    g, h = (Table(torch.randn(inputs, classes) * 3) for _ in range(2))
    x = torch.arange(inputs).float()[:, None]
    oracle = Oracle(accurate=g, robust=h)
    either = (g(x).argmax(1) == labels) | (h(x).argmax(1) == labels)
    assert torch.equal(oracle.right(x, labels), either)
    # In Eq. 5's own numbers: the mixture at 0 is g and at 1 is h.
    for weight, model in ((0.0, g), (1.0, h)):
        mixture = MixedClassifier(accurate=g, robust=h, mixing_weight=weight)
        assert torch.equal(mixture(x).argmax(1), model(x).argmax(1))
