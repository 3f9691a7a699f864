"""`certmix inspect`: what a model, a data set or a run is, and the signs of a mistake."""

import json
import re

import pytest
import torch

import certmix
from certmix.models import make_architecture
from certmix.training.train import save_model, train
from tests.datasets.files import write_folder
from tests.models.files import write_cohen


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    path = tmp_path_factory.mktemp("trained") / "g.safetensors"
    model = train(certmix.load_dataset("digits", split="train"), epochs=4, seed=0)
    save_model(model, path, architecture="digits-cnn", settings={"num_classes": 10})
    return path


def test_a_model_and_its_clean_accuracy(run, trained):
    found = json.loads(run("inspect", trained, "--dataset", "digits", "--json").out)
    assert found["model"]["parameters"] == sum(p.numel() for p in make_architecture("digits-cnn").parameters())
    assert found["model"]["precision"] == ["float32"]
    assert found["model"]["normalisation"] is None
    assert found["check"]["inputs"] == 100
    assert found["check"]["clean_accuracy"] > 0.7
    assert found["check"]["output_shape"] == ["batch", 10]
    assert found["check"]["remarks"] == []
    assert found["dataset"]["input_shape"] == [1, 8, 8]
    few = json.loads(run("inspect", trained, "--dataset", "digits", "--inputs", 7, "--json").out)
    assert few["check"]["inputs"] == 7


def test_a_checkpoint_says_its_normalisation(run, tmp_path):
    write_cohen(tmp_path / "c.pth.tar")
    found = json.loads(run("inspect", f"cohen:{tmp_path / 'c.pth.tar'}", "--json").out)["model"]
    assert found["type"] == "CifarResNet"
    assert found["parameters"] == 272_474
    assert found["normalisation"] == {"mean": [0.4914, 0.4822, 0.4465], "std": [0.2023, 0.1994, 0.201]}
    assert found["first_layer_takes"] == "3 channels"
    shown = run("inspect", f"cohen:{tmp_path / 'c.pth.tar'}").out
    assert "    mean: 0.4914, 0.4822, 0.4465\n" in shown


def test_a_denoised_model_is_told_apart_from_its_denoiser(run, tmp_path):
    (tmp_path / "own.py").write_text(
        "import torch\ndef net():\n    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10))\n"
        "def clean():\n    return torch.nn.Conv2d(1, 1, 1)\n"
        "class Noise(torch.nn.Module):\n    def __init__(self):\n        super().__init__()\n"
        "        self.a = torch.nn.Conv2d(1, 1, 3, padding=1)\n    def forward(self, x, t):\n        return self.a(x)\n"
    )
    own = f"py:{tmp_path / 'own.py'}:"
    plain = json.loads(run("inspect", f"{own}net,bounds=-1/1", "--trust-model", "--json").out)["model"]
    assert (plain["denoiser"], plain["bounds"]) == (None, "[-1, 1]")
    simple = json.loads(run("inspect", f"{own}net,denoiser={own}clean", "--trust-model", "--json").out)["model"]
    spec = f"{own}net,diffusion={own}Noise,schedule=cosine:400,sigma=0.5,upsample=8"
    full = json.loads(run("inspect", spec, "--trust-model", "--json").out)["model"]
    for found in (simple, full):  # the classifier alone
        assert (found["type"], found["parameters"], found["layers"]) == ("Sequential", 650, 1)
        assert found["first_layer_takes"] == "64 values"
    assert simple["denoiser"] == {"type": "Conv2d", "parameters": 2, "upsample": None}
    told = full["denoiser"]
    assert (told["type"], told["parameters"], told["upsample"]) == ("Noise", 10, 8)
    assert (told["sigma"], told["steps_of_schedule"], told["prediction"]) == (0.5, 400, "epsilon")
    assert told["step_sigma"] >= 0.5
    assert "  steps of schedule: 400\n" in run("inspect", spec, "--trust-model").out


def test_help_lists_every_option_of_every_source(run):
    from certmix import datasets
    from certmix.datasets import foreign as foreign_data
    from certmix.models import acceleration, foreign, loading, normalisation
    from certmix.models.denoised import PREDICTIONS

    shown = run("inspect", "--help").out
    names = [*datasets.SOURCES, *loading.SOURCES, *normalisation.OPTIONS, *normalisation.KNOWN, *acceleration.OPTIONS]
    names += [*acceleration.PRECISIONS, *PREDICTIONS, *foreign._TIMM_OPTIONS, *foreign._TORCHVISION_OPTIONS]
    names += [
        *foreign_data._IMAGE_OPTIONS,
        "image",
        "label",
        "config",
        "num_classes",
        "grid_levels",
        "classes",
        "labels",
    ]
    names += ["denoiser", "diffusion", "schedule", "sigma", "step_scale", "upsample", "arch", "weights"]
    assert [name for name in names if not re.search(rf"(?<![\w.-]){re.escape(name)}(?![\w-])", shown)] == []


def test_a_data_set_and_its_subset(run, tmp_path):
    write_folder(tmp_path / "images", classes=2, per_class=6)
    spec = f"folder:{tmp_path / 'images'},mode=grey,crop=8"
    found = json.loads(run("inspect", spec, "--skip", 4, "--json").out)["dataset"]
    assert (found["inputs"], found["input_shape"], found["num_classes"]) == (3, [1, 8, 8], 2)
    assert found["subset"] == {"skip": 4, "max": None, "indices": None}
    assert found["grid_levels"] == 255
    assert 0 <= found["first_input"]["range"][0] < found["first_input"]["range"][1] <= 1
    assert "input shape: 1, 8, 8" in run("inspect", "--dataset", spec).out
    whole = json.loads(run("inspect", spec, "--read-all", "--json").out)["dataset"]
    assert whole["fingerprint"] == certmix.load_dataset(spec).fingerprint
    (tmp_path / "images" / "n01" / "0003.jpg").write_bytes(b"")
    broken = run("inspect", spec, "--read-all")
    assert (broken.code, broken.out) == (2, "")
    assert "0003.jpg is not an image" in broken.err


def test_a_run(run, trained, tmp_path):
    how = ["--sigma", 0.25, "--N", 50, "--N0", 5, "--max", 5, "--quiet"]
    assert run("certify", "--robust", trained, "--dataset", "digits", "--out", tmp_path / "run", *how).code == 0
    found = json.loads(run("inspect", tmp_path / "run", "--json").out)["run"]
    assert (found["inputs_done"], found["sigma"], found["num_estimation"]) == (5, 0.25, 50)
    assert found["model"]["spec"] == str(trained)
    assert found["dataset"]["subset"]["max"] == 5
    assert 0 <= found["smoothed_accuracy"] <= 1
    assert found["invalid_votes"] == 0
    assert "inputs done: 5" in run("inspect", tmp_path / "run").out


def test_signs_of_a_mistake_are_said(run, tmp_path):
    (tmp_path / "own.py").write_text(
        "import torch\nclass Flat(torch.nn.Module):\n    def forward(self, x):\n        return torch.zeros(len(x), 7)\n"
        "class Bad(torch.nn.Module):\n    def forward(self, x):\n        return x.flatten(1)[:, :10] / 0\n"
        "class Image(torch.nn.Module):\n    def forward(self, x):\n        return x\n"
    )
    for name, remark in [
        ("Flat", "the model has 7 classes, the data set 10: sampling will refuse it"),
        ("Flat", "outputs are the same for every input"),
        ("Flat", "accuracy is no better than guessing: check normalisation, the order of classes"),
        ("Bad", "some outputs are not finite"),
        ("Image", "outputs are not logits"),
    ]:
        result = run("inspect", f"py:{tmp_path / 'own.py'}:{name}", "--trust-model", "--dataset", "digits", "--json")
        assert any(remark in line for line in json.loads(result.out)["check"]["remarks"]), result.out


def test_what_cannot_be_inspected_is_refused_in_one_line(run, model, tmp_path):
    write_cohen(tmp_path / "c.pth.tar")
    (tmp_path / "folder").mkdir()
    torch.save({}, tmp_path / "empty.pt")
    for arguments, message in [
        ([], "inspect needs a model, a data set or a run folder"),
        ([tmp_path / "folder"], "is no run folder (it has no manifest.json); for images use folder:"),
        (["digit"], "model spec must start with one of"),
        ([f"{tmp_path / 'empty.pt'},arch=mlp"], "must hold a state dict"),
        (["digits", "--dataset", "digits"], "inspect takes one data set"),
        ([model, "--inputs", 0], "--inputs must be a whole number from 1 to"),
        ([f"cohen:{tmp_path / 'c.pth.tar'}", "--dataset", "digits"], "inputs must have 3 channels"),
        (["py:own.py:build"], "add --trust-model"),
    ]:
        result = run("inspect", *arguments)
        assert (result.code, result.out, result.err.count("\n")) == (2, "", 1), (arguments, result.err)
        assert message in result.err


def test_a_manifest_cannot_steer_the_terminal(run, model, tmp_path):
    draw = ("--dataset", "digits", "--sigma", 0.5, "--N", 60, "--max", 1, "--out", tmp_path / "run")
    assert run("sample", "--robust", model, *draw).code == 0
    path = tmp_path / "run" / "manifest.json"
    manifest = json.loads(path.read_text())
    manifest["environment"]["device"] = "\x1b]0;owned\x07\x1b[31mred"
    path.write_text(json.dumps(manifest))
    shown = run("inspect", tmp_path / "run")
    assert shown.code == 0, shown.err
    assert r"device: \x1b]0;owned\x07\x1b[31mred" in shown.out
    assert "\x1b" not in shown.out + run("inspect", tmp_path / "run", "--json").out
