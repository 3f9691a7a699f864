"""The command line, and a small model that is sure of itself."""

import pytest
import torch

from certmix.models import make_architecture
from certmix.training.train import save_model
from tests.cli.conftest import run

__all__ = ["model", "run"]


@pytest.fixture(scope="session")
def model(tmp_path_factory):
    torch.manual_seed(0)
    network = make_architecture("digits-cnn")
    for parameter in list(network.parameters())[-2:]:
        parameter.data *= 60.0
    path = tmp_path_factory.mktemp("models") / "h.safetensors"
    save_model(network, path, architecture="digits-cnn", settings={"num_classes": 10})
    return path
