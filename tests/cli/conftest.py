"""Run the command line in this process, and a small trained-looking model on disk."""

import sys
from dataclasses import dataclass

import pytest
import torch

import certmix
import certmix.cli.main
from certmix.models import make_architecture
from certmix.training.train import save_model, train


@dataclass
class Result:
    """What a command left: exit code, stdout, stderr."""

    code: int
    out: str
    err: str


@pytest.fixture
def run(monkeypatch, capsys):
    def call(*arguments):
        monkeypatch.setattr(sys, "argv", ["certmix", *map(str, arguments)])
        with pytest.raises(SystemExit) as stopped:
            certmix.cli.main.main()
        captured = capsys.readouterr()
        return Result(int(stopped.value.code or 0), captured.out, captured.err)

    return call


@pytest.fixture(scope="session")
def model(tmp_path_factory):
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("models") / "h.safetensors"
    save_model(make_architecture("digits-cnn"), path, architecture="digits-cnn", settings={"num_classes": 10})
    return path


@pytest.fixture(scope="session")
def models(tmp_path_factory):
    """Files of g and h, trained a little on digits."""
    folder = tmp_path_factory.mktemp("models")
    data = certmix.load_dataset("digits", split="train", max=500)
    for name, sigma in (("g", 0.0), ("h", 0.4)):
        save_model(train(data, sigma=sigma, epochs=5), folder / f"{name}.safetensors", architecture="digits-cnn",
                   settings={"num_classes": 10})  # fmt: skip
    return folder / "g.safetensors", folder / "h.safetensors"


@pytest.fixture(scope="session")
def where(models):
    """Both models and a few digits, as options of a command."""
    return ("--accurate", models[0], "--robust", models[1], "--dataset", "digits", "--max", 12, "--steps", 3, "--quiet")
