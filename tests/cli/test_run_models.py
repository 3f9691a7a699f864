"""What a manifest names is loaded, but never trusted: only what was typed may run code."""

import pytest

MODEL = """import pathlib, torch

marker = pathlib.Path({marker!r})
marker.write_text(marker.read_text() + "ran ")
torch.manual_seed(0)


def build():
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10))
"""


@pytest.fixture
def foreign(run, tmp_path):
    """A run whose manifest names a Python file, and the file that says how often it ran."""
    marker, source = tmp_path / "ran", tmp_path / "net.py"
    marker.write_text("")
    source.write_text(MODEL.format(marker=str(marker)))
    spec = f"py:{source}:build"
    draw = ("--dataset", "digits", "--sigma", 0.5, "--N", 60, "--max", 2, "--out", tmp_path / "run")
    assert run("sample", "--robust", spec, "--trust-model", *draw).code == 0
    marker.write_text("")
    return tmp_path / "run", spec, marker


def test_a_manifest_is_not_trusted_even_by_trust_model(run, foreign):
    folder, spec, marker = foreign
    for options in ((), ("--trust-model",), ("-M", "trust_model=True")):
        result = run("verify", folder, "--sample", 1, *options)
        assert (result.code, result.out, result.err.count("\n")) == (2, "", 1)
    assert f"{spec} runs code when loaded" in run("verify", folder, "--trust-model").err
    assert marker.read_text() == ""
    typed = run("verify", folder, "--sample", 1, "--robust", spec, "--trust-model")
    assert typed.code == 0, typed.err
    assert marker.read_text() == "ran "
    assert "add --trust-model" in run("verify", folder, "--robust", spec).err


def test_m_options_cannot_grant_trust(run, foreign, tmp_path):
    _, spec, marker = foreign
    draw = ("--dataset", "digits", "--sigma", 0.5, "--N", 60, "--max", 1, "--out", tmp_path / "other")
    result = run("sample", "--robust", spec, *draw, "-M", "trust_model=False")
    assert (result.code, result.out) == (2, "")
    assert "-M must be key=value of a model's own option" in result.err
    assert marker.read_text() == ""
