"""Run the command line in this process, and a small trained-looking model on disk."""

import sys
from dataclasses import dataclass

import pytest
import torch

import certmix.cli.main
from certmix.models import make_architecture
from certmix.training.train import save_model


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
