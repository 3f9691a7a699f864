"""`certmix certify` as a user types it: results on stdout, one line and exit code 2 for every bad input."""

import csv
import json

import numpy as np
import pyarrow.parquet as pq
import pytest

import certmix


def _arguments(model, out, **changes):
    options = {"--robust": model, "--dataset": "digits", "--sigma": 0.5, "--out": out, "--N": 200, "--N0": 20}
    options |= {"--max": 6, "--seed": 1, **changes}
    return ["certify", *(str(part) for pair in options.items() if pair[1] is not None for part in pair)]


@pytest.fixture
def stored(run, model, tmp_path):
    result = run(*_arguments(model, tmp_path / "run"), "--accurate", model, "--quiet")
    assert result.code == 0, result.err
    return tmp_path / "run"


def test_sampling_prints_a_table_and_writes_what_it_says(run, model, tmp_path):
    result = run(*_arguments(model, tmp_path / "run"), "--mixing-weight", 0.8, "--mixing-weight", 1)
    assert result.code == 0
    assert result.out.split("|")[1:3] == [" sigma ", " certifier "]
    assert "6 of 6 inputs of digits (split test, skip 1, max 6)" in result.err
    assert "wrong with probability at most 0.001" in result.err
    table = pq.read_table(tmp_path / "run" / "certificates.parquet").to_pydict()
    assert len(table["radius"]) == 12
    log = tmp_path / "run" / "certificates-exact-0.8.tsv"
    with log.open() as handle:
        assert next(csv.reader(handle, delimiter="\t")) == ["idx", "label", "predict", "radius", "correct", "time"]


def test_json_is_one_object_and_nothing_else(run, stored):
    result = run("certify", stored, "--json", "--radii", "0,0.25", "--certifier", "exact", "--certifier", "theorem-a1")
    summary = json.loads(result.out)
    assert [row["certifier"] for row in summary["certified_accuracy"]] == ["exact", "theorem-a1"]
    assert summary["certified_accuracy"][0]["radii"] == [0.0, 0.25]
    assert summary["runs"][0]["inputs"] == 6
    assert result.err == ""


def test_a_certifier_that_cannot_certify_a_rule_leaves_its_row_out_and_says_so(run, model, stored, tmp_path):
    rules = ("--threshold", 0.5, "--mixing-weight", 0.8)
    result = run("certify", stored, *rules, "--certifier", "theorem-a1", "--certifier", "exact", "--format", "csv")
    assert result.code == 0, result.err
    assert [line.split(",")[1:3] for line in result.out.splitlines()[1:]] == [
        ["theorem-a1", "weight 0.8"],
        ["exact", "weight 0.8"],
        ["exact", "threshold 0.5"],
    ]
    assert "theorem-a1 knows h's margin only and has no row of threshold 0.5." in result.err
    held = run("verify", stored, "--sample", 1, "-q")
    assert held.code == 0, held.out
    assert run("plot", stored, *rules, "--certifier", "theorem-a1", "--out", tmp_path / "figure").code == 0
    alone = ("--threshold", 0.5, "--certifier", "theorem-a1")
    for arguments in (("certify", stored), _arguments(model, tmp_path / "new")):
        refused = run(*arguments, *alone)
        assert (refused.code, refused.out) == (2, "")
        assert (
            "--certifier must know more of h than its margin for a threshold (exact, theorem-3.5, cdf)" in refused.err
        )
    assert not (tmp_path / "new").exists()


def test_certifying_again_needs_no_model_and_agrees_with_python(run, stored):
    result = run("certify", stored, "--json", "--mixing-weight", 0.7, "--failure-probability", 0.05)
    statistics = certmix.read_statistics(stored)
    certificates = certmix.certify(statistics, mixing_weight=0.7, failure_probability=0.05)
    curve = certmix.certified_accuracy(certificates, statistics.labels, [0.0])
    assert json.loads(result.out)["certified_accuracy"][0]["certified_accuracy"][0] == curve.accuracy[0, 0]
    assert statistics.accurate_probabilities.shape == (6, 10)


def test_the_same_command_again_resumes_and_repeats_its_answer(run, model, tmp_path):
    arguments = _arguments(model, tmp_path / "run", **{"--seed": None})
    first = run(*arguments, "--json", "--quiet")
    before = certmix.read_statistics(tmp_path / "run").estimation_counts
    second = run(*arguments, "--json", "--quiet")
    assert first.out == second.out
    assert np.array_equal(before, certmix.read_statistics(tmp_path / "run").estimation_counts)


@pytest.mark.parametrize("table_format", ["latex", "csv"])
def test_other_table_formats(run, stored, table_format):
    result = run("certify", stored, "--format", table_format)
    start = {"latex": r"\begin{table}", "csv": "sigma,certifier,rule,clean,abstained,draws,s per input,r = 0"}
    assert result.out.startswith(start[table_format])
    assert (r"\caption{" in result.out and r"rounded down, with 95 \% intervals" in result.out) == (
        table_format == "latex"
    )


def test_plot_writes_three_files(run, stored, tmp_path):
    result = run("plot", stored, "--out", tmp_path / "figure", "--mixing-weight", 0.9, "--mixing-weight", 1, "--json")
    files = json.loads(result.out)["files"]
    assert [path.rsplit(".", 1)[1] for path in files] == ["png", "pdf", "csv"]
    with open(files[2]) as handle:
        rows = list(csv.DictReader(handle))
    assert {row["curve"] for row in rows} == {"sigma = 0.5, Exact, weight 0.9", "sigma = 0.5, Exact, weight 1"}


def test_plot_overlay_for_a_column(run, stored, tmp_path):
    how = ("--overlay", "--width", "column", "--style", "tableau-colorblind10")
    assert len(run("plot", stored, "--out", tmp_path / "f", *how).out.splitlines()) == 3
    rows = run("plot", stored, "--show", "probabilities", "--out", tmp_path / "p", "--json")
    with open(json.loads(rows.out)["files"][2]) as handle:
        assert {row["curve"] for row in csv.DictReader(handle)} == {"sigma = 0.5, right", "sigma = 0.5, wrong"}
    refused = run("plot", stored, "--style", "no-such", "--out", tmp_path / "f")
    assert (refused.code, refused.err.count("\n")) == (2, 1)
    assert "style must be a matplotlib style sheet" in refused.err
    assert run("plot", stored, "--width", "page").code == 2


def test_inputs_of_another_kind_are_refused_in_one_line(run, model, tmp_path):
    def save(name, **arrays):
        np.savez(tmp_path / name, **arrays)
        return f"npz:{tmp_path / name}"

    good, labels = np.zeros((4, 1, 8, 8), np.float32), np.array([0, 1, 2, 3])
    nan, big = good.copy(), good.copy()
    nan[2, 0, 3, 3], big[1] = np.nan, 2.0
    for spec, message in [
        (save("nan.npz", inputs=nan, labels=labels), "inputs must be in [0, 1], got nan at input 2"),
        (save("big.npz", inputs=big, labels=labels), "inputs must be in [0, 1], got 2 at input 1"),
        (save("label.npz", inputs=good, labels=labels) + ",num_classes=3", "labels must be in 0..2, got 3 at input 3"),
        (save("few.npz", inputs=good, labels=labels), "must have shape (batch, classes)"),
        (save("shape.npz", inputs=good[:, :, :3], labels=labels) + ",num_classes=10", "must take inputs of shape"),
        (save("names.npz", x=good, y=labels), "must hold the array 'inputs'"),
        ("npz:absent.npz", "npz file must exist"),
        ("npz:" + str(tmp_path / "text.npz"), "must be an .npz archive"),
        ("digit", "did you mean digits?"),
        ("digits,size=3", "options of 'digits,size=3'"),
    ]:
        (tmp_path / "text.npz").write_text("not an archive")
        result = run(*_arguments(model, tmp_path / "run", **{"--dataset": spec}))
        assert (result.code, result.out) == (2, ""), spec
        last = result.err.strip().splitlines()[-1]
        assert last.startswith("certmix: error:")
        assert message in last


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"--robust": "absent.safetensors"}, "model file must exist"),
        ({"--robust": "safetensor:x"}, "model spec must start with one of"),
        ({"--robust": "py:absent.py:build"}, "runs code when loaded; add --trust-model"),
        ({"--sigma": 0}, "--sigma must be in (0, 100], got '0'"),
        ({"--sigma": -0.25}, "--sigma must be in (0, 100]"),
        ({"--mixing-weight": 1.2}, "--mixing-weight must be in [0, 1]"),
        ({"--failure-probability": 0}, "--failure-probability must be in (0, 1)"),
        ({"--failure-probability": 1.5}, "--failure-probability must be in (0, 1)"),
        ({"--N": 5}, "num_estimation must be at least 11 to certify anything"),
        ({"--certifier": "theorem-a2"}, "did you mean theorem-a1?"),
        (
            {"--lipschitz": 1},
            "--lipschitz must be given with --certifier lipschitz-smoothed, and with it alone, got 1.",
        ),
        ({"--certifier": "lipschitz-smoothed"}, "with it alone, got nothing."),
        ({"--certifier": "lipschitz-smoothed", "--lipschitz": 1}, "needs --votes soft or both, and --noise float"),
        ({"--radii": "a,b"}, "--radii must be >= 0, finite, got 'a'"),
        ({"--dataset": None}, "certify needs --dataset; see"),
        ({"--split": "validation"}, "split of digits must be train, test or all"),
        ({"--skip": 0}, "--skip must be a whole number from 1 to"),
        ({"--indices": "1", "--max": None}, "indices must be positions"),
        ({"--noise": "uniform"}, "--noise must be one of auto, integer, float"),
        ({"--interval": "both"}, "--interval must be one of"),
        ({"--device": "cuda:99"}, "device"),
        ({"-M": "arch"}, "-M must be key=value"),
    ],
)
def test_bad_options_are_one_line_and_draw_nothing(run, model, tmp_path, changes, message):
    result = run(*_arguments(model, tmp_path / "run", **changes), "--quiet")
    assert (result.code, result.out) == (2, "")
    assert result.err.count("\n") == 1
    assert result.err.startswith("certmix: error:")
    assert message in result.err
    assert not (tmp_path / "run").exists()


def _content(folder):
    return {path.name: path.read_bytes() for path in (folder / "shards").iterdir()}


def test_a_run_that_cannot_be_used_is_refused_and_left_alone(run, model, stored, tmp_path):
    before = _content(stored)
    (tmp_path / "notes.txt").write_text("hello")
    shard = next(iter((stored / "shards").iterdir()))
    for arguments, message in [
        (
            _arguments(model, stored, **{"--sigma": 0.25, "--accurate": model}),
            "disagrees on sigma: the run has 0.5, asked",
        ),
        (_arguments(model, stored), "disagrees on accurate"),
        (["certify", tmp_path / "notes.txt"], "is not a run folder (a file)"),
        (["certify", tmp_path], "is not a run folder"),
        (["plot", tmp_path / "absent"], "is not a run folder (missing)"),
        (["certify"], "without run folders, certify needs --robust, --dataset, --sigma, --out"),
    ]:
        result = run(*arguments, *(["--quiet"] if arguments[0] == "certify" else []))
        assert (result.code, result.out) == (2, "")
        assert message in result.err
        assert result.err.count("\n") == 1
    assert _content(stored) == before
    shard.write_bytes(shard.read_bytes()[:100])
    result = run("certify", stored)
    assert result.code == 2
    assert "is damaged" in result.err
    assert "delete that file" in result.err


def test_draws_saved_by_stopping_early_are_those_that_were_not_made_and_verify_repeats_no_more(run, model, tmp_path):
    arguments = _arguments(model, tmp_path / "run")
    result = run(*arguments, "--stop-at-radius", 0.25, "--json")
    assert result.code == 0, result.err
    said = json.loads(result.out)["runs"][0]
    stored = certmix.read_statistics(tmp_path / "run")
    used = int((stored.estimation_counts.sum(axis=1) + stored.estimation_invalid).sum())
    full = len(stored) * stored.draws.num_estimation
    assert 0 < used < full
    assert (said["estimation_draws_used"], said["estimation_draws_saved"]) == (used, full - used)
    shown = run("certify", tmp_path / "run")
    assert f"{used} estimation draws used, {full - used} (" in shown.err
    checked = run("verify", tmp_path / "run", "--sample", 100)
    assert checked.code == 0, checked.out
    assert f"({used + len(stored) * stored.draws.num_selection} draws)" in checked.out
