"""`certmix pareto` as a user types it, on stored draws and on logs."""

import json

import pyarrow.parquet as pq
import pytest

HEADER = "idx\tlabel\tpredict\tradius\tcorrect\ttime\n"


@pytest.fixture
def runs(run, model, tmp_path):
    folders = []
    for sigma in (0.25, 0.5):
        folders.append(tmp_path / f"run-{sigma}")
        result = run(
            "certify", "--robust", model, "--accurate", model, "--dataset", "digits", "--max", 8, "--sigma", sigma,
            "--N", 200, "--N0", 20, "--seed", 1, "--out", folders[-1], "--quiet",
        )  # fmt: skip
        assert result.code == 0, result.err
    return folders


def test_a_sweep_of_stored_draws(run, runs, tmp_path):
    result = run("pareto", *runs, "--baseline", 0.25, "--json", "--radii", "0,0.1,0.2", "--out", tmp_path / "sweep")
    assert result.code == 0, result.err
    summary = json.loads(result.out)
    assert set(summary["matched"][0]) >= {"sigma", "rule", "clean_accuracy", "radii", "certified_accuracy"}
    assert set(summary["frontier"]) == {"radii", "certified_accuracy", "sigma", "rule"}
    assert summary["baseline"]["rule"]["parameter"] == 1.0
    assert summary["frontier"]["radii"] == [0.0, 0.1, 0.2]
    assert len(pq.read_table(tmp_path / "sweep.parquet")) == 3 * (len(runs) + len(summary["matched"]))
    for ending in ("png", "pdf", "csv"):
        assert (tmp_path / f"sweep.{ending}").stat().st_size > 0
    table = run("pareto", *runs, "--baseline", 0.25, "--certifier", "theorem-a1", "--certifier", "exact")
    assert table.out.count("| clean ") == 2
    assert "were chosen on the same 8 inputs" in table.err
    split = run("pareto", *runs, "--target", 0.0, "--choose-on", 0.5, "--accurate-vote", "softmax", "--mode", "matched")
    by_rule = run("pareto", *runs, "--target", 0.0, "--rule", "linear", "--rule", "threshold", "--json", "--radii", "0")
    assert {pair["rule"]["kind"] for pair in json.loads(by_rule.out)["matched"]} == {"linear", "threshold"}
    assert "chosen on 4 inputs and reported on the other 4" in split.err


def test_bad_input_is_one_line(run, runs, model, tmp_path):
    bare, other = tmp_path / "bare", tmp_path / "other"
    for out, extra in ((bare, ()), (other, ("--accurate", model, "--skip", 3))):
        run("certify", "--robust", model, "--dataset", "digits", "--max", 8, "--sigma", 1, "--N", 200, "--N0", 20,
            "--seed", 1, "--out", out, "--quiet", *extra)  # fmt: skip
    good, moved = tmp_path / "good.tsv", tmp_path / "moved.tsv"
    good.write_text(HEADER + "0\t1\t1\t0.5\t1\t1\n1\t2\t-1\t0.0\t0\t1\n")
    moved.write_text(HEADER + "0\t1\t1\t0.5\t1\t1\n2\t2\t-1\t0.0\t0\t1\n")
    for arguments, message in [
        ((*runs, bare, "--baseline", 0.25), "must hold the accurate model's predictions, and does not"),
        ((*runs, other, "--baseline", 0.25), "all runs must be over the same inputs, got different indices"),
        ((*runs, "--baseline", 0.3), "baseline must be one of the sigmas"),
        ((*runs, "--target", 1), "target clean accuracy must be one that some weight reaches"),
        ((*runs, "--baseline", 0.25, "--certifier", "best"), "--certifier must be one of"),
        ((*runs, "--baseline", 0.25, "--out", f"{tmp_path}/"), "--out must be a path without ending, got the folder"),
        ((*runs, "--baseline", 0.25, "--accurate-log", good), "pareto RUN does not take --accurate-log"),
        (("--baseline", 0.25), "pareto needs run folders, or --log"),
        (("--log", f"{good}:0.5", "--baseline", 0.5), "--log needs --accurate-log"),
        (("--log", f"{good}", "--accurate-log", good, "--baseline", 0.5), "--log must be FILE:SIGMA"),
        (("--log", f"{good}:0.5", "--accurate-log", moved, "--baseline", 0.5), "must be over the same inputs"),
    ]:
        result = run("pareto", *arguments, "--quiet")
        assert (result.code, result.out) == (2, ""), message
        assert message in result.err
        assert result.err.count("\n") == 1


def test_published_logs_without_any_model(run, shared_data):
    folder = shared_data / "aces_cifar10_gaussian"
    logs = [part for s in ("0.25", "0.50", "1.00") for part in ("--log", f"{folder / f'sigma_{s}.tsv'}:{float(s)}")]
    arguments = ("pareto", *logs, "--accurate-log", folder / "accurate_lanet.tsv", "--baseline", 0.25, "--json")
    # As printed, and by default half a printed digit lower: h's shares of votes are then smaller, and so are its margins.
    for rounding, weight in ((("--printed-rounding", "trust"), 0.82925), ((), 0.82952)):
        summary = json.loads(run(*arguments, *rounding).out)
        assert [pair["sigma"] for pair in summary["matched"]] == [0.25, 0.5, 1.0]
        assert summary["matched"][2]["rule"]["parameter"] == pytest.approx(weight, abs=1e-5)
