"""One call: the certificate of one input is that of the sampler and the certifier, and carries what it rests on."""

import json

import numpy as np
import pytest
import torch

import certmix
from certmix.errors import InvalidArgument, RunError, SamplingError

HOW = {"sigma": 0.25, "num_estimation": 1000, "seed": 3, "batch_size": 100}


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 3))
    model[1].weight.data.mul_(3)
    return model.eval()


@pytest.fixture(scope="module")
def image():
    return np.random.default_rng(1).integers(0, 256, (3, 2, 2), dtype=np.uint8)


@pytest.fixture(scope="module")
def certificate(net, image):
    return certmix.certify_one(net, image, accurate=net, mixing_weight=0.9, **HOW)


def test_it_is_what_the_sampler_and_the_certifier_say(net, image, certificate):
    data = certmix.as_dataset((image[None], [0]), num_classes=3)
    drawn = certmix.sample(net, data, sigma=0.25, num_estimation=1000, seed=3)
    made = certmix.certify(drawn, mixing_weight=0.9)
    assert certificate.radius == made.radius[0, 0] > 0
    assert certificate.prediction == made.prediction[0]
    assert certificate.selection_counts == tuple(drawn.selection_counts[0])
    assert certificate.estimation_counts == tuple(drawn.estimation_counts[0])
    assert (certificate.draws.noise.kind, certificate.draws.grid_levels) == ("integer", 255)
    assert certificate.own_radius == certificate.radius
    assert sum(certificate.accurate_probabilities) == pytest.approx(1)


def test_it_is_said_in_one_line(net, image, certificate):
    text = str(certificate)
    assert text.startswith(f"class {certificate.prediction} within l2 radius 0.")
    assert "on the grid of 1/255, by weight 0.9 at sigma 0.25; 1000 draws, wrong with probability at most 0.001" in text
    assert repr(certificate) == f"Certificate({text})"
    flat = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 3))
    flat[1].weight.data.zero_()
    flat[1].weight.data[1:, 0] = torch.tensor([1e-3, -1e-3])  # classes 1 and 2 share the draws evenly
    flat[1].bias.data = torch.tensor([-1.0, -5e-4, 5e-4])
    middle = certmix.certify_one(flat, torch.full((3, 2, 2), 0.5), threshold=0.6, **HOW)
    assert (middle.abstains, middle.prediction, middle.radius, middle.own_radius) == (True, certmix.ABSTAIN, 0.0, 0.0)
    assert str(middle).startswith("abstains: nothing is certified by threshold 0.6 at sigma 0.25; 1000 draws")


def test_it_survives_json(certificate):
    tree = json.loads(json.dumps(certificate.to_dict()))
    assert certmix.Certificate.from_dict(tree) == certificate


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"radius": 0.9}, "radius must be what its votes give"),
        ({"own_radius": 0.9}, "own_radius must be what its votes give"),
        ({"prediction": 2}, "prediction must be what its votes give"),
        ({"certifier": "best"}, "certifier"),
        ({"estimation_counts": [1000, 0]}, "estimation_counts must be 1000 votes of 3 classes, got 1000 of 2"),
        ({"estimation_counts": [500, 400, 0]}, "got 900 of 3"),
        ({"selection_counts": [101, -1, 0]}, "selection_counts"),
        ({"accurate_probabilities": None}, "manifest must be of certify_one"),
        ({"manifest": {}}, "must hold schema_version"),
        ({"rule": {"kind": "linear", "parameter": 2, "accurate_vote": "class"}}, "parameter must be"),
        ({"signature": "x"}, "known fields only, got signature"),
    ],
)
def test_what_was_changed_is_refused(certificate, change, message):
    with pytest.raises(RunError, match=message) as caught:
        certmix.Certificate.from_dict({**certificate.to_dict(), **change})
    assert "\n" not in str(caught.value)


def test_inputs_in_another_range_are_certified_in_both_units(net):
    x = torch.linspace(-1, 1, 12).view(3, 2, 2)
    plain = certmix.certify_one(torch.nn.Sequential(_Shift(), net), (x + 1) / 2, **HOW)
    own = certmix.certify_one(net, x, bounds=(-1, 1), accurate=net, **HOW)
    assert own.estimation_counts == plain.estimation_counts  # the model saw its own range
    assert own.radius == plain.radius > 0
    assert 2 * own.radius - 1e-6 < own.own_radius < 2 * own.radius
    assert f"{own.own_radius:.3f}"[:4] in str(own)
    assert "in units of [-1, 1]" in str(own)
    assert certmix.Certificate.from_dict(json.loads(json.dumps(own.to_dict()))) == own
    assert np.allclose(own.accurate_probabilities, torch.softmax(net(x[None]), 1)[0].detach(), atol=1e-5)


class _Shift(torch.nn.Module):
    def forward(self, x):
        return 2 * x - 1


def test_vectors_and_points_have_certificates():
    line = torch.nn.Linear(2, 2)
    line.weight.data, line.bias.data = torch.tensor([[4.0, 0], [-4, 0]]), torch.zeros(2)
    made = certmix.certify_one(line, [0.5, -0.25], bounds=(-1, 1), **{**HOW, "sigma": 0.125})
    assert made.prediction == 0
    assert 0.3 < made.own_radius < 0.5  # the boundary is 0.5 away in the point's own units


@pytest.mark.parametrize(
    ("x", "how", "message"),
    [
        (np.zeros((3, 2, 2)), {"mixing_weight": 0.5}, "nothing can be certified at weight 0.5"),
        (np.zeros((3, 2, 2)), {"mixing_weight": 0.8, "threshold": 0.5}, "give mixing_weight or threshold, got both"),
        (np.zeros((3, 2, 2)), {"num_estimation": 5}, "num_estimation must be at least"),
        (np.zeros((3, 2, 2)), {"sigma": 0.0}, "sigma must be > 0"),
        (np.full((3, 2, 2), 2.0), {}, r"input 0 of x must be in \[0, 1\].*bounds=\(low, high\)"),
        (np.zeros((3, 2, 2), np.uint8), {"bounds": (-1, 1)}, "uint8 inputs of x are in 0..255"),
        (np.zeros((3, 2, 2)), {"bounds": (1, 1)}, r"bounds must be finite \(low, high\)"),
        (np.zeros((3, 2, 2)), {"bounds": 1}, r"bounds must be \(low, high\)"),
    ],
)
def test_what_cannot_be_certified_is_refused_before_any_draw(x, how, message):
    with pytest.raises(InvalidArgument, match=message) as caught:
        certmix.certify_one(_Never(), x, **{**HOW, **how})
    assert "\n" not in str(caught.value)


class _Never(torch.nn.Module):
    def forward(self, x):
        raise AssertionError("evaluated")


def test_a_batch_is_not_one_input(net):
    with pytest.raises(SamplingError, match=r"must take inputs of shape|without a batch dimension"):
        certmix.certify_one(net, np.zeros((2, 3, 2, 2)), **HOW)
    with pytest.raises(SamplingError, match=r"2 classes or more, .* got \(1, 1\)"):
        certmix.certify_one(torch.nn.Linear(2, 1), [0.5, 0.5], **HOW)
