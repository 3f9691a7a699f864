"""`certmix chain` as a user types it, its certificates verified, and the chain that predicts."""

import csv
import json

import pytest

from tests.verification.forging import edit_certificates


@pytest.fixture(scope="module")
def runs(model, tmp_path_factory):
    """Runs at two sigmas over the same eight digits."""
    import certmix

    folder, h = tmp_path_factory.mktemp("chain"), certmix.load_model(str(model))
    data = certmix.load_dataset("digits", max=8)
    for sigma in (0.5, 0.25):
        certmix.sample(
            h, data, accurate=h, sigma=sigma, num_estimation=200, num_selection=20, seed=1, votes="both",
            out=folder / f"run-{sigma}",
        )  # fmt: skip
    return folder / "run-0.5", folder / "run-0.25"


THRESHOLDS = ("--threshold", 0.1, "--threshold", 0.05)


def test_a_chain_at_given_and_at_chosen_thresholds(run, runs, tmp_path):
    out = tmp_path / "chained"
    given = run("chain", *runs, *THRESHOLDS, "--json", "--radii", "0,0.1", "--out", out, "--certifier", "exact")
    assert given.code == 0, given.err
    (chain,) = json.loads(given.out)["chains"]
    assert (chain["sigmas"], chain["thresholds"], chain["inputs"]) == ([0.5, 0.25], [0.1, 0.05], 8)  # as typed
    lines = (out / "certificates.tsv").read_text().splitlines()
    assert lines[0] == "idx\tlabel\tpredict\tradius\tcorrect\ttime"
    assert len(lines) == 9
    chosen = run("chain", *runs, "--target", 0.0, "--choose-on", 0.5, "--confidence", 0.75, "--confidence", 0.875)
    assert chosen.code == 0, chosen.err
    assert "4 inputs reported" in chosen.err
    assert "shared equally by the nodes" in chosen.err
    assert "chain (sigma 0.5: " in chosen.out


def test_its_curve_is_drawn_beside_its_runs_on_the_inputs_it_was_reported_on(run, runs, tmp_path):
    choosing = ("--target", 0.0, "--choose-on", 0.5)
    assert run("chain", *runs, *choosing, "--out", tmp_path / "half", "-q").code == 0
    plot = ("plot", *runs, "--certify-votes", "hard", "--certificates", tmp_path / "half")
    drawn = run(*plot, "--out", tmp_path / "figure")
    assert drawn.code == 0, drawn.err
    assert "half: as stored; certmix verify checks it." in drawn.err
    with (tmp_path / "figure.csv").open() as handle:
        rows = list(csv.DictReader(handle))
    assert {row["panel"] for row in rows} == {"4 inputs, Exact"}
    first, second, chain = dict.fromkeys(row["curve"] for row in rows)
    assert (first, second) == ("sigma = 0.25, Exact, weight 1", "sigma = 0.5, Exact, weight 1")
    assert chain.startswith("chain (sigma 0.5: ")
    assert run("chain", *runs, *THRESHOLDS, "--out", tmp_path / "all", "-q").code == 0
    for options, message in (
        (("--certificates", tmp_path / "all"), "--certificates must be of the same inputs"),
        (("--show", "probabilities"), "--certificates goes with --show accuracy"),
    ):
        refused = run(*plot, *options, "--out", tmp_path / "none")
        assert (refused.code, refused.out) == (2, "")
        assert message in refused.err
    assert not list(tmp_path.glob("none*"))


def test_its_certificates_are_verified_and_a_raised_radius_is_caught(run, runs, tmp_path):
    out = tmp_path / "chained"
    certified = run(
        "chain", *runs, *THRESHOLDS, "--certifier", "exact", "--certifier", "theorem-3.5", "--out", out, "-q"
    )
    assert certified.code == 0, certified.err
    held = run("verify", *runs, "--certificates", out, "--sample", 2, "-q")
    assert held.code == 0, held.out
    assert "The chain holds: 2 of 8 inputs drawn again (880 draws), 16 radii of certificates.parquet" in held.out
    asked = run("verify", *runs, *THRESHOLDS, "--sample", 1, "-q")
    assert asked.code == 0, asked.out
    assert "8 radii recomputed" in asked.out
    other = run("verify", *reversed(runs), "--certificates", out, "--sample", 1, "-q")
    assert other.code == 1
    assert "sigmas of the chain, against the runs: stored (0.5, 0.25), here (0.25, 0.5)" in other.out

    def raise_one(rows):
        row = next(row for row in rows if row["radius"] > 0)
        row["radius"] += 1e-3

    edit_certificates(out, rows=raise_one)
    forged = run("verify", *runs, "--certificates", out, "--sample", 1, "-q")
    assert forged.code == 1
    assert "is above what the votes support" in forged.out


def test_certificates_of_chosen_thresholds_are_of_the_inputs_reported(run, runs, tmp_path):
    out = tmp_path / "chained"
    choosing = ("--target", 0, "--choose-on", 0.5, "--confidence", 0.75, "--objective", "0.01")
    assert run("chain", *runs, *choosing, "--out", out, "-q").code == 0
    held = run("verify", *runs, "--certificates", out, "--sample", 1, "--json")
    assert held.code == 0, held.out
    assert json.loads(held.out)["certificates_checked"] == 4


def test_a_chain_predicts(run, runs, tmp_path):
    out = tmp_path / "answers.tsv"
    made = run("predict", *runs, *THRESHOLDS, "--dataset", "digits", "--max", 3, "--N", 200, "--out", out, "--json")
    assert made.code == 0, made.err
    assert json.loads(made.out)["inputs"] == 3
    assert len(out.read_text().splitlines()) == 4
    one = run("predict", runs[0], "--threshold", 0.4, "--dataset", "digits", "--max", 2, "--N", 100)
    assert one.code == 0, one.err
    for options, message in (
        (("--threshold", 0.4), "a chain of 2 runs needs as many thresholds, got 1"),
        ((*THRESHOLDS, "--mixing-weight", 0.8), "predict RUN RUN does not take --mixing-weight"),
        ((*THRESHOLDS, "--sigma", 0.5), "predict RUN does not take --sigma"),
    ):
        refused = run("predict", *runs, "--dataset", "digits", *options)
        assert (refused.code, refused.out) == (2, "")
        assert message in refused.err


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
        ((*THRESHOLDS, "--out", runs[0] / "inside"), "--out must not be in another run's folder"),
    ):
        result = run("chain", *runs, *options)
        assert result.code != 0
        assert message in result.err, result.err
    for options, message in (
        ((), "2 runs of other draws (sigma 0.5, 0.25) are a chain: give --certificates FOLDER or 2 --threshold, got 0"),
        ((*THRESHOLDS, "--real-valued"), "verify of a chain does not take --real-valued"),
    ):
        result = run("verify", *runs, *options)
        assert (result.code, result.out) == (2, "")
        assert message in result.err, result.err
