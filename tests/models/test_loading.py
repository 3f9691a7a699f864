"""Loading models by spec, fingerprints, and what a spec or a file may not do."""

import errno
import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from certmix.errors import CertmixError, FileError, InvalidArgument
from certmix.models import fingerprint, load_model, make_architecture
from certmix.training.train import save_model
from tests.models.files import write_cohen


def test_a_saved_model_is_loaded_bit_for_bit_and_names_its_architecture(tmp_path):
    model = make_architecture("digits-cnn", num_classes=7)
    save_model(model, tmp_path / "h.safetensors", architecture="digits-cnn", settings={"num_classes": 7, "sigma": 0.5})
    loaded = load_model(str(tmp_path / "h.safetensors"))
    assert not loaded.training
    assert fingerprint(loaded) == fingerprint(model.eval())
    with pytest.raises(InvalidArgument, match="must not exist, but does"):
        save_model(model, tmp_path / "h.safetensors", architecture="digits-cnn", settings={})


def test_fingerprints_tell_weights_and_architectures_apart():
    torch.manual_seed(0)
    one, two = make_architecture("mlp"), make_architecture("mlp")
    assert fingerprint(one) != fingerprint(two)
    two.load_state_dict(one.state_dict())
    assert fingerprint(one) == fingerprint(two)
    assert fingerprint(torch.nn.ReLU()) != fingerprint(torch.nn.GELU())


def test_normalisation_goes_inside_the_model(tmp_path):
    model = make_architecture("mlp").eval()
    save_model(model, tmp_path / "m.safetensors", architecture="mlp", settings={"num_classes": 10})
    inside = load_model(f"{tmp_path / 'm.safetensors'},mean=0.5,std=0.25")
    x = torch.rand(3, 1, 8, 8)
    assert torch.allclose(inside(x), model((x - 0.5) / 0.25))


def test_python_models_need_trust(tmp_path):
    marker = tmp_path / "ran"
    (tmp_path / "own.py").write_text(
        f"import pathlib, torch\npathlib.Path({str(marker)!r}).touch()\n"
        "def build(classes=3):\n    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, classes))\n"
        "def wrong():\n    return 3\n"
    )
    spec = f"py:{tmp_path / 'own.py'}:build"
    with pytest.raises(InvalidArgument, match="runs code when loaded; add --trust-model"):
        load_model(spec)
    assert not marker.exists()
    assert load_model(f"{spec},classes=5", trust_model=True)(torch.zeros(2, 1, 2, 2)).shape == (2, 5)
    (tmp_path / "same.py").write_text("import torch\n" + (tmp_path / "own.py").read_text())
    torch.manual_seed(0)
    one = load_model(spec, trust_model=True)
    two = load_model(spec.replace("own.py", "same.py"), trust_model=True)
    two.load_state_dict(one.state_dict())
    assert fingerprint(one) != fingerprint(two)  # the code differs, and no repr shows code
    for bad, message in [
        (f"py:{tmp_path / 'own.py'}:wrong", "must return a torch.nn.Module, got int"),
        (f"py:{tmp_path / 'own.py'}:absent", "found no callable 'absent'"),
        (f"py:{tmp_path / 'absent.py'}:build", "existing file"),
        (f"{spec},size=5", "must be what its factory takes"),
    ]:
        with pytest.raises(InvalidArgument, match=message):
            load_model(bad, trust_model=True)


def test_files_that_are_no_models_are_named(tmp_path):
    html, plain, foreign = (tmp_path / f"{name}.safetensors" for name in ("html", "plain", "foreign"))
    html.write_text("<!DOCTYPE html><html>404</html>")
    plain.write_text("hello")
    save_file({"weight": torch.zeros(2, 2)}, foreign)
    for spec, message in [
        (str(tmp_path / "absent.safetensors"), "model file must exist"),
        (str(html), "an HTML page"),
        (str(plain), "must be a safetensors file"),
        (str(foreign), "does not name its architecture"),
        (f"{foreign},arch=mlp", "must fit the architecture"),
        (f"{foreign},arch=resnet", "arch must be one of digits-cnn, mlp"),
        (f"{foreign},arch=os:system", "runs code when loaded"),
        (f"{foreign},arch=mlp,mean=0.5", "mean and std must be given together"),
        ("unknown:model", "model spec must start with one of"),
    ]:
        with pytest.raises(InvalidArgument, match=message) as caught:
            load_model(spec)
        assert "\n" not in str(caught.value)


def _described(path, **own):
    """A file of a linear model that says this about itself."""
    save_file(make_architecture("mlp", input_size=4, width=3).state_dict(), path, metadata={"certmix": json.dumps(own)})
    return str(path)


def _refused(spec, message, kind=InvalidArgument, **options):
    with pytest.raises(kind, match=message) as caught:
        load_model(spec, **options)
    assert "\n" not in str(caught.value)


def test_precision_and_folding_are_options_of_every_spec(tmp_path):
    network = write_cohen(tmp_path / "c.pth.tar")
    (tmp_path / "own.py").write_text("from certmix.models.cifar_resnet import CifarResNet as build")
    torch.save(network.state_dict(), tmp_path / "w.pt")
    save_model(network, tmp_path / "w.safetensors", architecture="cifar_resnet20", settings={})
    x, found = torch.rand(2, 3, 32, 32), set()
    for spec in (
        f"cohen:{tmp_path / 'c.pth.tar'}",
        f"{tmp_path / 'w.pt'},arch=cifar_resnet20,normalize=cifar10",
        f"{tmp_path / 'w.safetensors'}",
        f"py:{tmp_path / 'own.py'}:build,depth=8",
    ):
        torch.manual_seed(0)
        plain = load_model(spec, trust_model=True)
        for options in ("precision=bf16", "precision=fp16", "fast=1", "precision=bf16,fast=1"):
            torch.manual_seed(0)
            model = load_model(f"{spec},{options}", trust_model=True)
            assert not model.training
            assert model(x).dtype == torch.float32
            assert torch.allclose(model(x), plain(x), rtol=0, atol=0.1 * float(plain(x).detach().abs().max()))
            norms = [part for part in model.modules() if isinstance(part, torch.nn.BatchNorm2d)]
            assert bool(norms) == ("fast" not in options)  # folded through the normalisation, too
            found.add((spec, options, fingerprint(model)))
        same = load_model(f"{spec},precision=fp32,fast=0", trust_model=True)
        assert type(same) is type(plain)
    assert len({sha for spec, _, sha in found if spec.startswith("cohen")}) == 4


def test_fingerprints_of_accelerated_models_are_the_same_in_every_process(tmp_path):
    write_cohen(tmp_path / "c.pth.tar")
    spec = f"cohen:{tmp_path / 'c.pth.tar'},precision=bf16,fast=1"
    code = f"from certmix.models import *; print(fingerprint(load_model({spec!r})))"
    slower = {**os.environ, "ATEN_CPU_CAPABILITY": "default"}  # another machine's instructions
    other = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=slower, check=True).stdout
    assert fingerprint(load_model(spec)) == other.strip()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("precision=bf8", "precision must be one of fp32, bf16, fp16, got 'bf8'"),
        ("fast=yes", "fast must be 0 or 1"),
        ("fast=1,fast=0", "each once"),
    ],
)
def test_precision_and_folding_have_few_values(tmp_path, options, message):
    path = _described(tmp_path / "m.safetensors", architecture="mlp", settings={"input_size": 4, "width": 3})
    _refused(f"{path},{options}", message)


@pytest.mark.parametrize("trust", ["False", "True", "1", 1, "yes"])
def test_only_true_is_trust_so_that_no_text_of_a_spec_or_option_grants_it(tmp_path, trust):
    (tmp_path / "own.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\ndef build(**settings): pass")
    spec = f"py:{tmp_path / 'own.py'}:build"
    _refused(spec, "runs code when loaded; add --trust-model .* what a run or a file names is never", trust_model=trust)
    _refused(f"{spec},trust_model={trust}", "runs code when loaded")
    assert not (tmp_path / "ran").exists()


def test_an_option_may_have_any_name(tmp_path):
    path = _described(tmp_path / "m.safetensors", architecture="mlp", settings={"input_size": 4, "width": 3})
    for name in ("spec", "name", "settings"):
        with pytest.raises(InvalidArgument, match="must be what its factory takes"):
            load_model(path, **{name: "x"})


@pytest.mark.parametrize(
    "own",
    [
        {"architecture": 5},
        {"architecture": ["mlp"]},
        {"architecture": "mlp", "settings": []},
        {"architecture": "mlp", "settings": {"width": "many"}},
        {"architecture": "mlp", "settings": {"width": -1}},
        {"architecture": "mlp", "settings": {"width": [3]}},
        {"architecture": "mlp", "settings": {"width": None}},
        {"architecture": "mlp", "settings": {"depth": 3}},
        {"architecture": "adaptive-mixture", "settings": {"accurate": 5, "robust": [1]}},
        {"architecture": "adaptive-mixture", "settings": {"accurate": {"settings": 1}, "robust": {}}},
    ],
)
def test_metadata_of_the_wrong_type_is_one_line(tmp_path, own):
    _refused(_described(tmp_path / "m.safetensors", **own), None, CertmixError)


def test_a_small_file_cannot_ask_for_gigabytes(tmp_path):
    own = {"architecture": "mlp", "settings": {"input_size": 10**6, "width": 10**6}}
    _refused(_described(tmp_path / "m.safetensors", **own), "must have at most 1,000,000,000 parameters, got 1,000,0")


@pytest.mark.parametrize("code", [errno.EMFILE, errno.EACCES, errno.EIO])
def test_a_file_that_cannot_be_opened_now_is_not_called_damaged(tmp_path, monkeypatch, code):
    path = _described(tmp_path / "m.safetensors", architecture="mlp")

    def fail(*arguments, **options):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "open", fail)
    _refused(path, "cannot be read now .*it may well be whole", FileError)


def test_a_file_that_does_not_fit_into_memory_is_not_called_damaged(tmp_path, monkeypatch):
    torch.save({"fc.weight": torch.zeros(2)}, tmp_path / "w.pt")
    for error in (MemoryError(), RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory: 8 bytes")):

        def fail(*arguments, error=error, **options):
            raise error

        monkeypatch.setattr(torch, "load", fail)
        _refused(f"{tmp_path / 'w.pt'},arch=mlp", "does not fit into memory", FileError)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no FIFOs on this system")
def test_a_pipe_is_no_model_file(tmp_path):
    os.mkfifo(tmp_path / "m.safetensors")
    _refused(str(tmp_path / "m.safetensors"), "must be a regular file, got a folder, pipe or device")


def test_a_schedule_file_of_objects_is_refused(tmp_path):
    path = _described(tmp_path / "m.safetensors", architecture="mlp", settings={"input_size": 4, "width": 3})
    np.save(tmp_path / "s.npy", np.array([{}], dtype=object), allow_pickle=True)
    spec = f"{path},diffusion={path},schedule={tmp_path / 's.npy'},sigma=0.5"
    _refused(spec, "must be a .npy file of alpha_bar")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("mean=nan,std=1", "must be as many finite numbers"),
        ("mean=0,std=inf", "must be as many finite numbers"),
        ("denoiser={},upsample=nan", "upsample must be a whole number of 1 to 8,192 pixels"),
        ("denoiser={},upsample=1e9", "upsample must be a whole number of 1 to 8,192 pixels"),
        ("diffusion={},schedule=linear:1000000000000,sigma=0.5", "must have 1 to 1,000,000 steps"),
        ("diffusion={},schedule=linear:10:nan:nan,sigma=0.5", "beta of each step must be in"),
        ("diffusion={},schedule=linear,sigma=nan", "sigma must be > 0 and finite"),
    ],
)
def test_numbers_of_a_spec_have_bounds(tmp_path, options, message):
    path = _described(tmp_path / "m.safetensors", architecture="mlp", settings={"input_size": 4, "width": 3})
    _refused(f"{path},{options.format(path)}", message)
