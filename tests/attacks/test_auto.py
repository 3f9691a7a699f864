"""AutoAttack through pyautoattack where it is installed; one clear line where it is not."""

import builtins

import pytest
import torch
from torch import nn

from certmix.attacks import attack_mixture, attack_model, auto_attack, get_norm
from certmix.errors import InvalidArgument
from certmix.paper.confidence import confidence_gaps


def test_absent_package_is_one_line(monkeypatch, accurate, digits):
    real = builtins.__import__

    def refuse(name, *arguments, **named):
        if name == "pyautoattack":
            raise ImportError(name)
        return real(name, *arguments, **named)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(InvalidArgument) as error:
        auto_attack(accurate, *digits, norm="linf", attack_radius=0.1)
    assert str(error.value) == (
        "AutoAttack needs the package pyautoattack, which is not installed; pip install 'certmix[attacks]'."
    )


@pytest.mark.filterwarnings("ignore")
def test_it_is_at_least_as_strong_and_stays_in_its_budget(robust, digits):
    pytest.importorskip("pyautoattack")
    inputs, labels = digits[0][:60], digits[1][:60]
    found, flags = auto_attack(robust, inputs, labels, norm="linf", attack_radius=0.15, attacks=["apgd-ce", "apgd-t"])
    ours = attack_model(robust, inputs, labels, norm="linf", attack_radius=0.15, restarts=3)
    assert found.accuracy <= ours.accuracy + 0.02
    assert (get_norm("linf").length(found.inputs - inputs) <= 0.15 * (1 + 1e-5)).all()
    assert flags == ()


@pytest.mark.filterwarnings("ignore")
def test_warnings_are_reported_not_printed(capsys, digits):
    pytest.importorskip("pyautoattack")

    class Random(nn.Module):
        def forward(self, inputs):
            return inputs.flatten(1)[:, :10] + torch.randn(len(inputs), 10)

    inputs, labels = digits[0][:10], digits[1][:10]
    _, flags = auto_attack(Random(), inputs, labels, norm="l2", attack_radius=0.5, attacks=["apgd-ce"])
    assert any("randomized defense" in flag for flag in flags)
    captured = capsys.readouterr()
    assert captured.out == captured.err == ""


@pytest.mark.filterwarnings("ignore")
def test_on_mixtures_and_for_gaps(accurate, robust, digits):
    pytest.importorskip("pyautoattack")
    inputs, labels = digits[0][:6], digits[1][:6]
    sweep = attack_mixture(
        accurate, robust, inputs, labels, mixing_weight=[0.8], norm="linf", attack_radius=0.15, attacks=["mix", "auto"]
    )
    assert sweep.accuracy("auto")[0] <= sweep.accuracy("mix")[0] + 1e-9
    gaps = {gap.data: gap for gap in confidence_gaps(
        robust, inputs, labels, norm="linf", attack_radius=0.15, attacks=["pgd", "auto"]
    )}  # fmt: skip
    assert list(gaps) == ["clean", "pgd", "auto"]
    assert gaps["auto"].accuracy <= gaps["clean"].accuracy


def test_bad_input_is_named(accurate, digits):
    pytest.importorskip("pyautoattack")
    with pytest.raises(InvalidArgument, match="attack_radius must be > 0"):
        auto_attack(accurate, *digits, norm="linf", attack_radius=0.0)
    with pytest.raises(InvalidArgument, match="norm must be one of"):
        auto_attack(accurate, *digits, norm="l0", attack_radius=0.1)
