"""The moving average of weights against its recursion."""

import pytest
import torch

from certmix.training.average import Average


def test_the_average_follows_by_its_recursion():
    model = torch.nn.Sequential(torch.nn.Linear(1, 1, bias=False), torch.nn.BatchNorm1d(1))
    with torch.no_grad():
        model[0].weight.fill_(0.0)
    average, expected = Average(model, 0.5), 0.0
    for step in range(8):
        with torch.no_grad():
            model[0].weight.fill_(float(step + 1))
            model[1].num_batches_tracked += 1
        average.update(step)
        past = min(0.5, (1 + step) / (10 + step))
        expected = past * expected + (1 - past) * (step + 1)
    assert average.model[0].weight.item() == pytest.approx(expected, rel=1e-6)
    assert average.model[1].num_batches_tracked.item() == 8
    assert model[0].weight.item() == 8.0
    assert not average.model.training
