"""What is said about a model and a data set before hours of sampling."""

import numpy as np
import pytest
import torch
from torch import nn

from certmix.datasets import ArrayDataset
from certmix.errors import InvalidArgument
from certmix.inspection import check_on, describe_dataset, describe_model
from certmix.models.acceleration import accelerate
from certmix.models.architectures import Normalized

DATA = ArrayDataset(np.eye(6, dtype=np.float32).reshape(6, 1, 2, 3), np.arange(6), indices=np.arange(10, 16))


class Identity(nn.Module):
    """Classifies DATA without an error; `shift` classes further on where asked."""

    def __init__(self, shift=0, classes=6):
        super().__init__()
        self.shift, self.classes = shift, classes

    def forward(self, inputs):
        return inputs.flatten(1).roll(self.shift, dims=1)[:, : self.classes]


def test_clean_accuracy_is_of_inputs_spread_over_the_data_set():
    assert check_on(Identity(), DATA) == {
        "inputs": 6,
        "clean_accuracy": 1.0,
        "output_shape": ["batch", 6],
        "remarks": [],
    }
    assert check_on(Identity(), DATA, count=4)["inputs"] == 4
    assert check_on(Identity(shift=1), DATA)["remarks"] == [
        "accuracy is no better than guessing: check normalisation, the order of classes, and resizing"
    ]


@pytest.mark.parametrize(
    ("model", "remark"),
    [
        (Identity(classes=5), "the model has 5 classes, the data set 6"),
        (nn.Sequential(nn.Flatten(), nn.Hardtanh(2.0, 3.0)), "outputs are the same for every input"),
        (nn.Identity(), "outputs are not logits"),
    ],
)
def test_a_model_that_does_not_belong_to_the_data_is_remarked_on(model, remark):
    assert any(line.startswith(remark) for line in check_on(model, DATA)["remarks"])


def test_a_model_that_cannot_take_the_inputs_is_one_line():
    with pytest.raises(InvalidArgument, match=r"must take inputs of shape \(6, 1, 2, 3\), got: ") as caught:
        check_on(nn.Sequential(nn.Flatten(), nn.Linear(7, 2)), DATA)
    assert "\n" not in str(caught.value)


def test_a_description_tells_precision_folding_and_normalisation():
    network = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Flatten(), nn.Linear(16, 2)).eval()
    plain = describe_model(network)
    assert (plain["type"], plain["parameters"], plain["first_layer_takes"]) == ("Sequential", 58, "3 channels")
    assert plain["accelerated"] is plain["normalisation"] is None
    model = accelerate(Normalized(network, [0.5] * 3, [0.25] * 3).eval(), precision="bf16", fast=True)
    found = describe_model(model)
    assert found["accelerated"] == "precision=bf16, fast=True"
    assert found["normalisation"] == {"mean": [0.5] * 3, "std": [0.25] * 3}
    assert found["precision"] == ["bfloat16"]
    assert found["sha256"] != plain["sha256"]


def test_a_data_set_is_described_by_its_first_input():
    found = describe_dataset(DATA)
    assert (found["inputs"], found["input_shape"], found["num_classes"]) == (6, [1, 2, 3], 6)
    assert found["first_input"] == {
        "index": 10,
        "label": 0,
        "range": [0.0, 1.0],
        "channel_means": [pytest.approx(1 / 6)],
    }
    assert torch.equal(DATA[0][0], DATA.inputs[0])
