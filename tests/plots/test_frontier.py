"""The frontier's figure: the drawn line is the best of the pairs, nowhere less and nowhere more."""

import numpy as np
import pytest

from certmix.certification.certify import certified_at
from certmix.plots.canvas import CERTIFIED, RADIUS, Look, draw
from certmix.plots.frontier import frontier_panel, plot_frontiers
from tests.plots.made import assert_tidy, crossing_sweep, line_named


def _drawn_value(line, radii):
    """What a line drawn with steps-pre shows at some radii, in [0, 1]."""
    x, y = line.get_xydata().T
    return np.array([y[min(np.searchsorted(x, r), len(y) - 1)] / 100 for r in radii])


def test_the_drawn_frontier_is_the_maximum_over_the_pairs():
    result = crossing_sweep()
    radii = np.linspace(1e-6, 1.5, 400)
    shares = np.array(
        [
            [(certified_at(pair.certificates.radius[0], r) & (pair.certificates.prediction == 0)).mean() for r in radii]
            for pair in result.matched
        ]
    )
    assert (shares[0] > shares[1]).any(), "one sigma must win at some radii"
    assert (shares[0] < shares[1]).any(), "and the other at others"
    (axes,) = draw([frontier_panel(result)], x=RADIUS, y=CERTIFIED).axes
    frontier = line_named(axes, "Frontier")
    np.testing.assert_allclose(_drawn_value(frontier, radii), shares.max(axis=0))
    np.testing.assert_allclose(_drawn_value(frontier, result.radii[1:]), result.frontier[1:])


def test_with_a_split_the_drawn_frontier_is_the_curve_of_the_pair_that_was_chosen():
    result = crossing_sweep(split=0.5)
    assert len(set(result.frontier_pair.tolist())) == 2
    (axes,) = draw([frontier_panel(result)], x=RADIUS, y=CERTIFIED).axes
    frontier = line_named(axes, "Frontier")
    np.testing.assert_allclose(_drawn_value(frontier, result.radii[1:]), result.frontier[1:])
    middles = (result.radii[1:] + result.radii[:-1]) / 2
    chosen = [result.matched[k].certificates for k in result.frontier_pair[1:]]
    shares = [
        (certified_at(made.radius[0], r) & (made.prediction == made.labels)).mean()
        for made, r in zip(chosen, middles, strict=True)
    ]
    assert (np.array(shares) > result.frontier[1:]).any()
    np.testing.assert_allclose(_drawn_value(frontier, middles), shares)


@pytest.mark.parametrize("width", ["column", "text"])
def test_layout_and_legend(width, drawn, tmp_path):
    plot_frontiers([crossing_sweep(name) for name in ("theorem-a1", "exact")], tmp_path / "f", look=Look(width))
    (figure,) = drawn
    assert_tidy(figure)
    explained = [text.get_text() for text in figure.legends[0].get_texts()]
    for axes in figure.axes:
        for line in axes.get_lines():
            assert line.get_label().replace("sigma = ", r"$\sigma$ = ") in explained
    assert "Clean accuracy of the pairs" in explained
