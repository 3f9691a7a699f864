"""`certmix adaptive train`, `calibrate`, `attack`, and certificates of their files."""

import json

import pytest
import typer

import certmix
from certmix.cli.adaptive.options import GATE_RANGE, STEPS_RANGE, Range, Share
from certmix.datasets.holdout import hold_out
from certmix.errors import InvalidArgument
from certmix.training import files
from certmix.training.train import accuracy, save_model, train


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Two base models trained without the held-out part, on disk."""
    out = tmp_path_factory.mktemp("mixing")
    rest, _ = hold_out(certmix.load_dataset("digits", split="train"), 0.25)
    for name, sigma in (("g", 0.0), ("h", 0.4)):
        model = train(rest, epochs=8, sigma=sigma)
        save_model(model, out / f"{name}.safetensors", architecture="digits-cnn", settings={"num_classes": 10})
    return out


def _specs(folder):
    return "--accurate", folder / "g.safetensors", "--robust", folder / "h.safetensors", "--dataset", "digits"


BUDGET = ("--attack-radius", 0.15, "--norm", "linf")


@pytest.fixture
def mixture(folder, run):
    out = folder / "mixture.safetensors"
    if not out.exists():
        result = run("adaptive", "train", *_specs(folder), *BUDGET, "--epochs", 2, "--out", out, "--json", "-q")
        assert result.code == 0, result.err
        (folder / "result.json").write_text(result.out)
    return out


def test_a_trained_mixture_is_a_model_like_any_other(folder, run, mixture):
    result = json.loads((folder / "result.json").read_text())
    model = certmix.load_mixture(mixture)
    _, held = hold_out(certmix.load_dataset("digits", split="train"), 0.25)
    assert accuracy(model, held) >= result["target"] - 1e-9
    assert accuracy(model, held) == pytest.approx(result["clean_accuracy"])
    assert (model.floor, model.ceiling) == (pytest.approx(0.6), 1.0)
    assert not mixture.with_name("mixture.safetensors.training").exists()
    again = run("adaptive", "train", *_specs(folder), *BUDGET, "--out", mixture)
    assert again.code == 2
    assert "must not exist, but does" in again.err


def test_calibration_meets_another_target_in_another_range(folder, run, mixture, tmp_path):
    out = tmp_path / "m.safetensors"
    g = accuracy(
        certmix.load_mixture(mixture).accurate, hold_out(certmix.load_dataset("digits", split="train"), 0.25)[1]
    )
    target = g - 0.02
    result = run(
        "adaptive", "calibrate", mixture, "--dataset", "digits", "--target", target, "--gate-range", "0.55,0.9",
        "--scale", 1, "--scale", 4, "--attack-radius", 0.1, "--out", out, "--json",
    )  # fmt: skip
    assert result.code == 0, result.err
    summary = json.loads(result.out)
    assert summary["clean_accuracy"] >= target
    assert summary["scale"] in (1.0, 4.0)
    assert certmix.load_mixture(out).floor == pytest.approx(0.55)
    result = run(
        "adaptive", "calibrate", mixture, "--dataset", "digits", "--target", 1.5, "--out", tmp_path / "x.safetensors"
    )
    assert result.code == 2
    assert "--target must be in [0, 1]" in result.err


def test_the_table_of_attacks_and_the_trade_off(run, mixture, tmp_path):
    result = run(
        "adaptive", "attack", mixture, "--dataset", "digits", *BUDGET, "--max", 60, "--steps", 5, "--strong-steps", 5,
        "--targets", "0.8,0.9", "--out", tmp_path / "trade-off", "--json", "-q",
    )  # fmt: skip
    assert result.code == 0, result.err
    summary = json.loads(result.out)
    assert list(summary["accuracy"])[-1] == "mixture"
    for row in summary["accuracy"].values():
        assert set(row) == {"clean", "A", "B", "C", "D"}
        assert row["D"] <= row["C"] <= row["clean"]
    assert summary["accuracy"]["g (accurate)"]["A"] == summary["accuracy"]["g (accurate)"]["B"]
    assert len(summary["trade_off"]["curves"]["mixture"]) >= 1
    oracle = summary["trade_off"]["oracle"]
    assert oracle["clean"] >= max(base["clean"] for base in summary["trade_off"]["bases"].values())
    assert {path.rsplit(".", 1)[1] for path in summary["trade_off"]["files"]} == {"png", "pdf", "csv"}
    few = ("--skip", 3, "--max", 20, "--settings", "A", "--steps", 2)
    table = run("adaptive", "attack", mixture, "--dataset", "digits", *BUDGET, *few, "--sharpened")
    assert "fixed weight 0." in table.out
    assert "MixedNUTS, weight 0." in table.out
    assert "of 20 inputs of digits" in table.err
    assert "attacking: mixture, 20 of 20 inputs, took" in table.err
    assert "attacks give upper bounds" in table.err
    bad = run("adaptive", "attack", mixture, "--dataset", "digits", *BUDGET, "--settings", "AX")
    assert bad.code == 2
    assert "--settings must be some of the letters A, B, C and D, got 'AX'" in bad.err


def test_an_adaptive_mixture_is_certified_at_its_floor(folder, run, mixture, tmp_path):
    out = tmp_path / "run"
    how = (*_specs(folder), "--mixture", mixture, "--sigma", 0.4, "--out", out, "--max", 12, "--N", 400, "-q")
    first = run("certify", *how, "--json")
    assert first.code == 0, first.err
    summary = json.loads(first.out)
    assert summary["adaptive"][0]["floor"] == pytest.approx(0.6)
    assert [row["rule"] for row in summary["certified_accuracy"]] == ["weight 0.6"]
    assert 0 <= summary["adaptive"][0]["clean_accuracy"] <= 1
    again = run("certify", out, "--mixing-weight", 1)
    assert again.code == 0, again.err
    assert "radii are certified at the floor, weight 0.6, and hold for a(x)" in again.err
    assert "weight 1" in again.out
    frontier = run("pareto", out, "--adaptive", "--target", 0.5, "--json", "-q")
    assert frontier.code == 0, frontier.err
    assert {pair["kind"] for pair in json.loads(frontier.out)["matched"]} == {"fixed", "adaptive"}
    assert run("verify", out, "--sample", 2, "-q").code == 0


def test_mixtures_that_do_not_fit_are_one_line(folder, run, mixture, model, tmp_path):
    low = tmp_path / "low.safetensors"
    how = ("--dataset", "digits", "--target", 0.5, "--gate-range", "0.2,1", "--out", low)
    assert run("adaptive", "calibrate", mixture, *how).code == 0
    start = ("certify", *_specs(folder), "--sigma", 0.4, "--out", tmp_path / "run", "--max", 2, "--N", 100, "-q")
    other = list(start)
    other[other.index(folder / "h.safetensors")] = model
    assert run(*start, "--out", tmp_path / "plain").code == 0
    for arguments, message in [
        ((*start, "--mixture", low), "a_min of an adaptive mixture must be > 0.5 to certify anything, got 0.2"),
        (
            (*start, "--mixture", folder / "g.safetensors"),
            "must be a file of certmix adaptive train, got one of digits-cnn",
        ),
        ((*other, "--mixture", mixture), "--robust must be the robust model that"),
        (("certify", "somewhere", "--mixture", mixture), "certify RUN does not take --mixture"),
        (
            ("adaptive", "train", *_specs(folder), *BUDGET, "--out", tmp_path / "x", "--setting", "D"),
            "--setting must be one of A, B, C, got 'D'",
        ),
        (
            ("adaptive", "train", *_specs(folder), *BUDGET, "--out", tmp_path / "x", "--loss-weights", "1,2"),
            "--loss-weights must be three numbers between commas, got '1,2'",
        ),
        (
            ("adaptive", "train", *_specs(folder), *BUDGET, "--out", tmp_path / "x", "--attack-steps", "3,1"),
            "--attack-steps must be MIN,MAX with 1 <= MIN <= MAX, got '3,1'",
        ),
        (
            ("adaptive", "train", *_specs(folder), *BUDGET, "--out", tmp_path / "x", "--holdout", 2),
            "--holdout must be in (0, 1), got '2'",
        ),
        (
            ("pareto", tmp_path / "plain", "--adaptive", "--target", 0.1),
            "--adaptive needs a run with an adaptive mixture",
        ),
    ]:
        result = run(*arguments)
        assert result.code == 2
        assert message in result.err
        assert result.err.count("\n") == 1
        assert not (tmp_path / "run").exists()  # refused before a single draw


def test_a_base_model_that_may_have_seen_the_held_out_inputs_is_pointed_out(folder, run, tmp_path):
    _, _, _, h, *rest = _specs(folder)
    how = ("train", "--dataset", "digits", "--epochs", 1, "-q", "--out")
    assert run(*how, tmp_path / "all.safetensors").code == 0
    assert run(*how, tmp_path / "part.safetensors", "--holdout", 0.25).code == 0
    assert run(*how, tmp_path / "judged.safetensors", "--validation", 0.25).code == 0
    judged = ("--validation", 0.25)
    for name, held_out, warned in (
        ("all", (), True),
        ("part", (), False),
        ("judged", judged, False),
        ("all", judged, True),
    ):
        result = run(
            "adaptive", "train", "--accurate", tmp_path / f"{name}.safetensors", "--robust", h, *rest, *BUDGET, "--epochs", 1,
            "--target", 0.05, "--out", tmp_path / f"{name}-mixture.safetensors", *held_out, "--force", "--max", 100,
            "--width", 4, "--attack-steps", "1,2", "--averaging", 0.5,
        )  # fmt: skip
        assert result.code == 0, result.err
        assert ("the calibrated clean accuracy is optimistic" in result.err) == warned
        assert "training: epoch 1/1, loss" in result.err


def test_holding_out_is_fixed_and_disjoint():
    data = certmix.load_dataset("digits", split="train")
    rest, held = hold_out(data, 0.25)
    assert sorted([*rest.indices, *held.indices]) == sorted(data.indices)
    assert (hold_out(data, 0.25)[1].indices == held.indices).all()
    assert rest.subset["part"] == "rest"
    with pytest.raises(InvalidArgument, match="two inputs or more, got 1"):
        hold_out(certmix.load_dataset("digits", max=1), 0.5)


def test_validation_names_the_part_that_train_kept(run, tmp_path, monkeypatch):
    kept = []

    def recorded(dataset, share, seed):
        kept.append(hold_out(dataset, share, seed=seed))
        return kept[-1]

    monkeypatch.setattr(files, "hold_out", recorded)
    made = run("train", "--dataset", "digits", "--epochs", 1, "--validation", 0.1, "--out", tmp_path / "g.safetensors")
    assert made.code == 0, made.err
    rest, held = Share(validation=0.1).split(certmix.load_dataset("digits", split="train"))
    assert (rest.indices.tolist(), held.indices.tolist()) == tuple(part.indices.tolist() for part in kept[0])


def test_ranges_are_two_numbers_that_rise():
    assert GATE_RANGE("0.6,1") == Range(0.6, 1.0)
    assert STEPS_RANGE("3,3") == Range(3, 3)
    for parser, texts in (
        (GATE_RANGE, ("0.7,0.7", "1,0.6", "0.5", "0.1,0.2,0.3")),
        (STEPS_RANGE, ("5,2", "0,2", "", "1.5,2")),
    ):
        for text in texts:
            with pytest.raises(typer.BadParameter):
                parser(text)
