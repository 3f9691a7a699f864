"""A run as files: resumed by the same call, its checkpoint gone in the end."""

import pytest

import certmix
from certmix.errors import InvalidArgument, RunError
from certmix.models import fingerprint
from certmix.training.files import train_to_file
from certmix.training.methods import Gaussian
from certmix.training.network import Start
from certmix.training.recipe import Recipe


def test_a_killed_run_goes_on_and_leaves_two_models(tmp_path):
    data = certmix.load_dataset("digits", split="train", max=200)
    how = {"device": "cpu", "validation": 0.2, "checkpoint_seconds": 0.0}

    def killed(report):
        if report.epoch == 2:
            raise KeyboardInterrupt

    whole, again = tmp_path / "whole.safetensors", tmp_path / "again.safetensors"
    run = (data, Start(), Gaussian(0.25), Recipe(epochs=4, batch_size=32, averaging=0.9))
    train_to_file(*run, whole, **how)
    with pytest.raises(KeyboardInterrupt):
        train_to_file(*run, again, **how, each_epoch=killed)
    assert [path.name for path in tmp_path.glob("again*")] == ["again.checkpoint.safetensors"]
    with pytest.raises(RunError, match=r"sigma: the run has 0.25, asked for is 0.5; .* or delete it"):
        train_to_file(data, Start(), Gaussian(0.5), run[3], again, **how)
    written = train_to_file(*run, again, **how)
    assert sorted(path.name for path in tmp_path.glob("again*")) == ["again.best.safetensors", "again.safetensors"]
    for name in ("{}.safetensors", "{}.best.safetensors"):
        one, two = (certmix.load_model(str(tmp_path / name.format(stem))) for stem in ("whole", "again"))
        assert fingerprint(one) == fingerprint(two)
    assert written.judged_on == "validation"
    with pytest.raises(InvalidArgument, match="must not exist, but does"):
        train_to_file(*run, again, **how)
