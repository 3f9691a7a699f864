"""Figures of attacks: intervals, and the bracket's sides."""

import csv

import numpy as np
import pytest

from certmix.curves import accuracy_interval
from certmix.plots.attacks import plot_attacks
from certmix.plots.bracket import Bracket, bracket_panel, plot_brackets
from certmix.plots.canvas import Look
from certmix.plots.trade_off import plot_trade_off
from certmix.plots.weight_range import plot_weight_range
from tests.plots.made import assert_tidy, certificates, line_named

WIDTHS = pytest.mark.parametrize("width", ["column", "text"])
LONG = "PGD on the accurate model, transferred"


def _rows(path):
    with open(path) as handle:
        return list(csv.DictReader(handle))


@WIDTHS
def test_attacks_with_their_intervals(width, drawn, tmp_path):
    accuracies = {"no attack": [0.9, 0.8], LONG: [0.1, 0.5], "PGD on the mixture": [0.1, 0.4]}
    files = plot_attacks([0.0, 1.0], accuracies, tmp_path / "f", inputs=50, title="linf", look=Look(width))
    assert_tidy(drawn[0])
    for row in _rows(files[2]):
        low, high = accuracy_interval(50 * float(row["accuracy"]), 50)
        assert (float(row["lower"]), float(row["upper"])) == pytest.approx((float(low), float(high)))


def test_a_bracket_compares_the_inputs_that_were_attacked():
    how = {"top": (0.6, 0.9, 0.99, 0.99), "wrong": 2, "weights": (0.9, 1.0)}
    made = [certificates(certifier=name, **how) for name in ("exact", "theorem-a1")]
    right = np.array([[True, True], [True, False]])
    panel = bracket_panel(Bracket([one.rows(np.array([0, 1])) for one in made], 1, [0.0, 0.5], right))
    assert panel.title == "sigma = 0.5, weight 1, 2 inputs"
    attacked, *certified = panel.curves
    assert (attacked.kind, list(np.asarray(attacked.y))) == ("rising", [1.0, 0.5])
    for curve in certified:
        assert curve.kind == "falling"
        assert np.asarray(curve.y)[0] == 1.0  # both attacked inputs are right; all four would give one half
    assert certified[0].dashes != certified[1].dashes


@WIDTHS
def test_layout_of_brackets(width, drawn, tmp_path):
    made = [certificates(weights=(0.9, 1.0))]
    right = np.ones((2, 5), dtype=bool)
    plot_brackets([Bracket(made, k, [0.0, 0.5], right) for k in (0, 1)], tmp_path / "f", look=Look(width))
    assert_tidy(drawn[0])


@WIDTHS
def test_a_trade_off_with_models_and_oracle(width, drawn, tmp_path):
    files = plot_trade_off(
        {"one": {"adaptive": [(0.9, 0.6), (0.95, 0.5)]}, "other": {"fixed weight": [(0.9, 0.5)]}},
        tmp_path / "f", inputs=20, models={"g": (0.97, 0.05), "h": (0.88, 0.6)}, oracle=(0.98, 0.65), look=Look(width),
    )  # fmt: skip
    assert_tidy(drawn[0])
    rows = _rows(files[2])
    assert [(r["panel"], r["curve"], r["clean_accuracy"], r["attacked_accuracy"]) for r in rows[:5]] == [
        ("one", "adaptive", "0.9", "0.6"), ("one", "adaptive", "0.95", "0.5"), ("one", "g", "0.97", "0.05"),
        ("one", "h", "0.88", "0.6"), ("one", "Oracle of Theorem 4.1", "0.98", "0.65"),
    ]  # fmt: skip
    oracle = [line for line in drawn[0].axes[0].get_lines() if line.get_label() == "Oracle of Theorem 4.1"]
    assert [list(line.get_xdata()) for line in oracle] == [[98.0, 98.0], [0, 1]]


@WIDTHS
def test_a_weight_range_with_shares_of_different_inputs(width, drawn, tmp_path):
    lines = {"clean": [0.9, 0.8], "certified": [0.0, 0.5]}
    inputs = {"clean": 10, "certified": 100}
    files = plot_weight_range([0.5, 0.9], lines, tmp_path / "f", inputs=inputs, dashed=["certified"], look=Look(width))
    assert_tidy(drawn[0])
    assert line_named(drawn[0].axes[0], "certified").get_linestyle() == "--"
    for row in _rows(files[2]):
        low, _ = accuracy_interval(inputs[row["curve"]] * float(row["accuracy"]), inputs[row["curve"]])
        assert float(row["lower"]) == pytest.approx(float(low))
