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


def test_the_best_epoch_is_kept_beside_the_last_and_the_history_in_both(run, tmp_path):
    out = tmp_path / "h.safetensors"
    how = ("--method", "consistency", "--copies", 3, "--epochs", 3, "--averaging", 0.9, "--validation", 0.2)
    result = run("train", "--dataset", "digits", "--sigma", 0.25, "--out", out, *how)
    assert result.code == 0, result.err
    assert result.err.count("validation") >= 3
    assert "under the noise" in result.out
    assert sorted(path.name for path in tmp_path.iterdir()) == ["h.best.safetensors", "h.safetensors"]
    for path in tmp_path.iterdir():
        with safe_open(path, framework="pt") as handle:
            training = json.loads(handle.metadata()["certmix"])["training"]
        assert [report["epoch"] for report in training["history"]] == [1, 2, 3]
        assert (training["method"], training["copies"], training["averaging"]) == ("consistency", 3, 0.9)
        assert certmix.load_model(str(path))


def test_training_goes_on_from_a_trained_model(run, tmp_path):
    first, second = tmp_path / "g.safetensors", tmp_path / "h.safetensors"
    run("train", "--dataset", "digits", "--epochs", 6, "--out", first, "-q")
    how = ("--init", first, "--epochs", 1, "--learning-rate", 1e-6, "--json", "-q")
    result = run("train", "--dataset", "digits", "--out", second, *how)
    assert json.loads(result.out)["training_accuracy"] > 0.5
    refused = run("train", "--dataset", "digits", "--out", second, "--force", "--normalize", "half", *how)
    assert (refused.code, refused.err.count("\n")) == (2, 1)
    assert "--normalize is for fresh weights" in refused.err


def test_bad_options_are_one_line(run, tmp_path):
    for extra, message in [
        (("--sigma", -1), "--sigma must be in [0, 100]"),
        (("--architecture", "resnet"), "--arch must be one of"),
        (("--dataset", "mnits"), "data set spec must start with one of"),
        (("--method", "macer"), "--method must be one of gaussian, consistency"),
        (("--method", "consistency"), "--method consistency needs --sigma > 0, got 0."),
        (("--method", "smoothadv", "--sigma", 0.5), "method smoothadv needs attack_radius"),
        (("--attack-radius", 0.1, "--sigma", 0.5), "adversarial training needs --sigma 0, got 0.5"),
        (("--attack-radius", 0), "--attack-radius must be > 0, got 0"),
        (("--copies", 3), "method gaussian takes sigma, got copies; leave it out."),
        (("--averaging", 1), "--averaging must be in [0, 1)"),
        (("--validation", 1), "--validation must be in (0, 1)"),
        (("--arch", "cifar_resnet9"), "cifar_resnet9 must take inputs of shape (1, 8, 8)"),
        (("--init", "absent.safetensors"), "model file must exist"),
        (("--device", "tpu"), "device must be auto, cpu, cuda or cuda:N"),
    ]:
        result = run("train", "--dataset", "digits", "--out", tmp_path / "x.safetensors", "-q", *extra)
        assert result.code == 2
        assert message in result.err
        assert result.err.count("\n") == 1
    assert not list(tmp_path.iterdir())
