"""The adaptive mixture: Eq. 5 at a(x), frozen bases, gradients, and the floor in float32."""

import copy

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

from certmix.adaptive.features import as_maps, choose_layers, resized, tapped
from certmix.adaptive.mixture import AdaptiveMixture
from certmix.errors import InvalidArgument
from certmix.models import make_architecture
from certmix.models.acceleration import accelerate, fold_batch_norms
from certmix.models.memory import inputs_at_once
from tests.strategies import seeded

DIGIT = (1, 8, 8)


@pytest.fixture
def mixture():
    torch.manual_seed(0)
    return AdaptiveMixture(
        accurate=make_architecture("digits-cnn"), robust=make_architecture("digits-cnn"), input_shape=DIGIT
    ).eval()


def test_outputs_are_the_log_of_equation_5_at_the_weight_of_each_input(mixture):
    x = torch.rand(5, *DIGIT)
    weight = mixture.gate(x)
    assert weight.shape == (5,)
    g, h = mixture.accurate(x).softmax(dim=1), mixture.robust(x).softmax(dim=1)
    expected = (1 - weight)[:, None] * g + weight[:, None] * h
    assert torch.allclose(mixture(x).exp(), expected, atol=1e-6)
    assert torch.allclose(mixture(x).exp().sum(dim=1), torch.ones(5), atol=1e-5)
    assert weight.std() > 0


def test_logit_scales_sharpen_the_models_they_belong_to(mixture):
    x = torch.rand(3, *DIGIT)
    scaled = AdaptiveMixture(
        accurate=mixture.accurate, robust=mixture.robust, input_shape=DIGIT, accurate_scale=3.0, robust_scale=0.5
    ).eval()
    g, h, _ = scaled.base_outputs(x)
    assert torch.allclose(g, (3 * mixture.accurate(x)).softmax(dim=1))
    assert torch.allclose(h, (0.5 * mixture.robust(x)).softmax(dim=1))
    weight = scaled.gate(x)[:, None]
    assert torch.allclose(scaled(x).exp(), (1 - weight) * g + weight * h, atol=1e-6)


def test_saturated_weights_keep_outputs_and_gradients_finite(mixture):
    for shift in (-300.0, 300.0):
        mixture.calibrate(scale=2.0, shift=shift)
        x = torch.rand(2, *DIGIT, requires_grad=True)
        mixture(x).sum().backward()
        assert torch.isfinite(mixture(x)).all()
        assert torch.isfinite(x.grad).all()


@seeded
@given(low=st.one_of(st.floats(0.0, 0.99), st.integers(0, 990).map(lambda n: n / 1000)), shift=st.floats(-200, 200))
def test_the_weight_never_falls_below_what_was_asked_for_in_float32_either(low, shift):
    mixture = _shared()
    mixture.set_gate_range(low, 1.0)
    mixture.calibrate(scale=2.0, shift=shift)
    weight = mixture.gate(torch.linspace(0, 1, 64).reshape(1, *DIGIT)).double()
    assert mixture.floor >= low * (1 - 1e-6) - 1e-30
    assert low != round(low, 3) or mixture.floor == low  # what was typed is what tables and files say
    assert (weight >= mixture.floor).all()
    assert (weight <= 1).all()


def _shared(made=[]):  # noqa: B006  (built once: hypothesis calls this hundreds of times)
    if not made:
        torch.manual_seed(1)
        bases = {name: make_architecture("digits-cnn") for name in ("accurate", "robust")}
        made.append(AdaptiveMixture(**bases, input_shape=DIGIT).eval())
    return made[0]


def test_the_range_holds_in_eval_mode_only(mixture):
    mixture.set_gate_range(0.9, 0.95)
    x = torch.rand(8, *DIGIT)
    assert ((mixture.gate(x) >= 0.9) & (mixture.gate(x) <= 0.9501)).all()
    mixture.train()
    assert mixture.active_range() == (0.0, 1.0)
    assert not mixture.accurate.training
    assert not mixture.robust.training
    assert mixture.network.training


def test_a_gray_box_attacker_sees_no_gradient_through_the_weight(mixture):
    x = torch.rand(4, *DIGIT)
    assert torch.equal(mixture.gray_box()(x), mixture(x))
    gradients = []
    for model in (mixture, mixture.gray_box()):
        leaf = x.clone().requires_grad_(True)
        model(leaf)[:, 0].sum().backward()
        gradients.append(leaf.grad)
    assert not torch.allclose(gradients[0], gradients[1])
    # Numerically: the gray-box gradient is that of the mixture at fixed weights.
    weight = mixture.gate(x)[:, None].detach()
    leaf = x.clone().requires_grad_(True)
    fixed = ((1 - weight) * mixture.accurate(leaf).softmax(dim=1) + weight * mixture.robust(leaf).softmax(dim=1)).log()
    fixed[:, 0].sum().backward()
    assert torch.allclose(gradients[1], leaf.grad, atol=1e-5)


def test_the_white_box_gradient_is_that_of_finite_differences(mixture):
    torch.manual_seed(3)
    double = copy.deepcopy(mixture).double()
    x = torch.rand(1, *DIGIT, dtype=torch.float64).requires_grad_(True)
    assert torch.autograd.gradcheck(lambda v: double(v)[:, :2], (x,), atol=1e-4)


def test_base_models_get_no_gradient_and_no_hook_stays(mixture):
    mixture.train()
    mixture(torch.rand(4, *DIGIT)).sum().backward()
    assert all(p.grad is None for p in [*mixture.accurate.parameters(), *mixture.robust.parameters()])
    assert all(p.grad is not None for p in mixture.network.parameters())
    assert not any(module._forward_hooks for module in mixture.modules())


def test_layers_are_chosen_at_two_depths():
    assert choose_layers(make_architecture("digits-cnn"), DIGIT) == ("0", "2")
    assert choose_layers(make_architecture("mlp"), DIGIT) == ("1", "3")
    assert choose_layers(make_architecture("resnet18", width=4), (3, 32, 32)) == ("conv1", "layer2")
    folded = fold_batch_norms(make_architecture("cifar_resnet9", width=2).eval())  # which calls what is in its stages
    assert choose_layers(folded, (3, 32, 32)) == ("prep.0", "layer2.0")
    how = {"accurate": folded, "robust": folded, "input_shape": (3, 32, 32)}
    with pytest.raises(InvalidArgument, match="'layer2' does not; name a module inside it"):
        AdaptiveMixture(**how, accurate_layers=("prep.0", "layer2"))
    with pytest.raises(InvalidArgument, match="found 1 convolutions or linear layers in Sequential; name layers"):
        choose_layers(nn.Sequential(nn.Flatten(), nn.Linear(64, 10)), DIGIT)


@pytest.mark.parametrize("fast", [False, True])
def test_base_models_in_half_precision_make_a_gate_in_half_precision(fast):
    torch.manual_seed(0)
    bases = [make_architecture("cifar_resnet9", width=4).eval() for _ in range(2)]
    fast_bases = [accelerate(model, precision="bf16", fast=fast) for model in bases]
    networks = {"width": 4, "input_shape": (3, 32, 32)}
    exact = AdaptiveMixture(accurate=bases[0], robust=bases[1], **networks).eval()
    mixture = AdaptiveMixture(accurate=fast_bases[0], robust=fast_bases[1], **networks).eval()
    if not fast:  # batch norms are folded there, so that other layers are seen
        mixture.network.load_state_dict(exact.network.state_dict())
    seen = []
    mixture.network.rest.register_forward_hook(lambda module, inputs, output: seen.append(output.dtype))
    x = torch.rand(8, 3, 32, 32, requires_grad=True)
    outputs, argument = mixture.parts(x)
    assert set(seen) == {torch.bfloat16}
    assert (outputs.dtype, argument.dtype, mixture.network.head.weight.dtype) == (torch.float32,) * 3
    assert (outputs - (exact(x) if not fast else outputs)).abs().max() < 0.05
    outputs.sum().backward()
    assert torch.isfinite(x.grad).all()
    assert x.grad.abs().sum() > 0
    assert inputs_at_once((3, 32, 32), mixture) > 1  # a model of two precisions is measured in float32


def test_taps_copy_before_in_place_activations_and_name_unknown_layers():
    torch.manual_seed(0)
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.ReLU(inplace=True))
    x = torch.rand(2, *DIGIT)
    with tapped(model, ["0"]) as features:
        model(x)
    assert torch.equal(features["0"], model[0](x))
    with pytest.raises(InvalidArgument, match="named modules of the model, got '7'"), tapped(model, ["7"]):
        pass
    assert not model[0]._forward_hooks


def test_vectors_tokens_and_maps_become_maps():
    assert as_maps(torch.rand(2, 5), "x").shape == (2, 5, 1, 1)
    tokens = torch.rand(2, 10, 4)
    assert torch.equal(as_maps(tokens, "x")[:, :, 0, 1], tokens[:, 2])  # the class token is left out
    with pytest.raises(InvalidArgument, match=r"layer 'x' must give maps .* got shape \(2, 8, 4\)"):
        as_maps(torch.rand(2, 8, 4), "x")
    assert torch.equal(resized(torch.ones(1, 1, 4, 4), (2, 2)), torch.ones(1, 1, 2, 2))
    assert torch.equal(resized(torch.ones(1, 1, 1, 1), (3, 2)), torch.ones(1, 1, 3, 2))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"gate_range": (0.9, 0.5)}, r"gate_range must be 0 <= a_min < a_max <= 1, got \(0.9, 0.5\)"),
        ({"scale": 0.0}, "scale must be > 0 and finite, and shift finite, got 0.0"),
        ({"shift": float("nan")}, "shift finite"),
        ({"accurate_scale": -1.0}, "accurate_scale must be > 0 and finite, got -1.0"),
        ({"kind": "vit"}, "kind of the mixing network must be one of auto, resnet18, small, got 'vit'"),
        ({"robust_layers": ("0",)}, "robust_layers must be two layers at different depths, got 0"),
    ],
)
def test_bad_arguments_are_named(options, message):
    bases = {name: make_architecture("digits-cnn") for name in ("accurate", "robust")}
    with pytest.raises(InvalidArgument, match=message):
        AdaptiveMixture(**bases, input_shape=DIGIT, **options)
    bases["robust"] = make_architecture("digits-cnn", num_classes=3)
    with pytest.raises(InvalidArgument, match="outputs of one shape"):
        AdaptiveMixture(**bases, input_shape=DIGIT)


def test_resnets_at_32x32():
    torch.manual_seed(0)
    bases = {name: make_architecture("resnet18", width=8) for name in ("accurate", "robust")}
    mixture = AdaptiveMixture(**bases, input_shape=(3, 32, 32), width=16).eval()
    assert mixture.network.kind == "resnet18"
    assert mixture.accurate_layers == ("conv1", "layer2")
    assert mixture.network.stem[0].in_channels == 16  # 8 of each
    assert mixture.network.join.in_channels == 32  # 16 of each
    assert mixture(torch.rand(3, 3, 32, 32)).shape == (3, 10)
