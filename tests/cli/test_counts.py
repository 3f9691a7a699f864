"""`certmix certify --counts` and `certmix export`: votes as text, in and out."""

import json

import numpy as np
import pytest

import certmix
from certmix.formats.certification_log import read_predictions


@pytest.fixture
def stored(run, model, tmp_path):
    options = ["--sigma", 0.5, "--N", 400, "--N0", 40, "--max", 8, "--seed", 1, "--quiet"]
    assert run("certify", "--robust", model, "--dataset", "digits", "--out", tmp_path / "run", *options).code == 0
    return tmp_path / "run"


def test_a_run_exported_and_certified_again_gives_the_same_certificates(run, stored, tmp_path):
    counts, selection = tmp_path / "counts.txt", tmp_path / "selection.txt"
    exported = run("export", stored, "--counts", counts, "--selection", selection, "--json")
    assert json.loads(exported.out)["inputs"] == 8
    weights = ["--mixing-weight", 0.8, "--mixing-weight", 1, "--certifier", "exact", "--certifier", "theorem-a1"]
    more = [*weights, "--radii", "0,0.25", "--json", "--failure-probability", 0.01]
    table = run("certify", "--counts", f"{counts},selection={selection}", "--sigma", 0.5, *more)
    again = run("certify", stored, *more)
    rows = [json.loads(result.out)["certified_accuracy"] for result in (table, again)]
    assert all(row.pop("summary")["draws"] == 440 for row in rows[1])  # a table of counts does not hold all of it
    assert rows[0] == rows[1]
    assert table.err == ""


def test_one_table_alone_says_that_it_also_chose_the_classes(run, stored, tmp_path):
    run("export", stored, "--counts", tmp_path / "counts.txt")
    result = run("certify", "--counts", tmp_path / "counts.txt", "--sigma", 0.5, "--out", tmp_path / "logs")
    assert result.out.startswith("| sigma | certifier")
    assert "chosen by the same counts, bounded for all 10 classes" in result.err
    log = certmix.read_certification_log(tmp_path / "logs" / "certificates.tsv", sigma=0.5)
    assert np.array_equal(log.labels, certmix.read_statistics(stored).labels)
    summary = json.loads(run("certify", "--counts", tmp_path / "counts.txt", "--sigma", 0.5, "--json").out)
    assert (summary["inputs"], summary["selected_by"], summary["sigma"]) == (8, "the same counts", 0.5)


def test_what_makes_no_sense_is_refused_in_one_line(run, stored, tmp_path):
    counts = tmp_path / "counts.txt"
    assert run("export", stored, "--counts", counts).code == 0
    (tmp_path / "bad.txt").write_text("1 2 3\n")
    logs = tmp_path / "logs"
    certified = ["certify", "--counts", counts, "--sigma", 0.5, "--out", logs]
    assert run(*certified).code == run(*certified, "--force").code == 0
    for arguments, message in [
        (["certify", "--counts", counts], "certify --counts needs --sigma"),
        (["certify", "--counts", f"{counts},selection={counts}", "--sigma", 0.5], "must be of other draws"),
        (["certify", "--counts", counts, "--sigma", 0.5, "--out", logs], "must not exist, but does; choose another"),
        (["certify", "--counts", counts, "--sigma", 0], "--sigma must be in (0, 100]"),
        (["certify", "--counts", counts, "--sigma", 0.5, stored], "certify --counts does not take [RUN]..."),
        (["certify", "--counts", counts, "--sigma", 0.5, "--real-valued"], "does not take --real-valued"),
        (["certify", "--counts", "absent.txt", "--sigma", 0.5], "count table must exist"),
        (["certify", "--counts", f"{counts},size=3", "--sigma", 0.5], "must be among selection, got 'size'"),
        (["certify", "--counts", tmp_path / "bad.txt", "--sigma", 0.5], "line 1 must end with a label"),
        (["export", stored, "--counts", counts], "must not exist, but does"),
        (["export", tmp_path, "--counts", tmp_path / "x"], "is not a run folder"),
    ]:
        result = run(*arguments)
        assert (result.code, result.out, result.err.count("\n")) == (2, "", 1), result.err
        assert message in result.err


def test_invalid_votes_are_not_left_out_silently(run, tmp_path):
    (tmp_path / "own.py").write_text(
        "import torch\nclass Sometimes(torch.nn.Module):\n    def forward(self, x):\n"
        "        x = x.flatten(1)[:, :10]\n        return torch.where(x > 0.9, torch.nan, x)\n"
    )
    how = ["--sigma", 0.5, "--N", 50, "--N0", 5, "--max", 2, "--seed", 1, "--quiet", "--trust-model"]
    robust = f"py:{tmp_path / 'own.py'}:Sometimes"
    options = ["--dataset", "digits", "--out", tmp_path / "run", "--on-invalid", "count", "--noise", "float"]
    assert run("certify", "--robust", robust, *options, *how).code == 0
    result = run("export", tmp_path / "run", "--counts", tmp_path / "c.txt")
    assert (result.code, result.out) == (2, "")
    assert "a count table cannot hold invalid votes" in result.err
    assert not (tmp_path / "c.txt").exists()


def test_the_accurate_log_is_what_pareto_reads(run, models, tmp_path):
    g, h = models
    draw = ("--dataset", "digits", "--max", 30, "--sigma", 0.25, "--N", 200, "--seed", 1, "--quiet")
    assert run("certify", "--robust", h, "--accurate", g, *draw, "--out", tmp_path / "run").code == 0
    written = json.loads(run("export", tmp_path / "run", "--accurate-log", tmp_path / "g.tsv", "--json").out)
    assert (written["accurate_log"], written["inputs"]) == (str(tmp_path / "g.tsv"), 30)
    statistics = certmix.read_statistics(tmp_path / "run")
    indices, labels, predictions = read_predictions(tmp_path / "g.tsv")
    assert indices.tolist() == statistics.indices.tolist()
    assert labels.tolist() == statistics.labels.tolist()
    assert predictions.tolist() == statistics.accurate_probabilities.argmax(1).tolist()
    log = f"{tmp_path / 'run' / 'certificates.tsv'}:0.25"
    frontier = run("pareto", "--log", log, "--accurate-log", tmp_path / "g.tsv", "--target", 0.1, "--json")
    assert frontier.code == 0, frontier.err
    bare = run("certify", "--robust", h, *draw, "--out", tmp_path / "bare")
    assert bare.code == 0, bare.err
    for arguments, message in [
        (["export", tmp_path / "bare", "--accurate-log", tmp_path / "x.tsv"], "needs a run drawn with --accurate"),
        (["export", tmp_path / "run"], "export needs --counts FILE (also beside --selection), or --accurate-log FILE"),
        (["export", tmp_path / "run", "--selection", tmp_path / "s"], "export needs --counts"),
        (["export", tmp_path / "run", "--accurate-log", tmp_path / "g.tsv"], "must not exist, but does"),
    ]:
        result = run(*arguments)
        assert (result.code, result.err.count("\n")) == (2, 1)
        assert message in result.err
