"""l1 on the command line: from training to a report, a run that verifies, forgeries that do not, and what is refused."""

import json
import shutil

import pyarrow.parquet as pq
import pytest

from certmix.promise import Promise
from tests.verification.forging import edit_certificates, edit_manifest, edit_shard

DRAW = ("--dataset", "digits", "--max", 5, "--noise", "splitting", "--lambda", 0.5)
RULES = ("--mixing-weight", 1, "--threshold", 0.5)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("splitting")


@pytest.fixture
def stored(run, folder):
    """A run of a network that was trained here with splitting noise."""
    if not (folder / "run").exists():
        h = folder / "h.safetensors"
        trained = run("train", "--dataset", "digits", "--lambda", 0.5, "--epochs", 6, "--out", h)
        assert trained.code == 0, trained.err
        assert "lambda 0.5" in trained.out
        sampled = run("sample", "--robust", h, "--accurate", h, *DRAW, "--out", folder / "run")
        assert sampled.code == 0, sampled.err
        assert "All values of the noise can certify l1 radii up to 0.499" in sampled.err
        assert "5 inputs drawn at Lambda 0.5" in sampled.out
    return folder / "run"


def test_a_run_is_certified_in_its_norm_and_others(run, stored):
    made = run("certify", stored, *RULES, "--radii", "0,0.25")
    assert made.code == 0, made.err
    assert "| Lambda | norm | certifier      | rule          |" in made.out
    assert "all 16 values of splitting noise, l1 radii" in made.err + made.out
    assert "failure probability 0" in made.err + made.out
    rows = {
        norm: json.loads(run("certify", stored, *RULES, "--radii", "0,0.003,0.25", "--norm", norm, "--json").out)
        for norm in ("l1", "linf")
    }
    own, cube = (rows[norm]["certified_accuracy"][0] for norm in rows)
    assert (own["norm"], cube["norm"]) == ("l1", "linf")
    assert own["certified_accuracy"][0] == cube["certified_accuracy"][0] > 0.3
    assert own["certified_accuracy"][2] > cube["certified_accuracy"][2] == 0.0
    assert rows["l1"]["runs"][0]["promise"] == Promise(0.0).to_json()
    about = json.loads(pq.read_table(stored / "certificates.parquet").schema.metadata[b"certmix"])
    assert [entry["norm"] for entry in about["certificates"]] == ["l1"]
    assert json.loads((stored / "result.json").read_text())["norm"] == "l1"


def test_a_leaderboard_has_a_table_for_each_norm(run, stored, folder, tmp_path):
    assert run("certify", stored, *RULES).code == 0
    draw = ("--robust", folder / "h.safetensors", "--dataset", "digits", "--max", 5, "--sigma", 0.2, "--N", 60)
    assert run("certify", *draw, "--out", tmp_path / "gaussian").code == 0
    made = run("leaderboard", stored, tmp_path / "gaussian", "--out", tmp_path / "board.html")
    assert made.code == 0, made.err
    page = (tmp_path / "board.html").read_text()
    assert (page.count("<table"), page.count("l1 radii"), page.count("l2 radii")) == (2, 1, 1)


def test_an_honest_run_verifies_and_forgeries_do_not(run, stored, tmp_path):
    run("certify", stored, *RULES)
    honest = run("verify", stored, "--sample", 5)
    assert honest.code == 0, honest.out
    assert "Lambda 0.5 (l1)" in honest.out

    def forged(name, change):
        copy = tmp_path / name
        shutil.copytree(stored, copy)
        change(copy)
        found = run("verify", copy, "--sample", 5)
        assert found.code != 0, name
        return found.out + found.err

    def move_a_vote(rows):
        counts = rows[3]["estimation_counts"]
        top = counts.index(max(counts))
        counts[top], counts[top - 1] = counts[top] - 1, counts[top - 1] + 1

    assert "1 differ" in forged("vote", lambda copy: edit_shard(copy, move_a_vote))

    def raise_a_radius(rows):
        best = max(rows, key=lambda row: row["radius"])
        best["radius"] += 1e-9

    assert "is above what the votes support" in forged("radius", lambda copy: edit_certificates(copy, raise_a_radius))

    def lower_a_radius(rows):
        best = max(rows, key=lambda row: row["radius"])
        best["radius"] -= 3 / 16

    assert "over two steps of the grid below" in forged("low", lambda copy: edit_certificates(copy, lower_a_radius))
    halved = forged("manifest", lambda copy: edit_manifest(copy, lambda tree: tree["draws"].update(num_estimation=8)))
    assert "has 16 values, all of which are evaluated" in halved


def test_figures_and_reports_state_the_norm(run, stored, tmp_path):
    assert run("plot", stored, *RULES, "--out", tmp_path / "figure").code == 0
    assert "Lambda = 0.5, Theorem 3.5, l1, threshold 0.5" in (tmp_path / "figure.csv").read_text()
    assert run("report", stored, "--out", tmp_path / "report.html").code == 0
    page = (tmp_path / "report.html").read_text()
    for said in ('"norm":"l1"', "Λ = 0.5", "certificates are about l1 balls", "--lambda", "all 16 values of the noise"):
        assert said.lower() in page.lower(), said


def test_a_sweep_takes_the_norm_of_its_runs(run, stored):
    made = run("pareto", stored, "--target", 0.2, "--rule", "linear", "--rule", "threshold", "--json")
    assert made.code == 0, made.err
    assert json.loads(made.out)["sweeps"][0]["certifier"] == "theorem-3.5-l1"


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("--N", 5), "--noise splitting does not take --N: all its values are evaluated"),
        (("--stop-at-radius", 0.1), "does not take --stop-at-radius"),
        (("--failure-probability", 0.1), "does not take --failure-probability"),
        (("--sigma", 0.5), "--lambda is for --noise splitting, and --sigma for any other, got both"),
        (("--certifier", "exact"), "certifier must be one for splitting noise"),
        (("--votes", "soft"), "--noise splitting takes --votes hard"),
        (("--real-valued",), "certifies inputs on the data's grid alone"),
        (("--interval", "cohen"), "failure_probability 0 is for"),
        (("--lambda", 0.51), "lambda of splitting noise must be a multiple of 1/32"),
        (("--noise", "auto", "--sigma", 0.5), "got both; leave one out"),
        (("--noise", "auto"), "without run folders, certify needs --sigma"),
    ],
)
def test_what_splitting_noise_leaves_no_choice_about_is_refused(run, model, tmp_path, words, why):
    result = run("certify", "--robust", model, *DRAW, *words, "--out", tmp_path / "run")
    assert result.code == 2
    assert why in result.err
    assert len(result.err.strip().splitlines()) == 1
    assert not (tmp_path / "run" / "shards").exists()


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (("chain", "RUN", "--threshold", 0.5), "the runs of a chain must be of Gaussian noise"),
        (("export", "RUN", "--counts", "OUT"), "a count table is of draws of Gaussian noise"),
        (("attack", "certificates", "RUN"), "attacks on certificates draw Gaussian noise"),
        (("certify", "RUN", "--certifier", "theorem-3.5"), "certifier must be one for splitting noise"),
        (("train", "--dataset", "digits", "--lambda", 0.5, "--sigma", 0.5, "--out", "OUT"), "takes no --sigma"),
        (
            ("train", "--dataset", "digits", "--method", "splitting", "--out", "OUT"),
            "--lambda is for --method splitting",
        ),
    ],
)
def test_what_has_no_meaning_in_l1_is_refused(run, stored, tmp_path, words, why):
    places = {"RUN": stored, "OUT": tmp_path / "out"}
    result = run(*(places.get(word, word) for word in words))
    assert result.code == 2
    assert why in result.err
