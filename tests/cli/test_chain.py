"""`certmix chain` as a user types it."""

import json

import pytest


@pytest.fixture
def runs(run, model, tmp_path):
    folders = []
    for sigma in (0.25, 0.5):
        folders.append(tmp_path / f"run-{sigma}")
        result = run(
            "sample", "--robust", model, "--accurate", model, "--dataset", "digits", "--max", 8, "--sigma", sigma,
            "--N", 200, "--N0", 20, "--seed", 1, "--votes", "both", "--out", folders[-1], "--quiet",
        )  # fmt: skip
        assert result.code == 0, result.err
    return folders


def test_a_chain_at_given_and_at_chosen_thresholds(run, runs, tmp_path):
    given = run(
        "chain", *runs, "--threshold", 0.3, "--threshold", 0.2, "--json", "--radii", "0,0.1", "--out", tmp_path / "c"
    )
    assert given.code == 0, given.err
    (chain,) = json.loads(given.out)["chains"]
    assert (chain["sigma"], chain["thresholds"], chain["inputs"]) == ([0.25, 0.5], [0.3, 0.2], 8)
    lines = (tmp_path / "c").read_text().splitlines()
    assert lines[0] == "idx\tlabel\tpredict\tradius\tcorrect"
    assert len(lines) == 9
    chosen = run("chain", *runs, "--target", 0.0, "--choose-on", 0.5, "--confidence", 0.75, "--confidence", 0.875)
    assert chosen.code == 0, chosen.err
    assert "4 inputs reported" in chosen.err
    assert "sigma 0.25: " in chosen.out


def test_bad_input_is_one_line(run, runs):
    for options, message in (
        ((), "chain without --threshold needs --target, --choose-on"),
        (("--threshold", 0.5), "a chain of 2 runs needs as many thresholds, got 1"),
        (("--threshold", 0.5, "--threshold", 0.4, "--objective", "0.5"), "chain --threshold does not take --objective"),
        (
            ("--threshold", 0.5, "--threshold", 0.4, "--confidence", 0.75, "--confidence", 0.875),
            "takes one --confidence",
        ),
        (("--threshold", 0.5, "--threshold", 0.4, "--confidence", 0.8), "confidence must be a multiple of 1/64"),
    ):
        result = run("chain", *runs, *options)
        assert result.code != 0
        assert message in result.err, result.err
