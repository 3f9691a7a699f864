"""What the page is given is what Python knows."""

import base64
from dataclasses import replace

import numpy as np
import pytest

from certmix.certification.schedule import make_schedule
from certmix.clean_accuracy import CleanAccuracy
from certmix.curves import accuracy_interval
from certmix.errors import InvalidArgument
from certmix.report.packing import pack
from certmix.report.payload import RULE_CONTROLS
from certmix.report.run_data import quarters
from certmix.report.words import redraw_command
from certmix.rules import ThresholdRule
from certmix.runs.draws import ModelRecord
from tests.records import DRAWS
from tests.report.made import CLASSES, report_of, write_run

TYPES = {"u1": "<u1", "u2": "<u2", "u4": "<u4", "i4": "<i4", "f8": "<f8"}


def unpacked(text):
    kind, body = text.split(":")
    return np.frombuffer(base64.b64decode(body), dtype=TYPES[kind])


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    return report_of(*(write_run(folder / f"{s}", s) for s in (0.5, 0.25)))


@pytest.mark.parametrize(
    "values, kind",
    [([0, 255], "u1"), ([0, 256], "u2"), ([70_000], "u4"), ([-1, 3], "i4"), ([0.1, 1 / 3], "f8"), ([2**40], "f8")],
)
def test_arrays_come_back_from_the_smallest_type(values, kind):
    text = pack(np.array(values))
    assert text.startswith(f"{kind}:")
    np.testing.assert_array_equal(unpacked(text), values)


def test_bounds_votes_and_labels_are_the_runs(report):
    for one, packed in zip(report.runs, report.to_json()["runs"], strict=True):
        statistics = one.run.statistics
        np.testing.assert_array_equal(unpacked(packed["top"]), one.bounds.top_lower)
        np.testing.assert_array_equal(
            unpacked(packed["rival"]), np.minimum(one.bounds.rival_upper, 1 - one.bounds.top_lower)
        )
        np.testing.assert_array_equal(unpacked(packed["label"]), statistics.labels)
        votes = unpacked(packed["votes"]).reshape(len(statistics), packed["kept"])
        classes = unpacked(packed["votedClass"]).reshape(votes.shape)
        np.testing.assert_array_equal(np.take_along_axis(statistics.estimation_counts, classes.astype(int), 1), votes)
        np.testing.assert_array_equal(votes[:, 0], statistics.estimation_counts.max(axis=1))


def test_runs_are_in_order_of_sigma_and_comparable(report):
    assert [one.bounds.sigma for one in report.runs] == [0.25, 0.5]
    assert report.comparable


def test_runs_over_other_inputs_have_no_frontier(tmp_path):
    assert not report_of(write_run(tmp_path / "a", 0.25), write_run(tmp_path / "b", 0.5, inputs=50)).comparable
    assert not report_of(write_run(tmp_path / "c", accurate=False)).comparable


@pytest.mark.parametrize("rule", [rule.kind for rule in RULE_CONTROLS])
def test_clean_accuracy_and_its_inverse_are_pythons(report, javascript, rule):
    one, packed = report.runs[1], report.to_json()["runs"][1]["cleanSteps"][rule]
    steps: CleanAccuracy = one.clean[rule]
    at = np.concatenate([steps.breakpoints[:-1], np.random.default_rng(0).uniform(0, 1, 500)])
    found = javascript(
        "argument.at.map((x) => new CleanSteps(argument.steps).count(x))", {"steps": packed, "at": at.tolist()}
    )
    np.testing.assert_allclose(np.array(found) / len(one.bounds), steps(at), rtol=1e-14)
    wanted = sorted({round(x * len(one.bounds)) for x in steps.at})
    code = "argument.counts.map((count) => new CleanSteps(argument.steps).best(count))"
    best = javascript(code, {"steps": packed, "counts": [*wanted, len(one.bounds) + 1]})
    assert best[:-1] == [steps.best(count / len(one.bounds)) for count in wanted]
    assert best[-1] is None


def test_quarters_are_of_equal_size_and_equal_margins_are_of_one_quarter():
    rng = np.random.default_rng(0)
    g, labels = rng.dirichlet(np.ones(3), 402), rng.integers(0, 3, 402)
    found = quarters(g, labels)
    assert np.ptp(np.bincount(found)) <= 1
    rows = np.arange(402)
    margin = g[rows, labels] - np.max(np.where(np.eye(3, dtype=bool)[labels], -1, g), axis=1)
    assert (np.diff(found[np.argsort(margin)]) >= 0).all()
    sure = np.eye(2)[[0] * 3 + [1] * 7]  # three mistakes, and seven that are all as sure
    assert quarters(sure, np.ones(10, dtype=int)).tolist() == [0] * 3 + [2] * 7


def test_intervals_are_pythons(report):
    size = len(report.runs[0].bounds)
    lower, upper = accuracy_interval(np.arange(size + 1), size)
    np.testing.assert_array_equal(report.lower[size], lower)
    np.testing.assert_allclose(1 - report.lower[size][::-1], upper, rtol=1e-12)


def test_the_redraw_command_quotes_what_a_manifest_says(tmp_path):
    report = report_of(write_run(tmp_path / "run", spec="x; rm -rf ~.safetensors", data="npz:a b.npz"))
    before, after = report.runs[0].command
    assert "--robust 'x; rm -rf ~.safetensors'" in before
    assert "--dataset 'npz:a b.npz' --split test" in before
    assert before.endswith("--indices ")
    assert not after


def test_the_redraw_command_stops_where_the_run_did():
    schedule = make_schedule(1000, sigma=0.5, rule=ThresholdRule(0.4), target_radius=0.25)
    before, _ = redraw_command(replace(DRAWS, model=ModelRecord("h.pt", "a" * 64), schedule=schedule))
    assert "--threshold 0.4 --failure-probability 0.001 --stop-at-radius 0.25 " in before
    assert redraw_command(DRAWS) is None


def test_real_valued_moves_every_radius(tmp_path):
    from certmix.runs.draws import NoiseRecord

    noise = NoiseRecord("integer", "philox4x64-10", 255, "a" * 64, 1e-15)
    report = report_of(write_run(tmp_path / "run", noise=noise), real_valued=True)
    assert report.to_json()["runs"][0]["moved"] == pytest.approx(8 / 510)
    assert not any("grid" in line for line in report.warnings)


def test_warnings_name_what_a_reader_must_know(tmp_path):
    report = report_of(write_run(tmp_path / "a", 0.25, accurate=False), write_run(tmp_path / "b", 0.5))
    said = "\n".join(report.warnings)
    for words in ("float", "σ = 0.25: the accurate model was not recorded", "chosen by hand", "--choose-on"):
        assert words in said


def test_names_must_be_one_per_class(tmp_path):
    folder = write_run(tmp_path / "run", inputs=5)
    with pytest.raises(InvalidArgument, match=f"one per class, {CLASSES}, got 2"):
        report_of(folder, classes=["a", "b"])
