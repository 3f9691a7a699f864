"""Files of mixtures: base models of any source, checked by sha256, never trusted because a file names them."""

import json

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file

import certmix
from certmix.adaptive.files import load_mixture, read_mixture_file, save_mixture, trained_on_others
from certmix.adaptive.mixture import AdaptiveMixture
from certmix.errors import InvalidArgument, RunError
from certmix.models import fingerprint, make_architecture
from certmix.training.train import save_model

DIGIT = (1, 8, 8)
OWN = (
    "import torch\ndef build():\n    torch.manual_seed(5)\n    return torch.nn.Sequential(torch.nn.Flatten(), "
    "torch.nn.Linear(64, 8), torch.nn.ReLU(), torch.nn.Linear(8, 10))\n"
)


@pytest.fixture
def specs(tmp_path):
    """An accurate model with normalisation, and one from a user's own Python file."""
    torch.manual_seed(0)
    save_model(
        make_architecture("digits-cnn"),
        tmp_path / "g.safetensors",
        architecture="digits-cnn",
        settings={"num_classes": 10},
    )
    (tmp_path / "own.py").write_text(OWN)
    return f"{tmp_path}/g.safetensors,mean=0.5,std=0.25", f"py:{tmp_path}/own.py:build"


@pytest.fixture
def saved(specs, tmp_path):
    torch.manual_seed(1)
    accurate, robust = (certmix.load_model(spec, trust_model=True) for spec in specs)
    mixture = AdaptiveMixture(
        accurate=accurate,
        robust=robust,
        input_shape=DIGIT,
        gate_range=(0.7, 0.9),
        scale=4.0,
        shift=-1.5,
        robust_scale=0.5,
    ).eval()
    path = tmp_path / "m.safetensors"
    save_mixture(mixture, path, history={"epochs": 3})
    return mixture, path


def test_a_mixture_of_foreign_models_comes_back_bit_for_bit(saved, specs):
    mixture, path = saved
    loaded = load_mixture(path, robust=specs[1], trust_model=True)
    x = torch.rand(6, *DIGIT)
    assert torch.equal(loaded(x), mixture(x))
    assert torch.equal(loaded.gate(x), mixture.gate(x))
    assert fingerprint(loaded) == fingerprint(mixture)
    assert (loaded.floor, loaded.ceiling) == (mixture.floor, mixture.ceiling)
    about = read_mixture_file(path)
    assert (about.accurate.spec, about.robust.spec, about.history) == (*specs, {"epochs": 3})
    assert about.robust.sha256 == fingerprint(mixture.robust)
    assert certmix.load_mixture is load_mixture


def test_what_a_file_names_is_never_trusted(saved, specs, tmp_path):
    _, path = saved
    (tmp_path / "own.py").write_text("raise SystemExit('a stranger ran code')\n")
    for trust_model in (False, True):
        with pytest.raises(InvalidArgument, match=r"names its robust model as .* does not load.* Give --robust SPEC"):
            load_mixture(path, trust_model=trust_model)
    with pytest.raises(InvalidArgument, match="runs code when loaded; add --trust-model"):
        load_mixture(path, robust=specs[1])


def test_another_base_model_is_refused_by_its_sha256(saved, specs):
    _, path = saved
    with pytest.raises(InvalidArgument, match="--accurate must be the accurate model that .* was trained with, sha256"):
        load_mixture(path, accurate=specs[0].replace("0.25", "0.3"), robust=specs[1], trust_model=True)


def test_other_files_and_damaged_ones_are_named(saved, specs, tmp_path):
    _, path = saved
    with pytest.raises(InvalidArgument, match="must be a file of certmix adaptive train, got one of digits-cnn"):
        load_mixture(specs[0].partition(",")[0])
    with pytest.raises(InvalidArgument, match="is an adaptive mixture, not a model; load it with certmix.load_mixture"):
        certmix.load_model(str(path))
    with safe_open(path, framework="pt") as handle:
        metadata = handle.metadata()
    state = load_file(path)
    whole = json.loads(metadata["certmix"])
    for name in ("design", "robust", "history"):
        left = {key: value for key, value in whole.items() if key != name}
        save_file(state, tmp_path / "bad.safetensors", metadata={"certmix": json.dumps(left)})
        with pytest.raises(RunError, match=f"must hold {name}, and does not"):
            load_mixture(tmp_path / "bad.safetensors", robust=specs[1], trust_model=True)
    state.pop("calibration")
    save_file(state, tmp_path / "bad.safetensors", metadata=metadata)
    with pytest.raises(InvalidArgument, match="is damaged .tensor 'calibration' is missing or does not fit"):
        load_mixture(tmp_path / "bad.safetensors", robust=specs[1], trust_model=True)


def test_an_existing_file_is_kept(saved, specs):
    mixture, path = saved
    before = path.read_bytes()
    with pytest.raises(InvalidArgument, match="must not exist"):
        save_mixture(mixture, path, history={})
    assert path.read_bytes() == before


def test_a_base_model_says_what_it_was_trained_on(tmp_path):
    path = tmp_path / "g.safetensors"
    save_model(make_architecture("mlp"), path, architecture="mlp", settings={"fingerprint": "abc", "num_classes": 10})
    assert not trained_on_others(str(path), "abc")
    assert trained_on_others(f"{path},mean=0.5,std=0.5", "other")
    assert trained_on_others(str(path), "abc", 0.02)  # which it kept no part of
    assert not trained_on_others("py:net.py:build", "other")
