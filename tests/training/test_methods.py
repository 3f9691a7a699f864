"""Training methods: each against a few lines written another way, and each lowers its loss on digits."""

import math

import pytest
import torch
from torch.nn import functional

import certmix
from certmix.errors import InvalidArgument
from certmix.models import make_architecture
from certmix.training.loop import fit
from certmix.training.methods import METHODS, Adversarial, Consistency, Gaussian, SmoothAdv, Splitting, make_method
from certmix.training.methods.consistency import disagreement
from certmix.training.methods.smoothadv import soft_vote_loss
from certmix.training.network import Start
from certmix.training.recipe import Recipe

SETTINGS = [
    Gaussian(0.25),
    Consistency(0.25, consistency_weight=5.0),
    SmoothAdv(0.25, attack_radius=0.25, attack_steps=1, warm_up=2),
    Adversarial(0.05, attack_steps=2),
    Splitting(0.5, levels=16),
]


@pytest.fixture(scope="module")
def batch():
    data = certmix.load_dataset("digits", split="train", max=6)
    return torch.stack([data[row][0] for row in range(6)]), torch.as_tensor(data.labels)


@pytest.fixture
def model():
    torch.manual_seed(1)
    return make_architecture("digits-cnn").train()


@pytest.mark.parametrize("method", SETTINGS, ids=lambda method: type(method).__name__)
def test_every_method_learns(method):
    data = certmix.load_dataset("digits", split="train", max=300)
    history = fit(data, Start(), method, Recipe(epochs=6, batch_size=32), device="cpu").history
    assert history[-1].loss < 0.8 * history[0].loss
    assert history[-1].accuracy > 0.4


def test_every_name_has_its_method():
    from certmix.cli.train import METHODS as NAMES

    assert tuple(METHODS) == NAMES
    assert [type(method).__name__.lower() for method in SETTINGS] == list(NAMES)


def _reference_consistency(logits, labels, weight, eta):
    """As in github.com/jh-jeong/smoothing-consistency, code/train_consistency.py: lists of copies, clamped logarithms."""
    p = [functional.softmax(each, dim=1) for each in logits]
    mean = sum(p) / len(p)
    kl = sum(functional.kl_div(each.log(), mean, reduction="none").sum(1) for each in p) / len(p)
    entropy = (-mean * mean.clamp(min=1e-20).log()).sum(1)
    ce = sum(functional.cross_entropy(each, labels) for each in logits) / len(p)
    return ce + (weight * kl + eta * entropy).mean()


def test_consistency_is_the_sources_loss(model, batch):
    inputs, labels = batch
    torch.manual_seed(5)
    loss, logits = Consistency(0.5, consistency_weight=7.0, entropy_weight=0.3, copies=3).loss(model, *batch, 0.0)
    torch.manual_seed(5)
    noise = 0.5 * torch.randn(3 * len(inputs), 1, 8, 8)
    copies = [model(inputs + each) for each in noise.chunk(3)]
    assert torch.allclose(logits, torch.cat(copies), atol=1e-5)
    assert loss.item() == pytest.approx(_reference_consistency(copies, labels, 7.0, 0.3).item(), rel=1e-5)


def test_copies_that_agree_do_not_disagree():
    logits = torch.tensor([[0.0, 3.0, -200.0]])
    divergence, entropy = disagreement(torch.stack([logits, logits]))
    assert divergence.item() == pytest.approx(0.0, abs=1e-6)
    p = 1.0 / (1.0 + math.exp(-3.0))
    assert entropy.item() == pytest.approx(-p * math.log(p) - (1 - p) * math.log(1 - p), rel=1e-5)


def test_smoothadv_climbs_the_mean_softmax_of_the_noise_it_trains_on(model, batch):
    """As in github.com/Hadisalman/smoothing-adversarial, code/attacks.py and train_pgd.py, with one step, which is kept."""
    inputs, labels = batch
    method = SmoothAdv(0.25, attack_radius=0.1, attack_steps=1, copies=2, warm_up=0)
    torch.manual_seed(5)
    loss, logits = method.loss(model, inputs, labels, 0.0)
    torch.manual_seed(5)
    noise = 0.25 * torch.randn(12, 1, 8, 8)
    delta = torch.zeros_like(inputs, requires_grad=True)
    votes = functional.softmax(model((inputs + delta).repeat(2, 1, 1, 1) + noise), dim=1).reshape(2, 6, 10).mean(0)
    (gradient,) = torch.autograd.grad(functional.nll_loss(votes.log(), labels, reduction="sum"), delta)
    at_edge = ((inputs <= 0) & (gradient < 0)) | ((inputs >= 1) & (gradient > 0))
    gradient = gradient.masked_fill(at_edge, 0.0)
    delta = 0.2 * gradient / gradient.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
    delta = 0.1 * delta / delta.flatten(1).norm(dim=1).view(-1, 1, 1, 1)
    attacked = (inputs + delta).clamp(0.0, 1.0)
    expected = model(attacked.repeat(2, 1, 1, 1) + noise)
    assert torch.allclose(logits, expected, atol=1e-4)
    assert loss.item() == pytest.approx(functional.cross_entropy(expected, labels.repeat(2)).item(), rel=1e-4)
    assert loss > functional.cross_entropy(model(inputs.repeat(2, 1, 1, 1) + noise), labels.repeat(2))
    assert model.training


def test_the_soft_vote_is_a_mean_of_probabilities_not_of_logarithms():
    logits = torch.log(torch.tensor([[0.9, 0.1], [0.2, 0.8]]))  # two copies of one input
    assert soft_vote_loss(logits, torch.tensor([0])).item() == pytest.approx(-math.log(0.55), rel=1e-6)


def test_the_attack_radius_warms_up_by_epochs():
    method = SmoothAdv(0.25, attack_radius=1.0, warm_up=4)
    assert [method.radius(done) for done in (0.0, 0.99, 1.0, 2.5, 3.0, 9.0)] == [0.25, 0.25, 0.5, 0.75, 1.0, 1.0]
    assert SmoothAdv(0.25, attack_radius=1.0, warm_up=0).radius(0.0) == 1.0


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("macer", {}, "method must be one of gaussian, consistency, smoothadv, adversarial, splitting, got 'macer'"),
        ("gaussian", {"copies": 2}, "method gaussian takes sigma, got copies; leave it out"),
        ("gaussian", {"sigma": -1.0}, "sigma must be >= 0"),
        ("smoothadv", {"sigma": 0.5}, "method smoothadv needs attack_radius"),
        ("consistency", {"sigma": 0.0}, "sigma of method consistency must be > 0"),
        ("consistency", {"sigma": 0.5, "copies": 1}, "copies must be >= 2"),
        ("adversarial", {"attack_radius": 0.1, "norm": "l7"}, "norm must be one of"),
    ],
)
def test_settings_out_of_range_are_named(name, settings, message):
    with pytest.raises(InvalidArgument, match=message):
        make_method(name, **settings)
