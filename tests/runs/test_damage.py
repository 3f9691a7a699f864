"""Shards and manifests damaged at random: one line, or the same statistics, or something that the referee catches.

Twenty times as many cases: `python benchmarks/torture.py`.
"""

import random
from collections import Counter

import pytest
import torch

import certmix
from tests.runs.damage import DAMAGES, Honest, outcome

CASES = 200  # of each damage


@pytest.fixture(scope="module", params=["hard", "both"])
def honest(request, tmp_path_factory):
    torch.manual_seed(0)
    h = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10))
    folder = tmp_path_factory.mktemp("honest") / "run"
    data = certmix.load_dataset("digits", max=3)
    draws = {"num_selection": 5, "num_estimation": 40, "seed": 1, "votes": request.param}
    certmix.sample(h, data, sigma=0.5, accurate=h, out=folder, **draws)
    return Honest(folder)


@pytest.mark.parametrize("damage", DAMAGES, ids=lambda damage: damage.__name__)
def test_damage_is_refused_without_effect_or_caught(honest, damage):
    chance, seen = random.Random(20261125), Counter()
    for _ in range(CASES):
        try:
            damage(honest, chance)
            seen[outcome(honest)] += 1
        finally:
            honest.restore()
    assert set(seen) <= {"refused", "same", "caught", "other draws"}, seen
    if damage.__name__ == "flip_bit":
        assert seen == {"refused": CASES}
    else:
        assert seen["refused"] > 0
