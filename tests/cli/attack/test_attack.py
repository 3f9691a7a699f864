"""The commands that attack, as a user types them."""

import json
from dataclasses import replace

import pytest

from certmix.attacks.judge import worst_stakes
from certmix.cli.run_models import Places, load_run
from certmix.models import make_architecture
from certmix.training.train import save_model


@pytest.fixture
def drawn(run, models, tmp_path):
    result = run("certify", "--robust", models[1], "--accurate", models[0], "--dataset", "digits", "--sigma", 0.4,
                 "--max", 6, "--N", 500, "--N0", 50, "--seed", 1, "--out", tmp_path / "run", "--quiet")  # fmt: skip
    assert result.code == 0, result.err
    return tmp_path / "run"


def test_attack_over_weights(run, where, tmp_path):
    options = ("--attack-radius", 0.1, "--mixing-weight", 0.3, "--mixing-weight", 0.9, "--out", tmp_path / "attack")
    result = run("attack", "mixture", *where, *options, "--json")
    assert result.code == 0, result.err
    summary = json.loads(result.out)
    assert summary["mixing_weight"] == [0.3, 0.9]
    assert set(summary["accuracy"]) == {"clean", "std", "rob", "mix", "worst"}
    assert all(worst <= mix for worst, mix in zip(*(summary["accuracy"][k] for k in ("worst", "mix")), strict=True))
    for ending in ("png", "pdf", "csv"):
        assert (tmp_path / f"attack.{ending}").stat().st_size > 0
    assert (tmp_path / "attack.csv").read_text().startswith("panel,curve,mixing_weight,accuracy,lower,upper\n")
    table = run("attack", "mixture", *where, *options[:6], "--sigma", 0.4, "--gradient-draws", 4, "--attack", "mix")
    assert table.out.splitlines()[0].split() == ["|", "mixing", "weight", "|", "clean", "|", "mix", "|", "worst", "|"]


def test_bracket(run, drawn, tmp_path):
    result = run("attack", "bracket", drawn, "--mixing-weight", 0.9, "--threshold", 0.5, "--radii", "0,0.2,2", "--steps", 3,
                 "--judging-draws", 100, "--certifier", "exact", "--certifier", "theorem-3.5", "--json")  # fmt: skip
    assert result.code == 0, result.err
    rows = json.loads(result.out)["brackets"]
    assert [row["rule"] for row in rows] == ["weight 0.9", "threshold 0.5"]
    for row in rows:
        assert row["radii"] == [0.0, 0.2, 2.0]
        assert row["attacked"] == sorted(row["attacked"], reverse=True)
        assert all(low <= high for low, high in zip(row["exact"], row["attacked"], strict=True))
        assert all(low <= high for low, high in zip(row["theorem-3.5"], row["exact"], strict=True))
    assert (drawn / "bracket.png").stat().st_size > 0


def test_at_most_so_many_inputs_are_spread_over_the_run(drawn):
    loaded = load_run(drawn, Places())
    assert loaded.some(None).tolist() == list(range(6))
    assert loaded.some(3).tolist() == [0, 2, 5]


def test_attack_certificates(run, drawn, monkeypatch):
    arguments = ("attack", "certificates", drawn, "--restarts", 1, "--steps", 3, "--judging-draws", 200, "--quiet")
    summary = json.loads(run(*arguments, "--mixing-weight", 1, "--json").out)
    assert summary["attacked"] > 0
    assert (summary["broken"], summary["broken_indices"]) == (0, [])
    assert summary["smallest_lead"] > 0
    assert "of 3 inputs attacked" in run(*arguments, "--max", 3, "--batch-size", 2).out
    both = json.loads(run(*arguments, "--mixing-weight", 1, "--threshold", 0.6, "--json").out)
    assert both["attacked"] > json.loads(run(*arguments, "--threshold", 0.6, "--json").out)["attacked"] > 0
    assert both["broken"] == 0
    from certmix.attacks import certificates

    # As if more had been promised: an accurate model that takes more than the certificate grants it.
    def greedy(rules):
        found = worst_stakes(rules)
        return replace(found, accurate_lead=found.accurate_lead - 1.0, mixing_weight=0.5 * found.mixing_weight)

    monkeypatch.setattr(certificates, "worst_stakes", greedy)
    for rule in (("--mixing-weight", 1), ("--threshold", 0.6)):
        shouted = run(*arguments, *rule)
        assert shouted.code == 1
        assert "ERROR" in shouted.err
        assert "CERTIFICATES BROKEN" in shouted.err


def test_runs_without_hard_votes_and_thresholds_out_of_range_are_refused(run, models, tmp_path):
    result = run("certify", "--robust", models[1], "--dataset", "digits", "--sigma", 0.4, "--max", 2, "--N", 300, "--N0", 50,
                 "--votes", "soft", "--out", tmp_path / "soft", "--quiet")  # fmt: skip
    assert result.code == 0, result.err
    for command in ("bracket", "certificates"):
        refused = run("attack", command, tmp_path / "soft", "--threshold", 0.5, "--quiet")
        assert (refused.code, refused.out) == (2, "")
        assert "RUN must hold hard votes, which attacks are judged by, got soft ones" in refused.err
        assert "--threshold must be" in run("attack", command, tmp_path / "soft", "--threshold", 1).err


def test_adversarial_training(run, tmp_path):
    out = tmp_path / "adversarial.safetensors"
    arguments = ("train", "--dataset", "digits", "--out", out, "--epochs", 1, "--attack-radius", 0.1, "--json")
    summary = json.loads(run(*arguments, "--attack-steps", 1, "--quiet").out)
    assert (summary["attack_radius"], summary["norm"], summary["attack_steps"]) == (0.1, "linf", 1)


@pytest.mark.parametrize(
    "change, message",
    [
        (("--attack", "fgsm"), "--attack must be one of std, rob, mix, auto, got 'fgsm'"),
        (("--norm", "l4"), "--norm must be one of linf, l2, l1, got 'l4'"),
        (("--attack-radius", -1), "--attack-radius must be >= 0, finite, got '-1'"),
        (("--loss", "cw"), "--loss must be one of cross-entropy, margin, dlr, got 'cw'"),
        (("--mixing-weight", 7), "--mixing-weight must be in [0, 1], got '7'"),
        (("--sigma", 0), "--sigma must be in (0, 100], got '0'"),
        (("--restarts", 0), "--restarts must be a whole number from 1"),
        (("--batch-size", 0), "--batch must be a whole number from 1"),
        (("--device", "cuda:99"), "needs a GPU that torch can use"),
        (("--accurate-vote", "hard"), "--accurate-vote must be one of class, softmax, got 'hard'"),
    ],
)
def test_bad_input_is_one_line(run, where, change, message):
    result = run("attack", "mixture", *where, "--attack-radius", 0.1, *change)
    assert (result.code, result.out) == (2, "")
    assert message in result.err
    assert result.err.count("\n") == 1


@pytest.mark.parametrize("command", ["bracket", "certificates"])
@pytest.mark.parametrize("option", ["--restarts", "--steps", "--max", "--judging-draws", "--gradient-draws"])
def test_numbers_that_would_void_the_answer_are_refused(run, command, option):
    result = run("attack", command, "somewhere", option, 0, "--quiet")
    assert (result.code, result.out) == (2, "")
    assert f"{option} must be a whole number from 1" in result.err


def test_another_model_or_data_set_than_the_runs_is_refused(run, drawn, tmp_path):
    other = tmp_path / "other.safetensors"
    save_model(make_architecture("digits-cnn"), other, architecture="digits-cnn", settings={"num_classes": 10})
    for command in ("bracket", "certificates"):
        result = run("attack", command, drawn, "--robust", other, "--quiet")
        assert result.code == 2
        assert "--robust must be the model" in result.err
    result = run("train", "--dataset", "digits", "--out", other, "--force", "--sigma", 1, "--attack-radius", 1)
    assert "adversarial training needs --sigma 0, got 1" in result.err
    shared = run("attack", "certificates", drawn, "--share-of-radius", 1, "--quiet")
    assert "--share-of-radius must be in (0, 1), got '1'" in shared.err
