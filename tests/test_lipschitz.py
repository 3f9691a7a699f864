"""Estimated local constants approach known ones from below; sound bounds lie above; Eq. 12's printed signs are wrong."""

import numpy as np
import pytest
import torch
from scipy.optimize import minimize_scalar
from torch import nn

import certmix
from certmix.attacks import pgd
from certmix.datasets.batches import stack
from certmix.errors import InvalidArgument
from certmix.lipschitz import estimate_local_lipschitz, local_lipschitz_radius, local_threshold_radius
from certmix.lipschitz_bounds import bound_local_lipschitz, dense_layers
from certmix.models import make_architecture
from certmix.models.architectures import Normalized
from certmix.training.train import train

DUAL = {"l1": float("inf"), "l2": 2, "linf": 1}


class Sigmoids(nn.Module):
    """Two classes with probabilities sigmoid(-+ slope.x): h_1 along the slope is known in closed form."""

    def __init__(self, slope):
        super().__init__()
        self.slope = nn.Parameter(slope)

    def forward(self, inputs):
        score = inputs.flatten(1) @ self.slope
        return torch.stack([torch.zeros_like(score), score], dim=1)


@pytest.fixture(scope="module")
def digits():
    data = certmix.load_dataset("digits", split="test", max=40)
    robust = train(certmix.load_dataset("digits", split="train", max=600), sigma=0.5, epochs=8)
    return robust, *stack(data)


@pytest.mark.parametrize("norm", DUAL)
@pytest.mark.parametrize("radius", [0.1, 0.8])
def test_the_estimate_approaches_known_constants_from_below(norm, radius):
    slope = torch.randn(12, generator=torch.Generator().manual_seed(0)).double()
    inputs = torch.randn(20, 12, generator=torch.Generator().manual_seed(1)).double()
    score, reach = (inputs @ slope).numpy(), radius * float(torch.linalg.vector_norm(slope, ord=DUAL[norm]))
    found = estimate_local_lipschitz(
        Sigmoids(slope), inputs, attack_radius=radius, norm=norm, steps=40, balls=8, clip=None
    )
    sigmoid = lambda s: 1 / (1 + np.exp(-s))  # noqa: E731
    for row in range(20):
        start, sign = (
            score[row],
            -1.0 if score[row] > 0 else 1.0,
        )  # what is feared pulls the score over to the other side
        change = abs(sigmoid(start + sign * reach) - sigmoid(start))
        np.testing.assert_allclose(found.equation_12[row], change / radius, rtol=5e-3, atol=1e-7)
        assert (found.equation_12[row] <= change / radius * (1 + 1e-4)).all()

        def quotient(t, start=start, sign=sign):
            return -abs(sigmoid(start + sign * t * reach) - sigmoid(start)) / (t * radius)

        truth = -minimize_scalar(quotient, bounds=(1e-6, 1), method="bounded", options={"xatol": 1e-6}).fun
        assert (found.constant[row] <= truth * (1 + 1e-3)).all()
        assert (found.constant[row] >= 0.98 * truth).all()


def test_printed_equation_12_has_the_wrong_signs(digits):
    robust, inputs, _ = digits
    found = estimate_local_lipschitz(robust, inputs[:10], attack_radius=0.2)
    y = found.prediction
    h = torch.as_tensor(found.probabilities).float()
    printed = np.zeros(10)
    for class_ in range(10):
        rise = pgd(
            lambda x, c=class_: robust(x).softmax(dim=1)[:, c] - h[:, c], inputs[:10], norm="l2", attack_radius=0.2,
            generator=torch.Generator().manual_seed(0),
        ).objective.numpy()  # fmt: skip
        printed += np.where(y == class_, rise, -rise) / (10 * 0.2)
    assert (printed < 0).all()  # a Lipschitz constant below 0
    assert (found.class_average > 0).all()


@pytest.mark.parametrize("norm, radius", [("l2", 0.05), ("l2", 0.3), ("linf", 0.02), ("l1", 0.2)])
def test_on_digits_the_estimate_is_below_the_bound_for_every_class_and_input(digits, norm, radius):
    robust, inputs, _ = digits
    estimate = estimate_local_lipschitz(robust, inputs, attack_radius=radius, norm=norm, balls=2)
    bound = bound_local_lipschitz(robust, inputs, attack_radius=radius, norm=norm)
    assert (estimate.constant <= bound.constant).all()
    assert (estimate.equation_12 <= bound.constant).all()
    assert (bound.certified_radius([0.7, 1.0]) <= estimate.estimated_radius([0.7, 1.0]) + 1e-9).all()
    assert (bound.certified_radius(1.0) > 0).mean() > 0.8


def test_the_bound_holds_between_random_points_of_the_ball(digits):
    robust, inputs, _ = digits
    wide = bound_local_lipschitz(robust, inputs, attack_radius=0.3)
    generator = torch.Generator().manual_seed(0)
    exact = torch.nn.Sequential(*robust).double()
    for _ in range(50):
        ends = [torch.randn(inputs.shape, generator=generator, dtype=torch.float64) for _ in range(2)]
        ends = [inputs.double() + 0.3 * d / d.flatten(1).norm(dim=1).view(-1, 1, 1, 1) for d in ends]
        with torch.no_grad():
            change = (exact(ends[0]).softmax(dim=1) - exact(ends[1]).softmax(dim=1)).abs()
        distance = (ends[0] - ends[1]).flatten(1).norm(dim=1, keepdim=True)
        assert (change / distance <= torch.as_tensor(wide.constant)).all()
    exact.float()


def test_the_bound_is_tight_for_two_linear_classes():
    model = nn.Sequential(nn.Linear(6, 2))
    inputs = torch.zeros(1, 6)
    with torch.no_grad():
        model[0].bias.zero_()
    first, second = model[0].weight.detach().double()
    difference = first - second
    for norm, dual in DUAL.items():
        bound = bound_local_lipschitz(model, inputs, attack_radius=0.1, norm=norm)
        np.testing.assert_allclose(bound.constant, float(torch.linalg.vector_norm(difference, ord=dual)) / 4, rtol=1e-8)


def test_dense_layers_are_the_network(digits):
    robust, inputs, _ = digits
    for model in (robust, Normalized(robust, [0.3], [0.7]), make_architecture("mlp")):
        layers = dense_layers(model, inputs[:1])
        rows = inputs.double().flatten(1)
        for weights, bias in layers[:-1]:
            rows = (rows @ weights.T + bias).relu()
        weights, bias = layers[-1]
        torch.testing.assert_close((rows @ weights.T + bias).float(), model(inputs).detach(), rtol=1e-4, atol=1e-4)


def test_radius_by_hand():
    h = np.array([[0.7, 0.2, 0.1]])
    constants = np.array([1.0, 0.5, 4.0])
    # rivals: [0.8 * 0.5 - 0.2] / [0.8 * 1.5] and [0.8 * 0.6 - 0.2] / [0.8 * 5]
    assert local_lipschitz_radius(h, [0], constants, [0.8])[0, 0] == pytest.approx(min(0.2 / 1.2, 0.28 / 4.0), rel=1e-9)
    assert local_lipschitz_radius(h, [0], constants, [0.5, 0.6])[:, 0].tolist() == [0.0, 0.0]
    # threshold: (0.7 - c) / 1 until h itself, min(0.5 / 1.5, 0.6 / 5), binds
    assert local_threshold_radius(h, [0], constants, [0.65, 0.2, 0.7])[:, 0] == pytest.approx(
        [0.05, 0.12, 0.0], abs=1e-9
    )


def test_bad_input_is_named(digits):
    robust, inputs, _ = digits
    for arguments, message in [
        ({"attack_radius": 0.0}, "attack_radius must be > 0 and finite (pixel units), got 0.0."),
        ({"attack_radius": 0.1, "balls": 0}, "balls must be >= 1, got 0."),
        ({"attack_radius": 0.1, "norm": "l3"}, "norm must be one of l2, linf, l1, got 'l3'."),
    ]:
        with pytest.raises(InvalidArgument) as error:
            estimate_local_lipschitz(robust, inputs, **arguments)
        assert message in str(error.value)
    with pytest.raises(InvalidArgument, match="attack_radius must be > 0"):
        bound_local_lipschitz(robust, inputs, attack_radius=-1.0)
    with pytest.raises(InvalidArgument, match="need a Sequential of affine layers and ReLU in eval mode, got Sigmoids"):
        bound_local_lipschitz(Sigmoids(torch.ones(64)), inputs, attack_radius=0.1)
    with pytest.raises(InvalidArgument, match="lipschitz constants must be >= 0 and finite"):
        local_lipschitz_radius(np.array([[0.7, 0.3]]), [0], -1.0, 0.8)


class Waves(nn.Module):
    """Probabilities that rise and fall many times inside a ball, so that PGD's largest change depends on luck."""

    def forward(self, inputs):
        score = 3.0 * torch.sin(40.0 * inputs.sum(dim=1))
        return torch.stack([-score, score], dim=1)


def test_a_ball_changes_at_least_as_much_as_the_balls_inside_it():
    inputs = torch.rand(60, 3, generator=torch.Generator().manual_seed(0))
    found = estimate_local_lipschitz(Waves(), inputs, attack_radius=0.5, balls=6, steps=1)
    assert (np.diff(found.change, axis=1) >= 0).all()
    assert (found.constant * (1 + 1e-5) >= (found.change / found.radii[:, None]).max(axis=1)).all()


def test_probabilities_are_those_of_float64():
    class Constant(nn.Module):
        def forward(self, inputs):
            return inputs.new_tensor([[0.0, 18.0]]) + 0.0 * inputs.sum(dim=1, keepdim=True)

    exact = 1.0 / (1.0 + np.exp(-18.0))
    found = estimate_local_lipschitz(Constant(), torch.zeros(1, 2), attack_radius=0.1, steps=1, balls=1)
    assert found.probabilities[0, 1] == pytest.approx(exact, abs=1e-15)  # in float32 it is 1, and the radius too large
    assert float(np.float32(exact)) != exact


def test_batches_of_estimates_and_bounds_are_joined(digits):
    robust, inputs, _ = digits
    for measure in (estimate_local_lipschitz, bound_local_lipschitz):
        parts = [measure(robust, rows, attack_radius=0.05) for rows in torch.split(inputs[:5], 2)]
        whole = type(parts[0]).joined(parts)
        assert len(whole.prediction) == len(whole.constant) == len(whole.probabilities) == 5
        np.testing.assert_array_equal(whole.constant[2:4], parts[1].constant)
        assert whole.certified_radius(1.0).shape == (1, 5) if measure is bound_local_lipschitz else True


class _Residual(nn.Sequential):
    def forward(self, inputs):
        return inputs + super().forward(inputs)


class _Rectified(nn.Linear):
    def forward(self, inputs):
        return super().forward(inputs).relu()


def _hooked():
    layer = nn.Linear(6, 6)
    layer.register_forward_hook(lambda module, inputs, output: 3 * output)
    return layer


def _patched():
    layer = nn.Linear(6, 6)
    layer.forward = lambda inputs: 3 * inputs
    return layer


@pytest.mark.parametrize(
    "part, message",
    [
        (lambda: _Residual(nn.Linear(6, 6)), "got _Residual; use the estimate"),
        (lambda: _Rectified(6, 6), "got _Rectified; use the estimate"),
        (lambda: nn.utils.parametrizations.orthogonal(nn.Linear(6, 6)), "got ParametrizedLinear; use the estimate"),
        (_hooked, "Linear has hooks or a forward of its own"),
        (_patched, "Linear has hooks or a forward of its own"),
    ],
)
def test_layers_that_are_not_what_their_type_says_are_refused(part, message):
    with pytest.raises(InvalidArgument, match=message):
        bound_local_lipschitz(nn.Sequential(part(), nn.ReLU(), nn.Linear(6, 3)), torch.rand(2, 6), attack_radius=0.1)


def test_batch_norm_without_running_statistics_is_refused():
    def network(norm):
        return nn.Sequential(nn.Conv2d(1, 2, 3), norm, nn.ReLU(), nn.Flatten(), nn.Linear(2, 3)).eval()

    inputs = torch.rand(2, 1, 3, 3)
    bound_local_lipschitz(network(nn.BatchNorm2d(2)), inputs, attack_radius=0.1)
    for norm in (nn.BatchNorm2d(2, track_running_stats=False), nn.BatchNorm2d(2)):
        model = network(norm)
        norm.train(norm.track_running_stats)
        with pytest.raises(
            InvalidArgument, match="batch norm in eval mode with running statistics, got one that looks"
        ):
            bound_local_lipschitz(model, inputs, attack_radius=0.1)


def test_matrices_are_compared_with_the_model(monkeypatch):
    # A layer that is exactly nn.Linear and has no hook, in a process where somebody replaced a function it calls.
    model = nn.Sequential(nn.Linear(6, 6), nn.ReLU(), nn.Linear(6, 3))
    genuine = nn.functional.linear
    monkeypatch.setattr(nn.functional, "linear", lambda x, w, b=None: genuine(x, w, b).abs())
    with pytest.raises(InvalidArgument, match="a model that is its layers, but Sequential computes something else"):
        bound_local_lipschitz(model, torch.rand(2, 6), attack_radius=0.1)
