"""Sampling splitting noise: all values once, votes that brute force agrees with, runs like any other."""

import math
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch

import certmix
from certmix.datasets import ArrayDataset
from certmix.errors import InvalidArgument, RunError
from certmix.json_fields import Fields
from certmix.noise.splitting import splitting_offsets
from certmix.runs.draws import Draws

STEPS = np.random.default_rng(5).integers(0, 6, size=(7, 3))  # of a grid of 1/5
DATA = ArrayDataset((STEPS / 5).astype(np.float32), np.zeros(7), num_classes=4, grid_levels=5)


class _Hash(torch.nn.Module):
    """A vote that any change of any bit of the input changes."""

    def forward(self, inputs):
        bits = inputs.contiguous().view(torch.int32).to(torch.int64) * torch.tensor([7919, 104729, 1299709])
        return torch.nn.functional.one_hot(bits.sum(dim=1) // 64 % 4, 4).float()


def _sample(split, **options):
    rows = options.pop("rows", 16)
    where = certmix.Execution("cpu", rows, shard=options.pop("shard", (0, 1)))
    return certmix.sample(_Hash(), DATA, sigma=split, noise="splitting", execution=where, **options)


@pytest.mark.parametrize("values", [1, 4, 11])
@pytest.mark.parametrize("seed", [0, 3])
def test_votes_are_those_of_brute_force(values, seed):
    made = _sample(values / 10, seed=seed)
    assert (made.draws.num_selection, made.draws.num_estimation) == (0, values)
    offsets, split = splitting_offsets(seed, 3, values, torch.device("cpu")).tolist(), Fraction(values, 10)
    for row, steps in enumerate(STEPS.tolist()):
        counts = np.zeros(4, np.int64)
        for shift in range(values):
            seen = []
            for x, v in zip(steps, offsets, strict=True):
                s = (Fraction((v + shift) % values) + Fraction(1, 2)) / 5
                k = math.ceil((Fraction(x, 5) - s) / (2 * split))
                seen.append(
                    float((min(2 * split * k + s, Fraction(1)) + max(2 * split * (k - 1) + s, Fraction(0))) / 2)
                )
            counts[int(_Hash()(torch.tensor([seen])).argmax())] += 1
        assert made.estimation_counts[row].tolist() == counts.tolist()


def test_the_batch_and_parts_change_nothing_and_the_seed_is_0(tmp_path):
    whole = _sample(1.1, rows=64)
    assert (whole.draws.seed, whole.draws.seed_source, whole.draws.norm) == (0, "chosen", "l1")
    assert np.array_equal(whole.estimation_counts, _sample(1.1, rows=3).estimation_counts)
    for part in (0, 1):
        _sample(1.1, out=tmp_path / f"part-{part}", shard=(part, 2))
    merged = certmix.read_statistics(tmp_path / "part-0", tmp_path / "part-1")
    assert np.array_equal(merged.estimation_counts, whole.estimation_counts)
    again = _sample(1.1, out=tmp_path / "part-0")  # goes on where the part ended
    assert np.array_equal(again.estimation_counts, whole.estimation_counts)


@pytest.mark.parametrize(
    ("options", "why"),
    [
        (
            {"num_estimation": 10},
            "has 11 values, all of which are evaluated, got num_selection 0 and num_estimation 10",
        ),
        ({"num_selection": 5}, "got num_selection 5"),
        ({"votes": "soft"}, "takes votes hard and stops at no radius, got votes 'soft'"),
    ],
)
def test_what_drawing_needs_is_refused(options, why):
    with pytest.raises(InvalidArgument, match=why):
        _sample(1.1, **options)


def test_a_grid_and_a_multiple_of_half_its_step_are_needed():
    with pytest.raises(InvalidArgument, match="lambda of splitting noise must be a multiple of 1/10"):
        _sample(1.12)
    off = ArrayDataset((STEPS / 5).astype(np.float32), np.zeros(7), num_classes=4)
    with pytest.raises(InvalidArgument, match="noise 'splitting' needs inputs on a grid"):
        certmix.sample(_Hash(), off, sigma=1.0, noise="splitting")


def test_a_manifest_must_hold_whole_enumerations():
    draws = _sample(1.1).draws
    assert Draws.from_json(Fields(draws.to_json(), "m")) == draws
    for change in ({"num_estimation": 10}, {"num_selection": 1}, {"votes": "both"}, {"sigma": 1.2}):
        with pytest.raises(RunError, match="splitting"):
            Draws.from_json(Fields(replace(draws, **change).to_json(), "m"))
    with pytest.raises(InvalidArgument, match="splitting noise hold on it alone"):
        _ = draws.quantisation_distance
