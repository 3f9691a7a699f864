"""Attack losses by hand, and their invariances."""

import math

import pytest
import torch

from certmix.attacks import class_probability, cross_entropy, get_loss, logit_difference_ratio, margin
from certmix.errors import InvalidArgument

LOGITS = torch.tensor([[2.0, 0.5, -1.0, 0.0], [0.0, 3.0, 1.0, 2.0]])
LABELS = torch.tensor([0, 2])


def test_worked_numbers():
    assert margin(LOGITS, LABELS).tolist() == [-1.5, 2.0]
    torch.testing.assert_close(logit_difference_ratio(LOGITS, LABELS), torch.tensor([-1.5 / 2.0, 2.0 / 2.0]))
    total = sum(math.exp(z) for z in LOGITS[0].tolist())
    assert float(class_probability(LOGITS, LABELS)[0]) == pytest.approx(math.exp(2) / total)
    assert float(cross_entropy(LOGITS, LABELS)[0]) == pytest.approx(math.log(total) - 2)


def test_the_ratio_ignores_shift_and_scale():
    torch.testing.assert_close(logit_difference_ratio(7 * LOGITS - 3, LABELS), logit_difference_ratio(LOGITS, LABELS))


def test_margin_is_positive_exactly_where_wrong():
    logits = torch.randn(200, 5, generator=torch.Generator().manual_seed(0))
    labels = torch.arange(200) % 5
    assert torch.equal(margin(logits, labels) > 0, logits.argmax(dim=1) != labels)


def test_bad_input_is_named():
    with pytest.raises(InvalidArgument, match="needs 3 classes or more, got 2; use the margin loss"):
        logit_difference_ratio(torch.zeros(1, 2), torch.zeros(1, dtype=torch.long))
    with pytest.raises(InvalidArgument, match="loss must be one of cross-entropy, margin, dlr, got 'best'"):
        get_loss("best")
