"""`certmix train` as a user types it."""

import json

from safetensors import safe_open

import certmix


def test_a_trained_model_can_be_loaded_and_says_how_it_was_made(run, tmp_path):
    out = tmp_path / "h.safetensors"
    result = run("train", "--dataset", "digits", "--sigma", 0.25, "--epochs", 6, "--out", out, "--json", "--quiet")
    assert result.code == 0, result.err
    summary = json.loads(result.out)
    assert summary["sigma"] == 0.25
    assert summary["training_accuracy"] > 0.5
    with safe_open(out, framework="pt") as handle:
        assert json.loads(handle.metadata()["certmix"])["training"]["epochs"] == 6
    assert certmix.load_model(str(out))
    again = run("train", "--dataset", "digits", "--out", out)
    assert again.code == 2
    assert "must not exist, but does; choose another or add --force." in again.err


def test_bad_options_are_one_line(run, tmp_path):
    for extra, message in [
        (("--sigma", -1), "--sigma must be in [0, 100]"),
        (("--architecture", "resnet"), "--architecture must be one of"),
        (("--dataset", "mnits"), "data set spec must start with one of"),
    ]:
        result = run("train", "--dataset", "digits", "--out", tmp_path / "x.safetensors", "-q", *extra)
        assert result.code == 2
        assert message in result.err
        assert result.err.count("\n") == 1
