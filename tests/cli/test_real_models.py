"""What a researcher already has, as they type it: CIFAR-10 files and a published checkpoint, image folders, ResNets."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

import certmix
from certmix.models import make_architecture
from tests.datasets.files import write_cifar10, write_folder, write_mnist
from tests.models.files import Hostile, write_cohen


def _arguments(robust, dataset, out, *more):
    draws = ["--sigma", 0.25, "--N0", 4, "--N", 16, "--seed", 1, "--quiet"]
    return ["certify", "--robust", robust, "--dataset", dataset, "--out", out, *draws, *more]


@pytest.fixture
def cifar(tmp_path):
    write_cifar10(tmp_path / "cifar-10-batches-bin", count=300)
    return f"cifar10:{tmp_path / 'cifar-10-batches-bin'}"


def test_a_published_resnet110_certifies_cifar10_as_it_is(run, cifar, tmp_path):
    write_cohen(tmp_path / "checkpoint.pth.tar", 110, legacy=True)
    checkpoint = f"cohen:{tmp_path / 'checkpoint.pth.tar'}"
    few = ["--skip", 100, "--max", 2, "--N", 12, "--N0", 2]
    result = run(*_arguments(checkpoint, cifar, tmp_path / "run", *few, "--json"))
    assert result.code == 0, result.err
    summary = json.loads(result.out)["runs"][0]
    assert summary["draws"]["dataset"]["subset"] == {"split": "test", "skip": 100, "max": 2, "indices": None}
    statistics = certmix.read_statistics(tmp_path / "run")
    assert statistics.indices.tolist() == [0, 100]
    draws = statistics.draws
    assert (draws.model.spec, draws.noise.levels) == (checkpoint, 255)
    assert draws.dataset.spec == cifar
    assert run("certify", tmp_path / "run", "--mixing-weight", 0.9, "--json").code == 0
    assert run("verify", tmp_path / "run", "--sample", 1, "--quiet").code == 0


def test_the_commands_of_the_documentation_run_as_they_stand(run, cifar, tmp_path, monkeypatch):
    write_cohen(tmp_path / "checkpoint.pth.tar")
    text = (Path(__file__).parents[2] / "docs" / "start" / "your_own.md").read_text().replace("\\\n", " ")
    commands = [line.partition("#")[0].split()[1:] for line in text.splitlines() if line.startswith("certmix ")]
    ours = [command for command in commands if {"cohen:checkpoint.pth.tar", "runs/cifar10"} & set(command)]
    assert [command[0] for command in ours] == ["inspect", "certify"]
    monkeypatch.chdir(tmp_path)
    quick = {"inspect": ["--inputs", 20], "certify": ["--N", 60, "--N0", 10, "--max", 3, "--quiet"]}
    for command in ours:
        result = run(*command, *quick[command[0]])
        assert result.code == 0, result.err
    assert certmix.read_statistics(tmp_path / "runs" / "cifar10").indices.tolist() == [0, 20, 40]


@pytest.mark.usefixtures("torchvision")
def test_an_imagenet_style_folder_certifies_with_a_resnet(run, tmp_path):
    pytest.importorskip("timm")
    write_folder(tmp_path / "images" / "val", classes=4, per_class=60, side=48)
    folder = f"folder:{tmp_path / 'images'},mode=rgb,resize=40,crop=32"
    for number, robust in enumerate(
        [
            "torchvision:resnet18,num_classes=4,weights=none,normalize=imagenet",
            "timm:resnet18,num_classes=4,weights=none",
        ]
    ):
        out = tmp_path / f"run{number}"
        result = run(*_arguments(robust, folder, out, "--split", "val", "--skip", 80, "--json"))
        assert result.code == 0, result.err
        assert certmix.read_statistics(out).indices.tolist() == [0, 80, 160]


def test_a_folder_of_images_certifies_from_disk(run, tmp_path):
    write_folder(tmp_path / "images", classes=10, per_class=3, side=9, mode="L")
    save_file(make_architecture("digits-cnn").state_dict(), tmp_path / "w.safetensors")
    robust = f"{tmp_path / 'w.safetensors'},arch=digits-cnn,mean=0.5,std=0.5"
    result = run(*_arguments(robust, f"folder:{tmp_path / 'images'},crop=8", tmp_path / "run", "--indices", "3,29"))
    assert result.code == 0, result.err
    assert result.out.count("\n") == 3
    repeated = run("verify", tmp_path / "run", "--quiet")
    assert (repeated.code, repeated.err) == (0, "")


def test_python_data_needs_trust_on_the_command_line_too(run, model, tmp_path):
    (tmp_path / "own.py").write_text(
        "import numpy as np\ndef build():\n    return np.zeros((3, 1, 8, 8), np.uint8), np.array([0, 1, 9])\n"
    )
    arguments = _arguments(model, f"py:{tmp_path / 'own.py'}:build", tmp_path / "run")
    refused = run(*arguments)
    assert (refused.code, refused.out) == (2, "")
    assert "add --trust-model" in refused.err
    assert run(*arguments, "--trust-model").code == 0
    data = ["--dataset", f"py:{tmp_path / 'own.py'}:build"]
    assert run("verify", tmp_path / "run", *data, "--trust-model", "--quiet").code == 0
    train = ["train", *data, "--split", "", "--epochs", 1, "--out", tmp_path / "g.safetensors", "--quiet"]
    predict = ["predict", "--robust", model, *data, "--sigma", 0.25, "--N0", 5, "--N", 20]
    for command in (train, predict):
        assert "add --trust-model" in run(*command).err
        result = run(*command, "--trust-model")
        assert result.code == 0, result.err


def test_what_cannot_be_certified_is_refused_in_one_line(run, model, cifar, tmp_path):
    cohen = tmp_path / "c.pth.tar"
    write_cohen(cohen)
    write_cohen(tmp_path / "hundred.pth.tar", num_classes=100)
    marker = tmp_path / "ran"
    torch.save({"weight": Hostile(marker)}, tmp_path / "hostile.pt")
    (tmp_path / "page.pt").write_text("<!DOCTYPE html><html>Sign in</html>")
    (tmp_path / "hostile.pt2").write_bytes(b"PK\x03\x04")
    torch.save(make_architecture("mlp").state_dict(), tmp_path / "bare.pt")
    write_folder(tmp_path / "broken", classes=10, side=32)
    image = tmp_path / "broken" / "n00" / "0001.jpg"
    image.write_bytes(image.read_bytes()[:-300])
    write_folder(tmp_path / "grey", classes=10, side=32, mode="L")
    write_mnist(tmp_path / "mnist", side=32)
    for robust, dataset, message in [
        (f"{tmp_path / 'hostile.pt'},arch=mlp", "digits", "holds objects that could run code"),
        (f"pt2:{tmp_path / 'hostile.pt2'}", "digits", "runs code when loaded; add --trust-model"),
        (f"{tmp_path / 'page.pt'},arch=mlp", "digits", "got an HTML page"),
        (f"{tmp_path / 'bare.pt'},arch=mlp", "digits", "does not say how its inputs are normalised"),
        (
            f"cohen:{tmp_path / 'hundred.pth.tar'},normalize=cifar10",
            cifar,
            "must have shape (batch, classes) = ",
        ),
        (f"cohen:{cohen}", f"folder:{tmp_path / 'broken'}", "0001.jpg is truncated"),
        (
            f"cohen:{cohen}",
            f"folder:{tmp_path / 'grey'}",
            "inputs must have 3 channels (as many as the normalisation), got 1",
        ),
        (f"cohen:{cohen},normalize=none", f"mnist:{tmp_path / 'mnist'}", "expected input"),
        (f"cohen:{cohen}", cifar.replace("cifar10", "cifar"), "did you mean cifar10?"),
        (f"coen:{cohen}", cifar, "did you mean cohen?"),
    ]:
        result = run(*_arguments(robust, dataset, tmp_path / "run"))
        assert (result.code, result.out, result.err.count("\n")) == (2, "", 1), result.err
        assert message in result.err
        assert not (tmp_path / "run").exists()
    assert not marker.exists()


def test_a_denoiser_before_an_off_the_shelf_classifier(run, tmp_path):
    (tmp_path / "own.py").write_text(
        "from tests.models.ideal import FragileClassifier, IdealNetwork, make_data, prototypes\n"
        "from certmix.models.noise_schedule import cosine_schedule\n"
        "def classifier():\n    return FragileClassifier(prototypes())\n"
        "def network():\n    return IdealNetwork(prototypes(), cosine_schedule(4000).alpha_bar)\n"
        "def data():\n    return make_data(prototypes(), 12)\n"
    )
    own = f"py:{tmp_path / 'own.py'}"
    diffusion = f"diffusion={own}:network,schedule=cosine:4000"
    found = {}
    for name, extra in (("plain", ""), ("denoised", f",{diffusion},sigma=0.5")):
        arguments = _arguments(f"{own}:classifier{extra}", f"{own}:data", tmp_path / name)
        arguments[arguments.index(0.25)] = 0.5
        arguments[arguments.index(16)] = 200
        result = run(*arguments, "--trust-model", "--json", "--radii", "0.25")
        assert result.code == 0, result.err
        found[name] = json.loads(result.out)["certified_accuracy"][0]["certified_accuracy"][0]
    assert found["denoised"] > found["plain"]
    other = run(*_arguments(f"{own}:classifier,{diffusion},sigma=0.5", f"{own}:data", tmp_path / "x"), "--trust-model")
    assert (other.code, other.err.count("\n")) == (2, 1)
    assert "sigma of the denoiser must be that of the draws, got 0.5 and 0.25" in other.err
    wrong = [
        "predict",
        "--robust",
        f"{own}:classifier,{diffusion},sigma=0.5",
        "--dataset",
        f"{own}:data",
        "--sigma",
        0.25,
    ]
    assert "must be that of the draws, got 0.5 and 0.25" in run(*wrong, "--trust-model").err
    shown = run("inspect", f"{own}:classifier,{diffusion},sigma=0.5", "--trust-model").out
    told = shown.split("denoiser:")[1]
    assert "sigma: 0.5\n" in told
    assert "step: " in told
