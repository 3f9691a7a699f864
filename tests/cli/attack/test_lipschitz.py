"""`certmix attack lipschitz` as a user types it."""

import json

import pytest


def test_estimates_bounds_and_given_constants(run, model):
    where = (
        "attack",
        "lipschitz",
        "--robust",
        model,
        "--dataset",
        "digits",
        "--max",
        5,
        "--steps",
        5,
        "--attack-radius",
        0.05,
    )
    result = run(*where, "--bound", "--lipschitz", 9, "--mixing-weight", 0.8, "--mixing-weight", 1, "--json")
    assert result.code == 0, result.err
    summary = json.loads(result.out)
    rows = {row["quantity"]: row for row in summary["rows"]}
    assert summary["inputs"] == 5
    assert (
        rows["largest L of a rival (estimate)"]["max"] <= rows["largest L of a rival (bound)"]["max"]
    )  # of an untrained model
    assert (
        rows["Theorem 3.5 radius at weight 1 (certified, bounds)"]["mean"]
        <= rows["Theorem 3.5 radius at weight 1 (estimate)"]["mean"]
    )
    assert "Theorem 3.5 radius at weight 0.8 (certified, given constants)" in rows
    assert all("estimate" in name or "bound" in name or "certified" in name for name in rows)
    smoothed = run(*where, "--sigma", 0.5, "--gradient-draws", 4, "--lipschitz", 9, "--threshold", 0.05, "--json")
    assert smoothed.code == 0, smoothed.err
    names = [row["quantity"] for row in json.loads(smoothed.out)["rows"]]
    assert all("estimate" in name for name in names)  # probabilities of a few draws certify nothing
    assert any(name.startswith("Lipschitz-aware radius at threshold 0.05") for name in names)
    table = run(*where, "--norm", "linf")
    assert table.out.count("(estimate)") == 4
    assert "they are not certificates" in table.err


@pytest.mark.parametrize(
    "change, message",
    [
        (("--norm", "l7"), "--norm must be one of linf, l2, l1, got 'l7'"),
        (("--attack-radius", 0), "attack_radius must be > 0 and finite"),
        (("--lipschitz", "a"), "--lipschitz must be >= 0, finite, got 'a'."),
        (("--lipschitz", "-1"), "--lipschitz must be >= 0, finite, got '-1'."),
        (("--lipschitz", "1,2"), "--lipschitz must be one number or one per class (10), got 2."),
        (("--mixing-weight", 2), "--mixing-weight must be in [0, 1]"),
        (("--sigma", 0.5, "--bound"), "--bound is for the network itself, not for a smoothed one; leave --sigma out."),
        (("--sigma", 0.5, "--norm", "linf"), "--norm must be l2 with --sigma"),
        (("--sigma", 0.5, "--lipschitz", 0), "--lipschitz must be one number > 0 with --sigma"),
        (("--balls", 0), "--balls must be a whole number from 1"),
    ],
)
def test_bad_input_is_one_line(run, model, change, message):
    result = run("attack", "lipschitz", "--robust", model, "--dataset", "digits", "--max", 2, "--steps", 1, "--quiet",
                 "--attack-radius", 0.1, *change)  # fmt: skip
    assert (result.code, result.out) == (2, "")
    assert message in result.err
    assert result.err.count("\n") == 1
