"""Smoothed classifiers for attacks, against half-spaces whose smoothed probability is a normal distribution function."""

import pytest
import torch
from scipy.stats import norm as gaussian
from torch import nn

from certmix.attacks.smoothed import SmoothedClassifier, count_votes
from certmix.errors import InvalidArgument


class HalfSpace(nn.Module):
    """Class 1 where the first coordinate exceeds 1/2; logits far apart, so that soft and hard votes agree."""

    def forward(self, inputs):
        score = 200.0 * (inputs[:, 0] - 0.5)
        return torch.stack([-score, score], dim=1)


INPUTS = torch.tensor([[0.5, 0.2], [0.7, 0.9], [0.2, 0.1]])


def test_probabilities_are_the_normal_distribution_function():
    truth = gaussian.cdf((INPUTS[:, 0].numpy() - 0.5) / 0.25)
    soft = SmoothedClassifier(HalfSpace(), sigma=0.25, draws=20_000)(INPUTS).exp()
    votes = count_votes(HalfSpace(), INPUTS, sigma=0.25, draws=20_000, generator=torch.Generator().manual_seed(0))
    for share in (soft, votes / 20_000):
        torch.testing.assert_close(share[:, 1].double(), torch.as_tensor(truth), rtol=0, atol=4 * 0.5 / 20_000**0.5)
        torch.testing.assert_close(share.sum(dim=1).double(), torch.ones(3).double(), rtol=0, atol=1e-5)


def test_gradients_are_the_normal_density():
    points = INPUTS.clone().requires_grad_(True)
    SmoothedClassifier(HalfSpace(), sigma=0.25, draws=50_000)(points).exp()[:, 1].sum().backward()
    density = gaussian.pdf((INPUTS[:, 0].numpy() - 0.5) / 0.25) / 0.25
    torch.testing.assert_close(points.grad[:, 0].double(), torch.as_tensor(density), rtol=0.1, atol=0.05)
    assert (points.grad[:, 1] == 0).all()


def test_every_call_draws_afresh_and_the_seed_repeats_it():
    first, again = (SmoothedClassifier(HalfSpace(), sigma=0.25, seed=3) for _ in range(2))
    one, two = first(INPUTS), first(INPUTS)
    assert not torch.equal(one, two)
    assert torch.equal(one, again(INPUTS))


def test_votes_on_the_grid_are_those_of_rounded_inputs():
    class OnGrid(nn.Module):
        def forward(self, inputs):
            assert torch.equal(inputs, torch.round(16 * inputs) / 16)
            return inputs

    votes = count_votes(OnGrid(), INPUTS, sigma=0.25, draws=100, generator=torch.Generator(), grid_levels=16)
    assert votes.sum(dim=1).tolist() == [100, 100, 100]


def test_bad_input_is_named():
    with pytest.raises(InvalidArgument, match=r"sigma must be > 0 and finite \(pixel units\), got 0.0."):
        SmoothedClassifier(HalfSpace(), sigma=0.0)
    with pytest.raises(InvalidArgument, match=r"draws must be >= 1, got 0."):
        SmoothedClassifier(HalfSpace(), sigma=0.1, draws=0)
