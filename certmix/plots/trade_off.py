"""Attacked against clean accuracy: adaptive mixtures beside fixed weights, and the paper's mixing forms."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from certmix.plots.canvas import DASHED, Axis, Curve, Kind, Look, Panel, plot
from certmix.plots.certified import intervals
from certmix.plots.colours import COLOURS

Points = Sequence[tuple[float, float]]

CLEAN = Axis("Clean accuracy (%)", "clean_accuracy", percent=True)
ATTACKED = Axis("Attacked accuracy (%)", "attacked_accuracy", percent=True)


def plot_trade_off(
    panels: Mapping[str, Mapping[str, Points]],
    stem: str | Path,
    *,
    inputs: int,
    models: Mapping[str, tuple[float, float]] | None = None,
    oracle: tuple[float, float] | None = None,
    look: Look | None = None,
) -> list[str]:
    """Attacked accuracy against clean accuracy, with the test set's intervals of the attacked one.

    Args:
        panels: title -> name -> (clean, attacked) accuracies in [0, 1], a line each.
        stem: path without its ending; see `certmix.plots.canvas.plot`.
        inputs: that each accuracy is a share of.
        models: name -> (clean, attacked), a mark each, in every panel: the base models.
        oracle: (clean, attacked) of Theorem 4.1's oracle, drawn as the two lines that bound every a(x) in {0, 1}.
        look: size and style.
    Returns: the paths of PNG, PDF and CSV.
    """
    shared = [_curve(name, [pair], inputs, "mark", COLOURS[0]) for name, pair in (models or {}).items()]
    if oracle is not None:
        bound = "Oracle of Theorem 4.1"
        shared.append(
            Curve(bound, [oracle[0]], [oracle[1]], kind="corner", colour="#999999", dashes=DASHED, thickness=1.0)
        )
    drawn = [
        Panel(title, [*(_curve(name, points, inputs) for name, points in lines.items()), *shared])
        for title, lines in panels.items()
    ]
    return plot(drawn, stem, x=CLEAN, y=ATTACKED, look=look)


def _curve(name: str, points: Points, inputs: int, kind: Kind = "line", colour: str | None = None) -> Curve:
    clean, attacked = np.array(points).T
    return Curve(name, clean, attacked, *intervals(attacked, inputs), kind=kind, colour=colour)
