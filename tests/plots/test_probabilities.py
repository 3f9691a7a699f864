"""The distribution of p_A."""

from dataclasses import replace

import numpy as np
import pytest

from certmix.errors import InvalidArgument
from certmix.intervals import ABSTAIN
from certmix.plots.canvas import Look
from certmix.plots.probabilities import plot_top_probabilities, top_probability_panel
from tests.plots.made import assert_tidy, bounds


def test_shares_of_right_and_wrong_inputs():
    made = bounds(0.5, [0.9, 0.6, 0.6, 0.0, 0.7], wrong=1)
    prediction = made.prediction.copy()
    prediction[3] = ABSTAIN
    right, wrong = top_probability_panel([replace(made, prediction=prediction)]).curves
    np.testing.assert_array_equal(right.x, [0, 0.6, 0.9, 1])
    np.testing.assert_allclose(right.y, [0, 0.4, 0.6, 0.6])
    np.testing.assert_array_equal(wrong.x, [0, 0.7, 1])
    np.testing.assert_allclose(wrong.y, [0, 0.2, 0.2])


@pytest.mark.parametrize("width", ["column", "text"])
def test_layout(width, drawn, tmp_path):
    runs = [bounds(sigma, np.linspace(0.2, 0.99, 30), wrong=4) for sigma in (0.25, 0.5, 1.0)]
    plot_top_probabilities(runs, tmp_path / "f", look=Look(width))
    assert_tidy(drawn[0])


def test_bounds_without_labels_are_named(tmp_path):
    with pytest.raises(InvalidArgument, match="needs labels"):
        plot_top_probabilities([replace(bounds(0.5, [0.9]), labels=None)], tmp_path / "f")
