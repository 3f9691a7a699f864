"""The figure of all methods: each its colour, light or dark, and never methods over other inputs in one axis."""

from dataclasses import replace

import numpy as np
import pytest
from matplotlib.colors import to_rgb

from certmix.errors import InvalidArgument
from certmix.pareto import Method
from certmix.pareto.methods import CHAIN, EXACT, THEOREM_A1
from certmix.plots.canvas import INTERVAL, Look
from certmix.plots.methods import plot_methods
from tests.plots.made import assert_tidy, line_named

METHODS = [
    Method(name, "sigma 0.5", clean, np.linspace(0.0, reach, 40), np.arange(40) < 38, certifier)
    for name, clean, reach, certifier in (
        (THEOREM_A1, 0.951, 0.4, "theorem-a1"), (EXACT, 0.95, 0.9, "exact"), (CHAIN, 0.95, 1.2, "exact")
    )
]  # fmt: skip


def _light(colour):
    return sum(to_rgb(colour)) / 3


@pytest.mark.parametrize("dark", [False, True])
def test_every_method_is_seen_on_its_ground(dark, drawn, tmp_path):
    plot_methods(METHODS, tmp_path / "f", title="Digits", look=Look(dark=dark))
    (figure,) = drawn
    assert_tidy(figure)
    (axes,) = figure.axes
    assert axes.get_title() == "Digits\nclean 95.0 to 95.1 %, 40 inputs"
    ground = _light(axes.get_facecolor()[:3])
    colours = [line_named(axes, method.name).get_color() for method in METHODS]
    assert len(set(colours)) == 3
    assert all(abs(_light(colour) - ground) > 0.25 for colour in colours)
    assert [text.get_text() for text in figure.legends[0].get_texts()] == [*(one.name for one in METHODS), INTERVAL]


def test_methods_over_other_inputs_are_refused(tmp_path):
    other = replace(METHODS[0], radius=np.zeros(3), right=np.ones(3, dtype=bool))
    for methods in ([], [*METHODS, other]):
        with pytest.raises(InvalidArgument, match="one or more over the same inputs"):
            plot_methods(methods, tmp_path / "f")
