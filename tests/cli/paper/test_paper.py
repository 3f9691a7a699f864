"""The commands that reproduce the paper, as a user types them."""

import json

import pytest


def test_confidence(run, where):
    result = run("paper", "confidence", *where, "--attack-radius", 0.1, "--json")
    rows = json.loads(result.out)["rows"]
    assert [(row["model"], row["inputs"]) for row in rows] == [
        (model, data) for model in ("accurate", "robust") for data in ("clean", "pgd")
    ]
    assert all(0.5 <= row["weight_needed_by_half"] <= 1 for row in rows)
    assert run("paper", "confidence", *where, "--attack-radius", 0.1).out.count("| robust") == 2


def test_mixing_forms(run, where, tmp_path):
    result = run("paper", "forms", *where, "--attack-radius", 0.1, "--points", 3, "--out", tmp_path / "forms", "--json")
    assert result.code == 0, result.err
    forms = json.loads(result.out)["forms"]
    assert len({row["form"] for row in forms}) == 8
    assert [row["score"] for row in forms] == sorted((row["score"] for row in forms), reverse=True)
    assert (tmp_path / "forms.png").stat().st_size > 0


@pytest.mark.parametrize(
    "command, change, message",
    [
        ("confidence", ("--attack", "cw"), "--attack must be one of pgd, auto, got 'cw'"),
        ("forms", ("--points", 1), "--points must be a whole number from 2 to 1000, got '1'"),
        ("forms", ("--norm", "l4"), "--norm must be one of"),
    ],
)
def test_bad_input_is_one_line(run, where, command, change, message):
    result = run("paper", command, *where, "--attack-radius", 0.1, *change)
    assert (result.code, result.out) == (2, "")
    assert message in result.err
    assert result.err.count("\n") == 1
