"""The network of the published CIFAR checkpoints: names, shapes and numbers of parameters from its definition."""

import pytest
import torch

from certmix.errors import InvalidArgument
from certmix.models import make_architecture
from certmix.models.cifar_resnet import CifarResNet


def _norm(name, channels):
    shapes = {f"{name}.{part}": (channels,) for part in ("weight", "bias", "running_mean", "running_var")}
    return shapes | {f"{name}.num_batches_tracked": ()}


def _published_names(depth, classes=10):
    """Names and shapes of a checkpoint, written out from the architecture's definition (He et al. 2016, Section 4.2)."""
    shapes = {"conv1.weight": (16, 3, 3, 3), **_norm("bn1", 16)}
    before = 16
    for stage, channels in ((1, 16), (2, 32), (3, 64)):
        for block in range((depth - 2) // 6):
            name = f"layer{stage}.{block}"
            shapes |= {f"{name}.conv1.weight": (channels, before, 3, 3), **_norm(f"{name}.bn1", channels)}
            shapes |= {f"{name}.conv2.weight": (channels, channels, 3, 3), **_norm(f"{name}.bn2", channels)}
            if before != channels:
                projection = f"{name}.downsample"
                shapes |= {f"{projection}.0.weight": (channels, before, 1, 1), **_norm(f"{projection}.1", channels)}
            before = channels
    return shapes | {"fc.weight": (classes, 64), "fc.bias": (classes,)}


@pytest.mark.parametrize("depth", [20, 110])
def test_names_and_shapes_are_those_of_the_published_checkpoints(depth):
    state = CifarResNet(depth).state_dict()
    assert {name: tuple(value.shape) for name, value in state.items()} == _published_names(depth)


def test_there_are_as_many_layers_and_parameters_as_published():
    model = CifarResNet(110)
    layers = [m for name, m in model.named_modules() if isinstance(m, (torch.nn.Conv2d, torch.nn.Linear))]
    projections = [name for name, _ in model.named_modules() if name.endswith("downsample.0")]
    assert len(layers) - len(projections) == 110
    # 1st convolution; 18 blocks of 16 channels; 18 of 32 and of 64 with one projection each; the linear layer.
    stem = 16 * 27 + 2 * 16
    first = 18 * (2 * 16 * 16 * 9 + 4 * 16)
    second = (16 * 32 * 9 + 32 * 32 * 9 + 4 * 32) + (16 * 32 + 2 * 32) + 17 * (2 * 32 * 32 * 9 + 4 * 32)
    third = (32 * 64 * 9 + 64 * 64 * 9 + 4 * 64) + (32 * 64 + 2 * 64) + 17 * (2 * 64 * 64 * 9 + 4 * 64)
    assert stem + first + second + third + 650 == 1_730_714
    assert sum(p.numel() for p in model.parameters()) == 1_730_714
    assert sum(p.numel() for p in CifarResNet(20).parameters()) == 272_474


def test_a_forward_pass_follows_the_definition_step_by_step():
    torch.manual_seed(0)
    model, x = CifarResNet(8, num_classes=3).double().eval(), torch.randn(2, 3, 32, 32, dtype=torch.float64)
    state, functional = model.state_dict(), torch.nn.functional

    def conv_norm(values, conv, norm, stride=1, padding=1):
        values = functional.conv2d(values, state[f"{conv}.weight"], stride=stride, padding=padding)
        parts = [state[f"{norm}.{part}"] for part in ("running_mean", "running_var", "weight", "bias")]
        return functional.batch_norm(values, *parts)

    hidden = conv_norm(x, "conv1", "bn1").relu()
    for stage, stride in ((1, 1), (2, 2), (3, 2)):
        name = f"layer{stage}.0"
        inner = conv_norm(hidden, f"{name}.conv1", f"{name}.bn1", stride).relu()
        inner = conv_norm(inner, f"{name}.conv2", f"{name}.bn2")
        shortcut = hidden
        if stage > 1:
            shortcut = conv_norm(hidden, f"{name}.downsample.0", f"{name}.downsample.1", 2, 0)
        hidden = (inner + shortcut).relu()
    expected = hidden.mean((2, 3)) @ state["fc.weight"].T + state["fc.bias"]
    assert torch.allclose(model(x), expected, atol=1e-12)


def test_other_depths_are_refused_and_the_names_train():
    with pytest.raises(InvalidArgument, match=r"6n \+ 2 \(20, 56, 110, \.\.\.\), got 18"):
        CifarResNet(18)
    assert make_architecture("cifar_resnet20", num_classes=7)(torch.zeros(1, 3, 32, 32)).shape == (1, 7)
