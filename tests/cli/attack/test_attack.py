"""The commands that attack, as a user types them."""

import json

import pytest

import certmix
from certmix.models import make_architecture
from certmix.training.train import save_model, train


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models")
    data = certmix.load_dataset("digits", split="train", max=500)
    for name, sigma in (("g", 0.0), ("h", 0.4)):
        save_model(train(data, sigma=sigma, epochs=5), folder / f"{name}.safetensors", architecture="digits-cnn",
                   settings={"num_classes": 10})  # fmt: skip
    return folder / "g.safetensors", folder / "h.safetensors"


@pytest.fixture(scope="module")
def where(models):
    return ("--accurate", models[0], "--robust", models[1], "--dataset", "digits", "--max", 12, "--steps", 3, "--quiet")


@pytest.fixture
def drawn(run, models, tmp_path):
    result = run("certify", "--robust", models[1], "--accurate", models[0], "--dataset", "digits", "--sigma", 0.4,
                 "--max", 6, "--N", 500, "--N0", 50, "--seed", 1, "--out", tmp_path / "run", "--quiet")  # fmt: skip
    assert result.code == 0, result.err
    return tmp_path / "run"


def test_attack_over_weights(run, where, tmp_path):
    options = ("--attack-radius", 0.1, "--mixing-weight", 0.3, "--mixing-weight", 0.9, "--out", tmp_path / "attack")
    result = run("attack", *where, *options, "--json")
    assert result.code == 0, result.err
    summary = json.loads(result.out)
    assert summary["mixing_weight"] == [0.3, 0.9]
    assert set(summary["accuracy"]) == {"clean", "std", "rob", "mix", "worst"}
    assert all(worst <= mix for worst, mix in zip(*(summary["accuracy"][k] for k in ("worst", "mix")), strict=True))
    for ending in ("png", "pdf", "csv"):
        assert (tmp_path / f"attack.{ending}").stat().st_size > 0
    assert (tmp_path / "attack.csv").read_text().startswith("panel,curve,mixing_weight,accuracy,lower,upper\n")
    table = run("attack", *where, *options[:6], "--sigma", 0.4, "--draws", 4, "--attack", "mix")
    assert table.out.splitlines()[0].split() == ["|", "mixing", "weight", "|", "clean", "|", "mix", "|", "worst", "|"]


def test_confidence(run, where):
    result = run("confidence", *where, "--attack-radius", 0.1, "--json")
    rows = json.loads(result.out)["rows"]
    assert [(row["model"], row["inputs"]) for row in rows] == [
        (model, data) for model in ("accurate", "robust") for data in ("clean", "pgd")
    ]
    assert all(0.5 <= row["weight_needed_by_half"] <= 1 for row in rows)
    assert run("confidence", *where, "--attack-radius", 0.1).out.count("| robust") == 2


def test_mixing_forms(run, where, tmp_path):
    result = run("mixing-forms", *where, "--attack-radius", 0.1, "--points", 3, "--out", tmp_path / "forms", "--json")
    assert result.code == 0, result.err
    forms = json.loads(result.out)["forms"]
    assert len({row["form"] for row in forms}) == 8
    assert [row["score"] for row in forms] == sorted((row["score"] for row in forms), reverse=True)
    assert (tmp_path / "forms.png").stat().st_size > 0


def test_bracket(run, drawn, tmp_path):
    result = run("bracket", drawn, "--mixing-weight", 0.9, "--mixing-weight", 1, "--radii", "0,0.2,2", "--steps", 3,
                 "--votes", 100, "--certifier", "exact", "--certifier", "theorem-a1", "--json")  # fmt: skip
    assert result.code == 0, result.err
    for row in json.loads(result.out)["brackets"]:
        assert row["radii"] == [0.0, 0.2, 2.0]
        assert row["attacked"] == sorted(row["attacked"], reverse=True)
        assert all(low <= high for low, high in zip(row["exact"], row["attacked"], strict=True))
        assert all(low <= high for low, high in zip(row["theorem-a1"], row["exact"], strict=True))
    assert (drawn / "bracket.png").stat().st_size > 0


def test_attack_certificates(run, drawn, monkeypatch):
    arguments = ("attack-certificates", drawn, "--restarts", 1, "--steps", 3, "--votes", 200, "--quiet")
    summary = json.loads(run(*arguments, "--mixing-weight", 1, "--json").out)
    assert summary["attacked"] > 0
    assert (summary["broken"], summary["broken_indices"]) == (0, [])
    assert "0 broken" in run(*arguments).out
    from certmix.attacks import certificates

    monkeypatch.setattr(certificates, "required_margin", lambda weight: [0.999])  # as if more had been promised
    shouted = run(*arguments, "--mixing-weight", 1)
    assert shouted.code == 1
    assert "ERROR" in shouted.err
    assert "CERTIFICATES BROKEN" in shouted.err


def test_adversarial_training(run, tmp_path):
    out = tmp_path / "adversarial.safetensors"
    arguments = ("train", "--dataset", "digits", "--out", out, "--epochs", 1, "--attack-radius", 0.1, "--json")
    summary = json.loads(run(*arguments, "--attack-steps", 1, "--quiet").out)
    assert (summary["attack_radius"], summary["norm"], summary["attack_steps"]) == (0.1, "linf", 1)


@pytest.mark.parametrize(
    "command, change, message",
    [
        ("attack", ("--attack", "fgsm"), "attack must be one of std, rob, mix, auto, got 'fgsm'."),
        ("attack", ("--norm", "l4"), "norm must be one of l2, linf, l1, got 'l4'"),
        ("attack", ("--attack-radius", -1), "attack_radius must be >= 0 and finite (pixel units), got -1.0."),
        ("attack", ("--loss", "cw"), "loss must be one of cross-entropy, margin, dlr, got 'cw'."),
        ("attack", ("--mixing-weight", 7), "mixing_weight must be in [0, 1]"),
        ("attack", ("--sigma", 0), "sigma must be > 0 and finite (pixel units), got 0.0."),
        ("confidence", ("--attack", "cw"), "attack must be pgd or auto, got 'cw'."),
        ("mixing-forms", ("--points", 1), "num_gammas must be >= 2, got 1."),
        ("mixing-forms", ("--norm", "l4"), "norm must be one of"),
    ],
)
def test_bad_input_is_one_line(run, where, command, change, message):
    result = run(command, *where, "--attack-radius", 0.1, *change)
    assert (result.code, result.out) == (2, "")
    assert message in result.err
    assert result.err.count("\n") == 1


def test_another_model_or_data_set_than_the_runs_is_refused(run, drawn, models, tmp_path):
    other = tmp_path / "other.safetensors"
    save_model(make_architecture("digits-cnn"), other, architecture="digits-cnn", settings={"num_classes": 10})
    for command in ("bracket", "attack-certificates"):
        result = run(command, drawn, "--robust", other, "--quiet")
        assert result.code == 2
        assert "--robust must be the model" in result.err
    result = run("train", "--dataset", "digits", "--out", other, "--force", "--sigma", 1, "--attack-radius", 1)
    assert "--attack-radius needs --sigma 0, got 1" in result.err
    assert (
        run("attack-certificates", drawn, "--share", 1, "--quiet").err.count("share_of_radius must be in (0, 1)") == 1
    )
