"""Attacks A to D: inputs that have succeeded are left out of the search, and nothing else changes."""

import pytest
import torch
from torch import nn

from certmix.adaptive.attacks import AttackBudget, attack_adaptive
from certmix.adaptive.evaluation import right_under_attack
from certmix.adaptive.mixture import AdaptiveMixture
from certmix.adaptive.search import Search
from certmix.attacks.losses import cross_entropy
from certmix.attacks.pgd import pgd
from certmix.datasets import ArrayDataset


class Counting(nn.Module):
    """A classifier that counts the inputs it sees."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Flatten(), nn.Linear(16, 12), nn.ReLU(), nn.Linear(12, 5)).double()
        self.seen = 0

    def forward(self, inputs):
        self.seen += len(inputs)
        return 4 * self.layers(inputs)


@pytest.fixture
def model():
    torch.manual_seed(0)
    return Counting().eval()


@pytest.fixture
def inputs():
    return torch.rand(60, 1, 4, 4, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def test_one_pass_a_step_over_what_still_holds_finds_what_the_plain_search_finds(model, inputs):
    labels = model(inputs).argmax(dim=1)
    budget = AttackBudget("linf", 0.1, steps=20)

    def wrong(points):
        return model(points).argmax(dim=1) != labels

    model.seen = 0
    how = {"norm": "linf", "attack_radius": 0.1, "steps": 20, "random_start": False, "succeeded": wrong}
    plain = pgd(lambda points: cross_entropy(model(points), labels), inputs, **how)
    asked, model.seen = model.seen, 0
    attacked = attack_adaptive(model, inputs, labels, "B", budget)
    assert 10 < plain.succeeded.sum() < 50
    assert torch.equal(wrong(attacked), plain.succeeded)
    assert torch.equal(attacked[plain.succeeded], plain.inputs[plain.succeeded])
    assert torch.equal(attacked[~plain.succeeded], inputs[~plain.succeeded])
    assert model.seen < 0.4 * asked


def test_a_row_that_has_succeeded_is_not_asked_about_again_and_keeps_its_point():
    asked = []

    def aim(points, rows):
        asked.append(rows.tolist())
        return points, points[:, 1] - points[:, 0]

    search = Search(aim, torch.tensor([0, 0]))
    first, second = torch.tensor([[1.0, 0.0], [0.0, 1.0]]), torch.tensor([[0.5, 0.0], [9.0, 0.0]])
    assert search.objective(first).tolist() == [-1.0, 1.0]
    assert search.succeeded(first).tolist() == [False, True]
    assert search.objective(second).tolist() == [-0.5, -torch.inf]
    assert search.succeeded(second).tolist() == [False, True]
    assert asked == [[0, 1], [0]]
    assert search.succeeded(first).tolist() == [False, True]  # of points that were not those of the last objective
    assert asked == [[0, 1], [0], [0]]


@pytest.mark.parametrize("setting", ["A", "B", "C", "D"])
def test_what_is_returned_is_wrong_or_the_input_in_the_ball_and_more_radius_finds_more(setting, inputs):
    torch.manual_seed(1)
    bases = [Counting().eval().float() for _ in range(2)]
    names = ("layers.1", "layers.3")
    mixture = AdaptiveMixture(
        accurate=bases[0], robust=bases[1], input_shape=(1, 4, 4), accurate_layers=names, robust_layers=names
    ).eval()
    x = inputs.float()
    labels = mixture(x).argmax(dim=1)
    labels[:3] = (labels[:3] + 1) % 5
    found = []
    for radius in (0.05, 0.15):
        budget = AttackBudget("linf", radius, steps=8, strong_steps=8)
        attacked = attack_adaptive(mixture, x, labels, setting, budget, generator=torch.Generator().manual_seed(0))
        wrong = mixture(attacked).argmax(dim=1) != labels
        moved = (attacked != x).flatten(1).any(dim=1)
        assert torch.equal(moved | (torch.arange(60) < 3), wrong)
        assert (attacked - x).abs().max() <= radius + 1e-6
        found.append(int(wrong.sum()))
    assert 3 < found[0] < found[1]


def test_a_model_without_a_gate_is_attacked_once_for_two_columns(model, inputs):
    labels = model(inputs).argmax(dim=1)
    data = ArrayDataset(inputs.float().numpy(), labels.numpy(), num_classes=5)
    budget = AttackBudget("linf", 0.05, steps=3, strong_steps=3)
    counts = {}
    for settings in ("A", "AB", "ABC", "ABCD"):
        model.float().seen = 0
        right = right_under_attack(model, data, budget, settings=settings, batch_size=60)
        counts[settings] = model.seen
    assert counts["A"] == counts["AB"] < counts["ABC"] == counts["ABCD"]
    assert (right["A"] == right["B"]).all()
    assert (right["C"] == right["D"]).all()
    assert 0 < right["C"].mean() < right["clean"].mean()
