"""Faster copies of a model: the same function up to rounding, and the original untouched."""

import shutil

import numpy as np
import pytest
import torch
from torch import nn

import certmix
from certmix.datasets import ArrayDataset
from certmix.errors import InvalidArgument
from certmix.models.acceleration import accelerate, fold_batch_norms


def _network():
    torch.manual_seed(0)
    model = nn.Sequential(
        *(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3), nn.BatchNorm2d(8)),
        *(nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 4)),
    )
    for part in model:
        if isinstance(part, nn.BatchNorm2d):
            part.running_mean.normal_()
            part.running_var.uniform_(0.5, 2.0)
            nn.init.uniform_(part.weight)
    return model.eval()


class Untraceable(nn.Module):
    """Branches on values, which torch.fx cannot follow."""

    def __init__(self):
        super().__init__()
        self.norm = nn.BatchNorm2d(3)

    def forward(self, inputs):
        return self.norm(inputs).mean((2, 3)) if inputs.sum() > 0 else inputs.mean((2, 3))


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


def test_what_cannot_be_folded_is_left_as_it_is():
    model = Untraceable().eval()
    assert fold_batch_norms(model) is model
    plain = nn.Linear(2, 2)
    assert fold_batch_norms(plain) is plain
    assert accelerate(nn.Sequential(nn.Flatten(), nn.Linear(4, 2)), fast=True)(torch.zeros(3, 4)).shape == (3, 2)
    with pytest.raises(InvalidArgument, match="precision must be one of fp32, bf16, fp16"):
        accelerate(plain, precision="int3")


quiet = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # torch.compile's own imports
compiler = pytest.mark.skipif(shutil.which("g++") is None, reason="torch.compile needs a C++ compiler")


@pytest.mark.parametrize(
    "options",
    [
        {"fast": True},
        {"precision": "bf16"},
        {"precision": "bf16", "fast": True},
        pytest.param({"compiled": True}, marks=[compiler, quiet, pytest.mark.slow]),
    ],
)
def test_runs_record_what_was_evaluated_and_vote_almost_alike(options):
    rng = np.random.default_rng(0)
    images = (rng.integers(0, 256, (3, 3, 8, 8)) / 255).astype(np.float32)
    data = ArrayDataset(images, [0, 1, 2], num_classes=4, grid_levels=255)
    how = {"sigma": 0.25, "num_estimation": 400, "seed": 1, "batch_size": 100, "device": "cpu"}
    model = _network()
    plain, other = certmix.sample(model, data, **how), certmix.sample(model, data, **how, **options)
    assert {name: other.manifest["draws"][name] for name in options} == options
    assert plain.manifest["draws"]["model"] == other.manifest["draws"]["model"]
    moved = np.abs(plain.estimation_counts - other.estimation_counts).sum() / 2
    assert moved <= (5 if "precision" not in options else 120)
