"""Files of a user with helper files beside them: found while they load, unknown to everything that loads later."""

import importlib
import sys
import types

import pytest
import torch

from certmix.datasets import load_dataset
from certmix.errors import InvalidArgument
from certmix.models import fingerprint, load_model

MODEL = """
import torch
from blocks import width
from parts.head import make

def build():
    from late import bias
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(width, 3), make(bias))

def data():
    return torch.zeros(4, width), [0, 1, 2, 0]
"""


def _project(folder, width, note=""):
    (folder / "parts").mkdir(parents=True)
    (folder / "net.py").write_text(MODEL)
    (folder / "blocks.py").write_text(f"width = {width}\n{note}")
    (folder / "late.py").write_text("bias = True\n")
    (folder / "parts" / "__init__.py").write_text("")
    (folder / "parts" / "head.py").write_text(
        "import torch\nfrom .size import n\ndef make(bias):\n    return torch.nn.Linear(n, n, bias=bias)\n"
    )
    (folder / "parts" / "size.py").write_text("n = 3\n")
    return f"py:{folder / 'net.py'}:build"


def test_files_beside_are_found_and_leave_nothing_behind(tmp_path):
    one, two = _project(tmp_path / "one", 4), _project(tmp_path / "two", 64)
    path, names = list(sys.path), set(sys.modules)
    first, second = (load_model(spec, trust_model=True) for spec in (one, two))
    assert (first[1].in_features, second[1].in_features) == (4, 64)  # each has its own `blocks`
    assert sys.path == path
    assert {name for name in set(sys.modules) - names if not name.startswith("certmix_user_")} == set()
    assert load_dataset(one.replace("build", "data"), trust_model=True).input_shape == (4,)
    again = load_model(one, trust_model=True)
    assert again[1].in_features == 4


def test_modules_of_the_same_name_elsewhere_stay_what_they_are(tmp_path, monkeypatch):
    blocks = types.ModuleType("blocks")
    blocks.__file__, blocks.width = str(tmp_path / "mine" / "blocks.py"), 5
    monkeypatch.setitem(sys.modules, "blocks", blocks)
    model = load_model(_project(tmp_path / "other", 7), trust_model=True)
    assert (model[1].in_features, sys.modules["blocks"].width) == (7, 5)
    assert sys.modules["blocks"] is blocks
    same = load_model(f"py:{tmp_path / 'other' / 'net.py'}:build", trust_model=True)
    monkeypatch.delitem(sys.modules, "blocks")
    monkeypatch.syspath_prepend(tmp_path / "other")
    imported = importlib.import_module("blocks")  # by the program itself: no reason for another fingerprint
    monkeypatch.delitem(sys.modules, "blocks")
    monkeypatch.setitem(sys.modules, "blocks", imported)
    again = load_model(f"py:{tmp_path / 'other' / 'net.py'}:build", trust_model=True)
    again.load_state_dict(same.state_dict())
    assert fingerprint(again) == fingerprint(same)


def test_helper_files_count_in_the_fingerprint(tmp_path):
    one, two = _project(tmp_path / "one", 4), _project(tmp_path / "two", 4, note="# another helper\n")
    models = [load_model(spec, trust_model=True) for spec in (one, one, two)]
    for model in models:
        model.load_state_dict(models[0].state_dict())
    prints = [fingerprint(model) for model in models]
    assert prints[0] == prints[1] != prints[2]


def test_a_helper_that_fails_is_named(tmp_path):
    spec = _project(tmp_path / "one", 4, note="import absent_library\n")
    with pytest.raises(
        InvalidArgument, match=r"net.py must run without error, got ModuleNotFoundError: .*absent_library"
    ):
        load_model(spec, trust_model=True)
    assert str(tmp_path / "one") not in sys.path
    assert "blocks" not in sys.modules


def test_all_that_a_foreign_checkpoint_lacks_is_said_at_once(tmp_path):
    _project(tmp_path / "one", 4)
    torch.save({"state_dict": load_model(f"py:{tmp_path / 'one' / 'net.py'}:build", trust_model=True).state_dict()},
               tmp_path / "net.pth")  # fmt: skip
    bare, arch = str(tmp_path / "net.pth"), f"arch={tmp_path / 'one' / 'net.py'}:build"
    for spec, told in [
        (bare, ("does not name its architecture", "--trust-model", "how its inputs are normalised", "bounds=LOW/HIGH")),
        (f"{bare},normalize=none", ("does not name its architecture", "--trust-model")),
        (f"{bare},{arch}", ("runs code when loaded", "add --trust-model", "how its inputs are normalised")),
        (f"{bare},arch=net.py:build,normalize=none", ("add --trust-model",)),
    ]:
        with pytest.raises(InvalidArgument) as caught:
            load_model(spec)
        assert "\n" not in str(caught.value)
        assert all(part in str(caught.value) for part in told), caught.value
    assert load_model(f"{bare},{arch},normalize=none", trust_model=True)(torch.zeros(1, 4)).shape == (1, 3)
    with pytest.raises(InvalidArgument, match=r"must name an existing file .* got 'net.py:build'; a path is relative"):
        load_model(f"{bare},arch=net.py:build,normalize=none", trust_model=True)
