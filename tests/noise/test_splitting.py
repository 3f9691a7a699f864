"""Splitting noise against the paper's formula in fractions, and its theorem by counting shifts on whole little grids."""

import itertools
from fractions import Fraction
from math import ceil

import numpy as np
import pytest
import torch

from certmix.errors import InvalidArgument
from certmix.noise import SplittingNoise
from certmix.noise.splitting import splitting_offsets

CPU = torch.device("cpu")


def _views(noise, inputs):
    """What the network sees of each input at every shift, shape (inputs, shifts, size)."""
    made = torch.empty(len(inputs), noise.values, inputs.shape[1])
    for row, clean in enumerate(inputs):
        noise.add_to(made[row], clean, index=row, purpose="estimation", start=0)
    return made


def _paper(x, s, split):
    """x tilde of one pixel, from Levine and Feizi's interval around x, in fractions."""
    k = ceil((x - s) / (2 * split))
    return (min(2 * split * k + s, Fraction(1)) + max(2 * split * (k - 1) + s, Fraction(0))) / 2


@pytest.mark.parametrize(("levels", "values"), [(4, 1), (4, 3), (5, 5), (3, 10)])
def test_every_shift_is_the_papers_formula_bit_for_bit(levels, values):
    split = Fraction(values, 2 * levels)
    noise = SplittingNoise(3, float(split), 6, CPU, levels=levels)
    offsets = splitting_offsets(3, 6, values, CPU).tolist()
    rng = np.random.default_rng(values)
    steps = rng.integers(0, levels + 1, size=(5, 6))
    seen = _views(noise, torch.from_numpy(steps).float() / levels)
    for row, shift, pixel in itertools.product(range(5), range(values), range(6)):
        s = (Fraction((offsets[pixel] + shift) % values) + Fraction(1, 2)) / levels
        wanted = _paper(Fraction(int(steps[row, pixel]), levels), s, split)
        assert seen[row, shift, pixel].item() == np.float32(float(wanted))


@pytest.mark.parametrize("values", [2, 3, 7])
def test_a_step_in_l1_changes_what_is_seen_at_one_shift_at_most(values):
    levels, size = 3, 3
    noise = SplittingNoise(1, values / (2 * levels), size, CPU, levels=levels)
    grid = torch.tensor(list(itertools.product(range(levels + 1), repeat=size)))
    seen = _views(noise, grid.float() / levels)
    changed = (seen[:, None] != seen[None]).any(dim=-1).sum(dim=-1)
    distance = (grid[:, None] - grid[None]).abs().sum(dim=-1)
    assert (changed <= distance.clamp(max=values)).all()
    assert (changed == distance).sum() > len(grid)  # and the constant is attained


def test_offsets_are_spread_and_belong_to_the_seed_alone():
    offsets = splitting_offsets(0, 3072, 48, CPU)
    counts = torch.bincount(offsets, minlength=48)
    assert counts.min() > 30
    assert counts.max() < 110
    assert torch.equal(offsets[:64], splitting_offsets(0, 64, 48, CPU))
    assert not torch.equal(offsets, splitting_offsets(1, 3072, 48, CPU))


def test_training_sees_what_the_enumeration_shows():
    noise = SplittingNoise(0, 0.75, 4, CPU, levels=16)
    inputs = torch.arange(20).view(5, 1, 2, 2) % 17 / 16
    every = _views(noise, inputs.view(5, 4))
    seen = noise.shift_randomly(inputs, torch.Generator().manual_seed(0))
    assert seen.shape == inputs.shape
    shifts = {(every[row] == seen[row].view(1, 4)).all(dim=1).nonzero()[0].item() for row in range(5)}
    assert len(shifts) > 1  # not one shift for the whole batch


@pytest.mark.parametrize("split", [0.1, 0.0, -0.5, float("nan"), float("inf"), 1e9])
def test_a_lambda_off_the_grid_is_refused_with_the_nearest(split):
    with pytest.raises(InvalidArgument, match=r"lambda of splitting noise must be a multiple of 1/32 .* take "):
        SplittingNoise(0, split, 4, CPU, levels=16)


def test_inputs_off_the_grid_and_draws_beyond_the_values_are_refused():
    noise = SplittingNoise(0, 0.5, 4, CPU, levels=16)
    with pytest.raises(InvalidArgument, match="splitting noise needs inputs on the grid of 1/16"):
        noise.accept(torch.full((4,), 0.51), 7)
    with pytest.raises(InvalidArgument, match="splitting noise has 16 values, got draw 16"):
        noise.add_to(torch.empty(2, 4), torch.zeros(4), index=0, purpose="estimation", start=15)
