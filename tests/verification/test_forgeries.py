"""`verify` is the referee: a run that the product wrote holds, and with every input drawn again no forgery of it does.

Each forger writes valid files, makes every hash anew, and derives the certificates and logs again where that helps.
"""

import json
import shutil

import numpy as np
import pyarrow.parquet as pq
import pytest

import certmix
from certmix.formats.certificates import FILE, write_certificates
from certmix.intervals.histograms import UNITS
from tests.verification.forging import (
    certify_again,
    edit_certificates,
    edit_manifest,
    edit_shard,
    move_between_bins,
    rewrite_logs,
    swap,
)

INPUTS, CLASSES = 4, 10
VARIABLES = 1 + 2 * (CLASSES - 1)


@pytest.fixture(scope="module")
def honest(model, tmp_path_factory):
    """A run with hard and soft votes, and certificates of three kinds."""
    folder = tmp_path_factory.mktemp("honest") / "run"
    h = certmix.load_model(str(model))
    statistics = certmix.sample(
        h,
        certmix.load_dataset("digits", max=INPUTS),
        sigma=0.5,
        accurate=h,
        votes="both",
        num_selection=20,
        num_estimation=200,
        seed_from="a public text",
        out=folder,
    )
    options = {"mixing_weight": [0.9, 1.0], "failure_probability": 0.05}
    made = [
        certmix.certify(statistics, certifier="exact", **options),
        certmix.certify(statistics, certifier="theorem-a1", real_valued=True, **options),
        certmix.certify(statistics, certifier="cdf", **options),
    ]
    write_certificates(folder, made, seconds=statistics.seconds)
    assert all((one.radius > 0).any() for one in made)
    return folder


@pytest.fixture
def folder(honest, tmp_path):
    return shutil.copytree(honest, tmp_path / "run")


def _verify(run, folder, *options):
    return run("verify", folder, "--sample", 100, *options)


# --- votes ---------------------------------------------------------------------------------------------------------


def _each(change):
    def forge(rows):
        for row in rows:
            change(row)

    return forge


def _unanimous(row):
    """All votes for the selected class; for the next one where they are already."""
    counts, top = row["estimation_counts"], int(np.argmax(row["selection_counts"]))
    if counts[top] == sum(counts):
        top = (top + 1) % CLASSES
    row["estimation_counts"] = [sum(counts) if i == top else 0 for i in range(CLASSES)]


def _other_selection(row):
    swap(row["selection_counts"], 0, int(np.argmax(row["selection_counts"])) or 1)


def _one_vote(row):
    counts, top = row["estimation_counts"], int(np.argmax(row["estimation_counts"]))
    counts[top] -= 1
    counts[(top + 1) % CLASSES] += 1


def _one_invalid(row):
    row["estimation_counts"][int(np.argmax(row["estimation_counts"]))] -= 1
    row["estimation_invalid"] += 1


def _soft_prediction(row):
    other = row["soft_rivals"][0]
    row["soft_rivals"] = sorted([*row["soft_rivals"][1:], row["soft_prediction"]])
    row["soft_prediction"] = other


def _sums_within_bins(row):
    """The largest sums that the bins allow for the class's own probability."""
    from certmix.intervals.histograms import BINS, RIGHT

    table = np.array(row["soft_histograms"]).reshape(2, VARIABLES, BINS, 2)
    table[1, 0, :, 1] = table[1, 0, :, 0] * RIGHT
    row["soft_histograms"] = table.reshape(-1).tolist()


def _all_in_the_last_bin(row):
    from certmix.intervals.histograms import BINS

    table = np.array(row["soft_histograms"]).reshape(2, VARIABLES, BINS, 2)
    for variable in (0, *range(CLASSES, VARIABLES)):
        total = table[1, variable, :, 0].sum()
        table[1, variable] = 0
        table[1, variable, -1] = [total, total * UNITS]
    row["soft_histograms"] = table.reshape(-1).tolist()


VOTES = {
    "rows deleted": (lambda rows: rows.__delitem__(slice(2, None)), "2 of 4 inputs are missing"),
    "a row outside the data set": (lambda rows: rows[3].update(index=99), "no such input"),
    "a label": (lambda rows: rows[3].update(label=(rows[3]["label"] + 1) % CLASSES), "label of input"),
    "all votes for the class": (_each(_unanimous), "estimation votes stored"),
    "selection votes": (_each(_other_selection), "selection votes stored"),
    "one vote": (lambda rows: _one_vote(rows[2]), "1 differ"),
    "one invalid vote": (lambda rows: _one_invalid(rows[2]), "1 differ"),
    "the accurate model's probabilities": (
        lambda rows: rows[1].update(accurate_probabilities=[1.0] + [0.0] * (CLASSES - 1)),
        "the accurate model's probabilities differ",
    ),
    "soft prediction": (_each(_soft_prediction), "soft prediction of input"),
    "sums of soft votes": (_each(_sums_within_bins), "sums of soft estimation votes differ"),
    "soft votes of the last bin": (_each(_all_in_the_last_bin), "fell into other bins"),
    "a soft selection histogram": (
        lambda rows: move_between_bins(rows[0]["soft_histograms"], 0, 0, VARIABLES),
        "soft selection votes",
    ),
    "a rival's histogram": (
        lambda rows: move_between_bins(rows[0]["soft_histograms"], 1, 3, VARIABLES),
        "soft estimation votes",
    ),
}


def test_the_run_as_it_was_written_holds(run, folder):
    result = _verify(run, folder)
    assert result.code == 0, (result.out, result.err)
    assert "The run holds: 4 of 4 inputs drawn again (880 draws), 24 radii of certificates.parquet" in result.out
    assert (
        "4 of 4 inputs of digits (split test, skip 1, max 4), sigma 0.5, seed derived from 'a public te" in result.out
    )
    assert result.out.count("Each certificate is wrong with probability at most 0.05") == 3
    assert "Chance that forged inputs escape this redraw: 1 (10%) 0." in result.out
    summary = json.loads(_verify(run, folder, "--sample", 2, "--json").out)
    assert summary["escape"] == {"1": pytest.approx(0.5)}


@pytest.mark.parametrize("name", VOTES)
def test_votes(run, folder, name):
    change, words = VOTES[name]
    edit_shard(folder, change)
    certify_again(folder)
    result = _verify(run, folder)
    assert result.code == 1, (result.out, result.err)
    assert words in result.out


def test_rows_added_to_manifest_and_shard(run, folder):
    edit_manifest(folder, _draws(dataset__inputs=6))
    edit_shard(folder, lambda rows: rows.extend({**rows[0], "index": index} for index in (98, 99)))
    certify_again(folder)
    result = _verify(run, folder)
    assert result.code == 1, (result.out, result.err)
    assert "inputs 98, 99 are stored, but the data set has no such input" in result.out
    assert "number of inputs in the manifest: stored 6, here 4" in result.out


def test_rivals_in_another_order_are_no_run(run, folder):
    edit_shard(folder, lambda rows: swap(rows[0]["soft_rivals"], 0, 1))
    result = _verify(run, folder)
    assert (result.code, result.out) == (2, "")
    assert "soft votes that agree with its draws" in result.err


def test_a_row_added_twice_with_other_soft_votes_is_no_run(run, folder):
    def forge(rows):
        rows[1] = json.loads(json.dumps(rows[0]))
        _all_in_the_last_bin(rows[1])

    edit_shard(folder, forge)
    result = _verify(run, folder)
    assert (result.code, result.out) == (2, "")
    assert "drawn twice with different votes" in result.err


# --- what the manifest says ----------------------------------------------------------------------------------------


def _draws(**changes):
    def forge(tree):
        for name, value in changes.items():
            *path, last = name.split("__")
            part = tree["draws"]
            for key in path:
                part = part[key]
            part[last] = value

    return forge


MANIFEST = {
    "input shape": (_draws(dataset__input_shape=[1, 2, 2]), 1, "shape of an input"),
    "more inputs": (_draws(dataset__inputs=5), 1, "number of inputs in the manifest"),
    "another part of the data": (_draws(dataset__subset={"split": "test", "skip": 2, "max": 4}), 1, "content of the"),
    "number of classes": (_draws(num_classes=11), 2, "must have 11 values"),
    "sigma": (_draws(sigma=0.75), 1, "votes stored"),
    "more draws": (_draws(num_estimation=10_000), 2, "10000 estimation votes"),
    "total variation": (_draws(noise__total_variation=0.0), 1, "noise: stored"),
    "levels of the noise": (_draws(noise__levels=255), 1, "noise: stored"),
    "another model": (_draws(model__sha256="0" * 64), 1, "sha256 of the model"),
    "another accurate model": (_draws(accurate__sha256="0" * 64), 1, "sha256 of the accurate model"),
    "a public text that the seed is not of": (_draws(seed_text="another text"), 1, "seed derived from the draws"),
    "other answers of the model": (lambda tree: tree.update(probe=[[0.0] * 10]), 1, "the model answers otherwise"),
}


@pytest.mark.parametrize("name", MANIFEST)
def test_the_manifest(run, folder, name):
    change, code, words = MANIFEST[name]
    edit_manifest(folder, change)
    if code == 1:
        certify_again(folder)
    result = _verify(run, folder)
    assert result.code == code, (result.out, result.err)
    assert words in result.out + result.err


def test_classes_added_to_manifest_and_votes(run, folder):
    def widen(row):
        for name in ("selection_counts", "estimation_counts"):
            row[name].append(0)
        row["accurate_probabilities"].append(0.0)

    edit_manifest(folder, _draws(num_classes=11, votes="hard"))
    (path,) = (folder / "shards").glob("*.parquet")
    table = pq.read_table(path).drop(["soft_prediction", "soft_rivals", "soft_histograms"])
    pq.write_table(table, path)
    edit_shard(folder, _each(widen))
    for derived in folder.glob("certificates*"):
        derived.unlink()
    result = _verify(run, folder)
    assert result.code == 1, (result.out, result.err)
    assert "number of classes in the manifest: stored 11, here 10" in result.out


def test_a_seed_that_was_chosen_is_not_called_derived(run, model, tmp_path):
    h = certmix.load_model(str(model))
    data = certmix.load_dataset("digits", max=2)
    certmix.sample(h, data, sigma=0.5, num_selection=5, num_estimation=50, seed=7, out=tmp_path / "run")
    assert _verify(run, tmp_path / "run").code == 0
    edit_manifest(tmp_path / "run", _draws(seed_source="derived", seed_text="a public text"))
    result = _verify(run, tmp_path / "run")
    assert result.code == 1
    assert "seed derived from the draws" in result.out


def test_the_command_line_derives_a_seed_that_verifies(run, model, tmp_path):
    draws = ("--sigma", 0.5, "--N0", 5, "--N", 50, "--max", 2, "--seed-from", "beacon 2026-11-25")
    assert run("sample", "--robust", model, "--dataset", "digits", *draws, "--out", tmp_path / "run", "-q").code == 0
    result = _verify(run, tmp_path / "run")
    assert result.code == 0, result.out
    assert "seed derived from 'beacon 2026-11-25'" in result.out


# --- what is derived -----------------------------------------------------------------------------------------------


def _head(**changes):
    return lambda tree: tree["certificates"][0]["promise"].update(changes)


def _larger(rows):
    for row in rows:
        row["radius"] *= 1.25


CERTIFICATES = {
    "labels": ({"rows": _each(lambda row: row.update(label=row["prediction"]))}, "labels of the certificates"),
    "indices": ({"rows": _each(lambda row: row.update(index=row["index"] + 1))}, "indices of the certificates"),
    "predictions": ({"rows": _each(lambda row: row.update(prediction=row["label"]))}, "certified class"),
    "radii": ({"rows": _larger}, "is above what the votes support"),
    "sigma and radii": ({"rows": _larger, "about": lambda tree: tree.update(sigma=0.625)}, "sigma of the certificates"),
    "failure probability": ({"about": _head(failure_probability=1e-4)}, "is above what the votes support"),
    "votes": ({"about": _head(votes="soft")}, "above what the votes support"),
    "off the grid": ({"about": _head(real_valued=True)}, "is above what the votes support"),
    "inputs left out": ({"rows": lambda rows: rows.__delitem__(slice(0, None, 4))}, "indices of the certificates"),
}


@pytest.mark.parametrize("name", CERTIFICATES)
def test_certificates(run, folder, name):
    edits, words = CERTIFICATES[name]
    edit_certificates(folder, **edits)
    rewrite_logs(folder)
    result = _verify(run, folder)
    assert result.code == 1, (result.out, result.err)
    assert words in result.out


def test_a_promise_that_an_early_stopped_run_cannot_keep(run, model, tmp_path):
    from certmix.certification.schedule import make_schedule

    h, data = certmix.load_model(str(model)), certmix.load_dataset("digits", max=2)
    schedule = make_schedule(400, sigma=0.5, failure_probability=0.05, target_radius=0.1)
    statistics = certmix.sample(
        h, data, sigma=0.5, num_selection=5, num_estimation=400, schedule=schedule, out=tmp_path / "run"
    )
    write_certificates(tmp_path / "run", [certmix.certify(statistics)])
    assert _verify(run, tmp_path / "run").code == 0
    edit_certificates(tmp_path / "run", about=_head(failure_probability=0.001))
    result = _verify(run, tmp_path / "run")
    assert result.code == 1
    assert "the run cannot keep the promise" in result.out


def test_confident_votes(run, model, tmp_path):
    h, data = certmix.load_model(str(model)), certmix.load_dataset("digits", max=2)
    draws = {"sigma": 0.5, "num_selection": 20, "num_estimation": 200, "seed": 3}
    for name, how, stated in (
        ("declared", {"confidence": 0.75}, {}),
        ("later", {"votes": "both"}, {"confidence": 0.75}),
    ):
        folder = tmp_path / name
        statistics = certmix.sample(h, data, **draws, **how, out=folder)
        made = certmix.certify(statistics, failure_probability=0.05, **stated)
        assert (made.promise.confidence, made.promise.votes) == (0.75, "confident")
        assert (made.radius > 0).any()
        write_certificates(folder, [made])
        result = _verify(run, folder)
        assert result.code == 0, (result.out, result.err)
        edit_certificates(folder, about=_head(confidence=0.984375))
        result = _verify(run, folder)
        assert result.code == 1, (result.out, result.err)

    def less_deferred(row):
        row["estimation_counts"][int(np.argmax(row["selection_counts"]))] += row["estimation_deferred"]
        row["estimation_deferred"] = 0

    folder = tmp_path / "declared"
    edit_shard(folder, _each(less_deferred))
    write_certificates(folder, [certmix.certify(certmix.read_statistics(folder), failure_probability=0.05)])
    result = _verify(run, folder)
    assert result.code == 1, (result.out, result.err)
    assert "estimation votes stored" in result.out


def _log_column(column, change):
    def forge(path):
        lines = [line.split("\t") for line in path.read_text().splitlines()]
        for line in lines[1:]:
            line[column] = change(line)
        path.write_text("\n".join("\t".join(line) for line in lines) + "\n")

    return forge


LOGS = {
    "radii": _log_column(3, lambda line: f"{float(line[3]) + 0.01:.6f}"),
    "predictions": _log_column(2, lambda line: line[1]),
    "labels": _log_column(1, lambda line: line[2]),
    "correct": _log_column(4, lambda line: "1"),
    "rows deleted": lambda path: path.write_text("\n".join(path.read_text().splitlines()[:3]) + "\n"),
    "rows added": lambda path: path.write_text(path.read_text() + "99\t1\t1\t0.9\t1\t0.0\n"),
    "a pipe in its place": lambda path: path.unlink() or __import__("os").mkfifo(path),
}


@pytest.mark.parametrize("name", LOGS)
def test_published_logs(run, folder, name):
    logs = sorted(folder.glob("*.tsv"))
    assert len(logs) == 6
    for path in logs:
        LOGS[name](path)
    result = _verify(run, folder)
    assert result.code == 1, (result.out, result.err)
    for path in logs:
        assert f"- {path.name}" in result.out


def test_a_log_that_no_certificate_stands_behind(run, folder):
    shutil.copy(next(folder.glob("*.tsv")), folder / "certificates-better.tsv")
    shutil.copy(next(folder.glob("*.tsv")), folder / "notes.tsv")
    result = _verify(run, folder)
    assert result.code == 1
    assert f"certificates-better.tsv is a log that {FILE} does not list" in result.out
    assert "notes.tsv was not checked" in result.err
    (folder / FILE).unlink()
    assert _verify(run, folder).out.count("does not list") == 7
