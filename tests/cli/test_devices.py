"""Every command that runs a model, on a device that is not the CPU: it goes through, and says the same bit for bit.

The device is pretended (`tests/pretend_device.py`): a tensor, or a generator, left on the CPU is an error.
"""

import csv
import io
import json

import numpy as np
import pytest
import torch

import certmix
import certmix.cli.main
from certmix.paper.form_attacks import compare_mixing_forms
from tests.pretend_device import device, pretended

DIGITS = ("--dataset", "digits", "--max", 6)
BALL = ("--norm", "linf", "--attack-radius", 0.15)


@pytest.fixture
def both(run, monkeypatch):
    """Runs a command on the CPU and elsewhere; returns both outputs, and how often the device was waited for."""

    def call(*arguments, out=None):
        found = []
        for name in ("cpu", "pretend"):
            to = () if out is None else ("--out", str(out).replace("DEVICE", name))
            with pretended(monkeypatch) as reads:
                result = run(*arguments, *to, "--device", name)
            assert result.code == 0, result.err
            assert bool(reads) == (name == "pretend")
            found.append(result.out.replace("cpu-", "").replace("pretend-", ""))
        return found

    return call


@pytest.fixture
def pair(models):
    return "--accurate", models[0], "--robust", models[1]


@pytest.fixture(scope="module")
def drawn(tmp_path_factory, models):
    """A run of a few digits."""
    folder = tmp_path_factory.mktemp("runs") / "drawn"
    g, h = (certmix.load_model(str(path)) for path in models)
    data = certmix.load_dataset("digits", max=5)
    certmix.sample(h, data, accurate=g, sigma=0.4, num_selection=20, num_estimation=100, seed=1, out=folder,
                   execution=certmix.Execution("cpu", 128))  # fmt: skip
    return folder


def _without_time(text):
    values = json.loads(text)
    for name in ("seconds", "out", "files"):
        values.pop(name, None)
    return values


@pytest.mark.parametrize(
    "how",
    [
        ("--noise", "integer"),
        ("--noise", "float", "--votes", "both"),
        ("--stop-at-radius", 0.3),
        ("--confidence", 0.75),
    ],
    ids=lambda how: how[-1],
)
def test_sampling(both, pair, tmp_path, how):
    draws = ("--sigma", 0.4, "--N0", 20, "--N", 150, "--seed", 3, "--batch-size", 128, "-q")
    both("sample", *pair, *DIGITS[:3], 3, *draws, *how, out=tmp_path / "DEVICE-run")
    here, there = (certmix.read_statistics(tmp_path / f"{name}-run") for name in ("cpu", "pretend"))
    assert (here.estimation_counts == there.estimation_counts).all()
    assert (here.selection_counts == there.selection_counts).all()
    assert (here.accurate_probabilities == there.accurate_probabilities).all()
    if here.soft is not None:
        assert (here.soft.estimation.sums == there.soft.estimation.sums).all()


def test_a_run_drawn_elsewhere_is_verified_and_certified(both, drawn, pair, tmp_path):
    here, there = both("verify", drawn, "--sample", 1, "--json")
    assert json.loads(here)["differences"] == json.loads(there)["differences"] == []
    draws = ("--sigma", 0.4, "--N0", 20, "--N", 100, "--seed", 3, "--batch-size", 128, "--mixing-weight", 0.8)
    here, there = both("certify", *pair, *DIGITS[:3], 2, *draws, "--format", "csv", "-q", out=tmp_path / "DEVICE-run")
    (here_row,), (there_row,) = (list(csv.DictReader(io.StringIO(text))) for text in (here, there))
    assert here_row.pop("s per input") != there_row.pop("s per input")
    assert here_row == there_row


def test_prediction(both, pair):
    draws = ("--sigma", 0.4, "--N0", 20, "--N", 150, "--seed", 3, "--mixing-weight", 0.8, "--batch-size", 128)
    here, there = both("predict", *pair, *DIGITS[:3], 2, *draws, "--json")
    assert here == there


@pytest.mark.parametrize(
    "command",
    [
        ("attack", "mixture", "--steps", 2, "--mixing-weight", 0.9),
        ("attack", "mixture", "--steps", 2, "--mixing-weight", 0.9, "--sigma", 0.4, "--gradient-draws", 2),
        ("paper", "confidence", "--steps", 2),
    ],
    ids=lambda command: " ".join(map(str, command[:2])),
)
def test_attacks_on_models(both, pair, tmp_path, command):
    here, there = both(*command, *pair, *DIGITS, *BALL, "--batch-size", 4, "--json")
    assert _without_time(here) == _without_time(there)


def test_mixing_forms_through_their_gradient_factors(models, monkeypatch):
    made = []
    with pretended(monkeypatch):
        for place in (torch.device("cpu"), device()):
            g, h = (certmix.load_model(str(path)).to(place) for path in models)
            made += compare_mixing_forms(
                certmix.load_dataset("digits", max=3), accurate=g, robust=h, norm="linf", attack_radius=0.1, num_gammas=2,
                forms=[("top-gradient", "probabilities")], steps=1, losses=["margin"], batch_size=2,
            )  # fmt: skip
    here, there = made
    assert (here.attacked == there.attacked).all()
    assert (here.clean == there.clean).all()


@pytest.mark.parametrize("norm", ["linf", "l1"])
def test_lipschitz_constants(both, models, norm):
    options = (
        "--robust",
        models[1],
        *DIGITS[:3],
        2,
        "--norm",
        norm,
        "--attack-radius",
        0.05,
        "--steps",
        1,
        "--balls",
        1,
    )
    here, there = both("attack", "lipschitz", *options, "--bound", "--json")
    assert here == there


def test_attacks_on_runs(both, drawn, tmp_path):
    rules = ("--mixing-weight", 1, "--threshold", 0.5, "--steps", 2, "--gradient-draws", 2, "--judging-draws", 50)
    for command, more in (("bracket", ("--radii", "0,0.3")), ("certificates", ("--restarts", 1))):
        out = tmp_path / "DEVICE-figure" if command == "bracket" else None
        here, there = both("attack", command, drawn, *rules, *more, "--batch-size", 3, "--json", out=out)
        assert _without_time(here) == _without_time(there)


@pytest.mark.parametrize("method", ["gaussian", "consistency", "smoothadv", "adversarial"])
def test_training(both, tmp_path, method):
    noise = () if method == "adversarial" else ("--sigma", 0.25)
    options = (*noise, "--epochs", 2, "--batch-size", 16, "--averaging", 0.5, "--validation", 0.25)
    attacked = ("--attack-radius", 0.1) if method in ("smoothadv", "adversarial") else ()
    digits = certmix.load_dataset("digits", max=60)
    np.savez(
        tmp_path / "few.npz",
        inputs_train=torch.stack([digits[i][0] for i in range(60)]).numpy(),
        labels_train=digits.labels,
    )
    data = ("--dataset", f"npz:{tmp_path}/few.npz,num_classes=10,grid_levels=16", "--method", method)
    both("train", *data, *options, *attacked, "-q", out=tmp_path / "DEVICE-h.safetensors")
    here, there = (certmix.load_model(str(tmp_path / f"{name}-h.safetensors")) for name in ("cpu", "pretend"))
    assert all(torch.equal(one, other) for one, other in zip(here.parameters(), there.parameters(), strict=True))


def test_adaptive_mixtures(both, pair, tmp_path):
    data, made = ("--dataset", "digits", "--max", 60), tmp_path / "DEVICE-m.safetensors"
    here, there = both(
        "adaptive", "train", *pair, *data, *BALL, "--epochs", 1, "--batch-size", 15, "--json", "-q", out=made
    )
    assert _without_time(here) == _without_time(there)
    mixture = tmp_path / "cpu-m.safetensors"
    held = ("--dataset", "digits", "--validation-split", "test", "--holdout", 0.95, "--batch-size", 400)
    here, there = both(
        "adaptive", "calibrate", mixture, *held, "--target", 0.2, "--json", out=tmp_path / "DEVICE-c.safetensors"
    )
    assert _without_time(here) == _without_time(there)
    budget = (*BALL, "--steps", 1, "--strong-steps", 1, "--settings", "ABCD")
    here, there = both("adaptive", "attack", mixture, *held, *budget, "--max", 6, "--json")
    assert here == there


def test_inspection(both, models):
    here, there = both("inspect", models[0], *DIGITS, "--batch-size", 4, "--json")
    assert here == there


def test_the_pretended_device_refuses_what_a_gpu_refuses(monkeypatch):
    with pretended(monkeypatch) as reads:
        there = torch.zeros(2, 3, device=device())
        with pytest.raises(RuntimeError, match="all tensors on one device"):
            there + torch.zeros(2, 3)
        with pytest.raises(RuntimeError, match="needs a generator of pretend"):
            torch.rand(2, generator=torch.Generator(), device=device())
        assert not reads
        assert float((there + 1).sum()) == 6.0
        assert sum(reads.values()) == 1
