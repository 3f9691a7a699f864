"""`certmix leaderboard` with models at hand: forged votes are drawn again and refused, honest ones are verified."""

import json
import shutil

import pytest

from tests.verification.forging import certify_again, edit_shard


@pytest.fixture(scope="module")
def submissions(model, tmp_path_factory):
    """An honest run, one of forged votes with certificates to match, and one whose model is gone."""
    import certmix
    from certmix.formats.certificates import write_certificates

    folder = tmp_path_factory.mktemp("runs")
    gone = folder / "gone.safetensors"
    shutil.copy(model, gone)
    data = certmix.load_dataset("digits", max=3)
    for name, path in (("honest", model), ("forged", model), ("elsewhere", gone)):
        options = {"sigma": 0.5, "num_selection": 10, "num_estimation": 100, "seed": 5, "out": folder / name}
        statistics = certmix.sample(certmix.load_model(str(path)), data, **options)
        write_certificates(folder / name, [certmix.certify(statistics, failure_probability=0.5)])
    gone.unlink()
    edit_shard(folder / "forged", lambda rows: [row.update(estimation_counts=[100, *[0] * 9]) for row in rows])
    certify_again(folder / "forged")
    return folder


def test_of_three_runs_the_forged_one_is_refused_and_the_honest_one_verified(run, submissions, tmp_path):
    page = tmp_path / "page.html"
    result = run("leaderboard", submissions, "--redraw", 3, "--out", page, "--json")
    assert result.code == 1, result.err
    found = {entry["run"]: entry for entry in json.loads(result.out)["runs"]}
    assert {name: entry["mark"] for name, entry in found.items()} == {
        "honest": "verified",
        "forged": "refused",
        "elsewhere": "recomputed",
    }
    assert "estimation votes stored" in found["forged"]["differences"][0]
    assert found["elsewhere"]["remarks"][0].startswith("not drawn again: ")
    text = page.read_text()
    assert "drawn again</dt><dd>3 of 3 inputs" in text
    assert "none: the votes are taken on trust" in text


def test_without_redrawing_nothing_is_called_verified(run, submissions, tmp_path):
    result = run("leaderboard", submissions, "--out", tmp_path / "page.html", "--json")
    assert result.code == 0
    assert {entry["mark"] for entry in json.loads(result.out)["runs"]} == {"recomputed"}


def test_a_page_that_is_there_and_folders_without_runs_are_refused_first(run, submissions, tmp_path):
    page = tmp_path / "page.html"
    page.write_text("mine")
    result = run("leaderboard", submissions, "--out", page)
    assert result.code == 2
    assert "must not exist" in result.err
    assert page.read_text() == "mine"
    assert "DIR must be a run folder or hold some" in run("leaderboard", tmp_path, "--out", tmp_path / "b.html").err
