"""result.json: the same numbers as by hand, back from a file unchanged, and nothing else accepted or believed."""

import json
from dataclasses import replace

import numpy as np
import pytest

from certmix.certification.certify import certify
from certmix.errors import InvalidArgument, RunError
from certmix.formats.certificates import write_certificates
from certmix.formats.result import Result, read_result, result_of, result_text
from certmix.rules import LinearRule, ThresholdRule
from certmix.runs.store import read_statistics
from certmix.verification.published import check_published
from certmix.verification.redraw import Verification
from tests.report.made import write_run

RULES = [LinearRule(1.0), LinearRule(0.8), ThresholdRule(0.6)]


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    folder = write_run(tmp_path_factory.mktemp("run") / "run", inputs=40)
    statistics = read_statistics(folder)
    return folder, statistics, [certify(statistics, rules=RULES), certify(statistics, certifier="theorem-a1")]


def test_accuracies_are_counts_of_right_and_certified_inputs(stored):
    _, statistics, made = stored
    result = result_of(statistics, made, [0.0, 0.3, 0.7])
    right = made[0].prediction == statistics.labels
    assert len(result.rows) == 4
    for row, radius in zip(result.rows, made[0].radius, strict=False):
        expected = [np.mean(right & (radius > 0) & (radius >= r)) for r in (0.0, 0.3, 0.7)]
        assert row.certified_accuracy == pytest.approx(expected, abs=1e-15)
        assert row.abstained == pytest.approx(np.mean(radius == 0), abs=1e-15)
        assert all(a <= b <= c for a, b, c in zip(row.lower, row.certified_accuracy, row.upper, strict=True))
    assert 0.5 < result.rows[0].certified_accuracy[1] < 1.0  # says something
    h, g = statistics.estimation_counts.argmax(axis=1), statistics.accurate_probabilities.argmax(axis=1)
    assert result.rows[0].clean_accuracy == pytest.approx(np.mean(h == statistics.labels))
    assert np.mean(g == statistics.labels) != pytest.approx(result.rows[0].clean_accuracy)


def test_a_result_comes_back_from_its_file_unchanged(stored, tmp_path):
    _, statistics, made = stored
    result = result_of(statistics, made)
    (tmp_path / "result.json").write_text(result_text(result))
    assert read_result(tmp_path) == result
    assert result.disagreement(read_result(tmp_path)) is None


def _row(key, value):
    return lambda tree: tree["rows"][0].update({key: value})


BROKEN = {
    "another version": (lambda tree: tree.update(schema_version=2), "schema version 2, this certmix reads 1"),
    "a verdict of its own": (lambda tree: tree.update(verified=True), "known fields only, got verified"),
    "no sigma": (lambda tree: tree["draws"].pop("sigma"), "must hold sigma"),
    "a hash": (lambda tree: tree["draws"]["model"].update(sha256="b"), "sha256 must be"),
    "no inputs": (lambda tree: tree.update(inputs=0), "inputs must be a whole number"),
    "a share above 1": (_row("lower", [1.5]), "must be a finite number in [0, 1], got 1.5"),
    "another length": (_row("upper", []), "an accuracy and its interval for each of"),
    "no certifier": (_row("certifier", "best"), "certifier must be one of"),
    "an impossible weight": (
        _row("rule", {"kind": "linear", "parameter": 2.0}),
        "parameter must be a finite number in",
    ),
    "another norm": (lambda tree: tree.update(norm="l1"), "norm must be l2, that of the noise, got l1"),
    "radii": (lambda tree: tree.update(radii=["<b>"]), "must be a finite number"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_broken_files_are_refused_in_one_line(stored, name):
    change, message = BROKEN[name]
    tree = json.loads(result_text(result_of(*stored[1:])))
    change(tree)
    with pytest.raises(RunError, match="result") as refused:
        Result.from_json(tree, "result.json")
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("content", [b"{", b"\xff", b"[" * 100_000, b"3"])
def test_what_is_no_json_object_is_refused(tmp_path, content):
    (tmp_path / "result.json").write_bytes(content)
    with pytest.raises(RunError, match=r"result\.json (is damaged|must be a JSON object)"):
        read_result(tmp_path)


CLAIMS = {
    "an accuracy": (
        lambda row: replace(row, certified_accuracy=(1.0, *row.certified_accuracy[1:])),
        "certified_accuracy",
    ),
    "an interval": (lambda row: replace(row, lower=(row.lower[0] + 1e-6, *row.lower[1:])), "lower[0]"),
    "clean accuracy": (lambda row: replace(row, clean_accuracy=None), "clean_accuracy"),
    "another rule": (lambda row: replace(row, rule=LinearRule(0.7)), "rule.parameter"),
    "another promise": (lambda row: replace(row, promise=replace(row.promise, failure_probability=1e-6)), "promise"),
}


@pytest.mark.parametrize("name", CLAIMS)
def test_verify_names_a_claim_that_the_votes_do_not_support(stored, tmp_path, name):
    _, statistics, made = stored
    change, where = CLAIMS[name]
    result = result_of(statistics, made)
    forged = replace(result, rows=(change(result.rows[0]), *result.rows[1:]))
    for text, holds in ((result_text(result), True), (result_text(forged), False)):
        write_certificates(tmp_path, made, summaries={"result.json": text}, force=True)
        found = Verification()
        check_published([statistics], tmp_path, found)
        assert found.holds == holds, found.differences
    (line,) = found.differences
    assert line.startswith(f"result.json: rows[0].{where}")


def test_a_result_of_another_model_is_named(stored, tmp_path):
    _, statistics, made = stored
    result = result_of(statistics, made)
    other = replace(result, draws=replace(result.draws, sigma=0.25))
    assert result.disagreement(other) == "draws.sigma: stated 0.5, recomputed 0.25"


def test_a_result_without_certificates_is_a_difference(stored, tmp_path):
    _, statistics, made = stored
    (tmp_path / "result.json").write_text(result_text(result_of(statistics, made)))
    found = Verification()
    assert check_published([statistics], tmp_path, found) == []
    assert found.differences[0].startswith("result.json: rows")


def test_the_set_is_replaced_as_a_whole_and_a_strangers_file_is_not(stored, tmp_path):
    made = stored[2]
    write_certificates(tmp_path / "mine", made, summaries={"result.json": "{}", "model_card.md": "#"})
    write_certificates(tmp_path / "mine", made, force=True)
    assert not (tmp_path / "mine" / "result.json").exists()
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "model_card.md").write_text("by somebody else")
    with pytest.raises(InvalidArgument, match=r"model_card\.md must not exist"):
        write_certificates(tmp_path / "other", made)
    assert not (tmp_path / "other" / "certificates.parquet").exists()
