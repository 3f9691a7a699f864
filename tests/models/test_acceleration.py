"""Precision, folding and channels last: the same function up to rounding, and the original untouched."""

import numpy as np
import pytest
import torch
from torch import nn

import certmix
from certmix.datasets import ArrayDataset
from certmix.errors import InvalidArgument
from certmix.models import fingerprint, make_architecture
from certmix.models.acceleration import PRECISIONS, HalvingMaxPool, accelerate, fold_batch_norms, input_buffer
from certmix.models.architectures import Normalized
from certmix.models.cifar_resnet import CifarResNet
from certmix.models.denoised import DenoisedClassifier
from certmix.sampling.execution import Execution


def _network():
    torch.manual_seed(0)
    model = nn.Sequential(
        *(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.BatchNorm2d(8)),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4)),
    )
    _randomise_norms(model)
    return model.eval()


def _randomise_norms(model):
    for part in model.modules():
        if isinstance(part, nn.BatchNorm2d):
            part.running_mean.normal_()
            part.running_var.uniform_(0.5, 2.0)
            nn.init.uniform_(part.weight)


class Untraceable(nn.Module):
    """Branches on values, which torch.fx cannot follow."""

    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm2d(3)

    def forward(self, inputs):
        return self.norm(inputs).mean((2, 3)) if inputs.sum() > 0 else inputs.mean((2, 3))


class Shared(nn.Module):
    """One convolution before two batch norms: it can be folded into neither."""

    def __init__(self):
        super().__init__()
        self.convolution, self.first, self.second = nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3), nn.BatchNorm2d(3)

    def forward(self, inputs):
        return self.first(self.convolution(inputs)) - self.second(self.convolution(inputs.flip(1)))


def test_folding_keeps_the_function_and_the_original():
    model = _network()
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    folded = fold_batch_norms(model)
    assert not any(isinstance(part, nn.BatchNorm2d) for part in folded.modules())
    inputs = torch.rand(5, 3, 8, 8)
    assert torch.allclose(folded(inputs), model(inputs), atol=1e-5)
    fast = accelerate(model, fast=True)
    assert torch.allclose(fast(inputs), model(inputs), atol=1e-5)
    assert all(torch.equal(before[name], tensor) for name, tensor in model.state_dict().items())
    assert model[0].weight.is_contiguous()


@pytest.mark.parametrize("denoised", [False, True])
def test_folding_goes_through_a_normalisation_and_a_denoiser_which_still_check(denoised):
    model = Normalized(_network(), [0.5, 0.4, 0.3], [0.2, 0.3, 0.4]).eval()
    if denoised:
        model = DenoisedClassifier(nn.Sequential(nn.Conv2d(3, 3, 1), nn.BatchNorm2d(3)).eval(), model).eval()
    folded, inputs = fold_batch_norms(model), torch.rand(5, 3, 8, 8)
    assert not any(isinstance(part, nn.BatchNorm2d) for part in folded.modules())
    assert torch.allclose(folded(inputs), model(inputs), atol=1e-5)
    with (
        pytest.raises(InvalidArgument, match="inputs must have 3 channels")
        if not denoised
        else pytest.raises(RuntimeError)
    ):
        folded(inputs[:, :1])


def test_a_convolution_used_twice_is_not_folded():
    torch.manual_seed(0)
    model = Shared()
    _randomise_norms(model)
    inputs = torch.rand(2, 3, 4, 4)
    assert torch.allclose(fold_batch_norms(model.eval())(inputs), model(inputs), atol=1e-5)


def test_what_cannot_be_folded_is_left_as_it_is():
    model = Untraceable().eval()
    assert fold_batch_norms(model) is model
    plain = nn.Linear(2, 2)
    assert fold_batch_norms(plain) is plain
    assert accelerate(nn.Sequential(nn.Flatten(), nn.Linear(4, 2)), fast=True)(torch.zeros(3, 4)).shape == (3, 2)


@pytest.mark.parametrize(("precision", "close"), [("bf16", 0.1), ("fp16", 0.02)])
def test_outputs_are_float32_and_near_those_of_float32(precision, close):
    torch.manual_seed(0)
    model = Normalized(CifarResNet(8), [0.5, 0.4, 0.3], [0.2, 0.2, 0.2]).eval()
    before, x = fingerprint(model), torch.rand(4, 3, 32, 32)
    cast, exact = accelerate(model, precision=precision), model(x)
    outputs = cast(x)
    assert outputs.dtype == torch.float32
    assert not torch.equal(outputs, exact)
    assert (outputs - exact).abs().max() < close * exact.abs().max()
    assert torch.equal(outputs, outputs.to(PRECISIONS[precision]).float())  # computed there, not only cast here
    assert not cast.training
    assert fingerprint(model) == before
    assert all(parameter.dtype == torch.float32 for parameter in model.parameters())


def test_the_casts_are_those_of_weights_and_inputs():
    model = make_architecture("mlp", input_size=4, num_classes=3).eval()
    x = torch.rand(5, 1, 2, 2)
    layers = [layer for layer in model if isinstance(layer, torch.nn.Linear)]
    hidden = x.flatten(1).bfloat16() @ layers[0].weight.bfloat16().T + layers[0].bias.bfloat16()
    expected = (hidden.relu() @ layers[1].weight.bfloat16().T + layers[1].bias.bfloat16()).float()
    assert torch.allclose(accelerate(model, precision="bf16")(x), expected, atol=2e-2)


def test_each_way_is_another_classifier_and_float32_is_the_model_itself():
    model = _network()
    assert accelerate(model) is model
    ways = [{"precision": name, "fast": fast} for name in PRECISIONS for fast in (False, True)]
    assert len({fingerprint(accelerate(model, **way)) for way in ways}) == 6
    with pytest.raises(InvalidArgument, match="precision must be one of fp32, bf16, fp16, got 'fp8'"):
        accelerate(model, precision="fp8")


@pytest.mark.parametrize("way", [{"fast": True}, {"precision": "bf16"}, {"precision": "bf16", "fast": True}])
def test_runs_record_what_was_evaluated_and_vote_almost_alike(way):
    rng = np.random.default_rng(0)
    images = (rng.integers(0, 256, (3, 3, 8, 8)) / 255).astype(np.float32)
    data = ArrayDataset(images, [0, 1, 2], num_classes=4, grid_levels=255)
    how = {"sigma": 0.25, "num_estimation": 400, "seed": 1, "execution": Execution(device="cpu", batch_size=100)}
    model = _network()
    plain, other = (certmix.sample(each, data, **how) for each in (model, accelerate(model, **way)))
    moved = np.abs(plain.estimation_counts - other.estimation_counts).sum() / 2
    assert moved <= (5 if "precision" not in way else 120)


@pytest.mark.parametrize("noise", ["integer", "float"])
def test_noise_written_as_the_model_computes_gives_the_votes_of_float32_inputs(noise, monkeypatch):
    images = np.random.default_rng(0).integers(0, 256, (2, 3, 8, 8)) / np.float32(255)
    data = ArrayDataset(images, [0, 1], num_classes=4, grid_levels=255)
    model = accelerate(_network(), precision="bf16", fast=True)
    buffer = input_buffer(model, (5, 3, 8, 8), torch.device("cpu"))
    assert buffer.dtype == torch.bfloat16
    assert buffer.is_contiguous(memory_format=torch.channels_last)
    how = {"sigma": 0.25, "num_selection": 20, "num_estimation": 300, "noise": noise, "seed": 3}
    direct = certmix.sample(model, data, **how)
    monkeypatch.setattr(
        "certmix.sampling.loop.input_buffer", lambda model, shape, device: torch.zeros(shape, device=device)
    )
    converted = certmix.sample(model, data, **how)
    assert np.array_equal(direct.estimation_counts, converted.estimation_counts)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("shape", [(2, 3, 8, 8), (2, 3, 7, 9), (1, 1, 2, 2)])
def test_pooling_by_slices_gives_the_bits_of_max_pooling_and_its_name(shape, dtype):
    maps = torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(dtype)
    maps[0, 0, 1, 1] = float("nan")
    expected, found = nn.MaxPool2d(2)(maps), HalvingMaxPool(2)(maps)
    assert torch.equal(expected.nan_to_num(7.0), found.nan_to_num(7.0))
    maps.nan_to_num_(1.0).requires_grad_()
    gradients = [
        torch.autograd.grad(pool(maps).square().sum(), maps)[0] for pool in (nn.MaxPool2d(2), HalvingMaxPool(2))
    ]
    assert torch.equal(*gradients)
    plain = accelerate(nn.Sequential(nn.Conv2d(3, 4, 3), nn.MaxPool2d(2), nn.MaxPool2d(2, padding=1)), fast=True)
    assert [type(part) for part in plain.model[1:]] == [HalvingMaxPool, nn.MaxPool2d]
    assert "HalvingMaxPool" not in repr(plain)
