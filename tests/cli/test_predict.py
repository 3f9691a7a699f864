"""`certmix predict`, and early stopping and soft votes from the command line."""

import json


def test_predictions_are_counted_and_written(run, model, tmp_path):
    out = tmp_path / "predictions.tsv"
    options = ("--dataset", "digits", "--sigma", 0.5, "--max", 4, "--num-estimation", 200, "--mixing-weight", 0.8)
    result = run("predict", "--robust", model, "--accurate", model, *options, "--out", out, "--json")
    assert result.code == 0, result.err
    summary = json.loads(result.out)
    assert summary["inputs"] == 4
    assert 0 <= summary["accuracy"] + summary["abstained"] <= 1
    rows = out.read_text().splitlines()
    assert rows[0] == "idx\tlabel\tpredict\tradius\tdraws"
    assert len(rows) == 5
    plain = run("predict", "--robust", model, "--dataset", "digits", "--max", 2, "--N", 100, "--sigma", 0.5)
    assert "of 2 inputs" in plain.out
    assert "with probability at most 0.001" in plain.err


def test_bad_options_are_one_line(run, model, tmp_path):
    for options, message in (
        (("--mixing-weight", 0.5), "rule must be weight 1 without an accurate model"),
        (("--num-estimation", 3), "num_estimation must be at least"),
        (("--mixing-weight", 0.8, "--threshold", 0.6), "follows one --mixing-weight or --threshold, got 2"),
        (("--out", model / "x.tsv", "--max", 1, "--num-estimation", 100), "must lie in a folder, but"),
    ):
        result = run("predict", "--robust", model, "--dataset", "digits", "--sigma", 0.5, *options)
        assert (result.code, result.out) == (2, "")
        assert message in result.err
    out = tmp_path / "predictions.tsv"
    out.write_text("mine")
    few = ("--robust", model, "--dataset", "digits", "--sigma", 0.5, "--max", 1, "--N", 100, "--out", out)
    assert "must not exist, but does; choose another or add --force." in run("predict", *few).err
    assert out.read_text() == "mine"
    assert run("predict", *few, "--force").code == 0
    assert out.read_text() != "mine"
    result = run("predict", "--robust", model)
    assert "predict needs --dataset, --sigma" in result.err


def _certify(run, model, out, *options):
    sampling = ("--robust", model, "--accurate", model, "--dataset", "digits", "--sigma", 0.5, "--max", 6)
    return run("certify", *sampling, "--num-estimation", 1000, "--out", out, *options)


def test_stopping_early_says_what_it_saved(run, model, tmp_path):
    result = _certify(run, model, tmp_path / "run", "--stop-at-radius", 0.3)
    assert result.code == 0, result.err
    assert "stopped early:" in result.err
    assert "%) saved" in result.err
    again = run("certify", tmp_path / "run", "--json", "-q")
    described = json.loads(again.out)["runs"][0]
    assert described["estimation_draws_used"] + described["estimation_draws_saved"] == 6000
    assert described["draws"]["schedule"]["target_radius"] == 0.3
    refused = run("certify", tmp_path / "run", "--failure-probability", 0.01)
    assert refused.code == 2
    assert "this run could stop early" in refused.err
    verified = run("verify", tmp_path / "run", "--sample", 6, "-q")
    assert verified.code == 0, verified.out
    for options, message in (
        (("--stop-at-radius", 0.3, "--mixing-weight", 0.8, "--mixing-weight", 1), "decide at one --mixing-weight"),
        (("--stop-at-radius", 0.3, "--votes", "soft"), "votes must be hard where sampling may stop early"),
        (("--stop-at-radius", 9), "target radius must be in"),
    ):
        result = _certify(run, model, tmp_path / "other", *options, "-q")
        assert result.code == 2
        assert message in result.err
        assert not (tmp_path / "other").exists()


def test_stopping_early_decides_a_threshold_too(run, model, tmp_path):
    out, asked = tmp_path / "run", ("--stop-at-radius", 0.1, "--threshold", 0.6)
    result = _certify(run, model, out, *asked, "--json", "-q")
    assert result.code == 0, result.err
    described = json.loads(result.out)
    (about,) = described["runs"]
    assert about["draws"]["schedule"]["rule"] == {"kind": "threshold", "parameter": 0.6, "accurate_vote": "class"}
    assert about["estimation_draws_saved"] > 0
    assert [row["rule"] for row in described["certified_accuracy"]] == ["threshold 0.6"]
    again = run("certify", out, "--threshold", 0.6, "--mixing-weight", 1, "--json")
    assert [row["rule"] for row in json.loads(again.out)["certified_accuracy"]] == ["weight 1", "threshold 0.6"]
    assert run("verify", out, "--sample", 3, "-q").code == 0
    both = _certify(run, model, tmp_path / "other", *asked, "--threshold", 0.7, "-q")
    assert both.code == 2
    assert "decide at one --mixing-weight or --threshold" in both.err


def test_soft_votes_are_certified_both_ways(run, model, tmp_path):
    out = tmp_path / "run"
    rules = ("--threshold", 0.2, "--mixing-weight", 1)
    result = _certify(run, model, out, "--votes", "both", "--certifier", "exact", "--certifier", "cdf", *rules)
    assert result.code == 0, result.err
    assert "| cdf, soft votes | threshold 0.2 |" in result.out
    assert "| exact " in result.out
    soft = run("certify", out, "--certify-votes", "soft", "--mean-bound", "bernstein")
    assert "| exact, soft votes |" in soft.out
    assert "rows of soft votes are about mean class probabilities" in soft.err
    verified = run("verify", out, "--sample", 2)
    assert verified.code == 0, verified.out
    assert "not by independent arithmetic" in verified.err
    assert "--certify-votes must be one of hard, soft" in run("certify", out, "--certify-votes", "loud").err
