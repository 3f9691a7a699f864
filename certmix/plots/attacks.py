"""Attacked accuracy against the mixing weight: one curve per attack."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from numpy.typing import ArrayLike

from certmix.plots.canvas import Axis, Curve, Look, Panel, plot
from certmix.plots.certified import intervals

WEIGHT = Axis("Mixing weight (0 = accurate, 1 = robust model)", "mixing_weight")
ACCURACY = Axis("Accuracy (%)", "accuracy", percent=True, limits=(0.0, 1.0))


def plot_attacks(
    weights: Sequence[float] | ArrayLike,
    accuracies: Mapping[str, ArrayLike],
    stem: str | Path,
    *,
    inputs: int,
    title: str = "",
    look: Look | None = None,
) -> list[str]:
    """Accuracy under each attack at each mixing weight, with the test set's intervals.

    Args:
        weights: mixing weights, shape (weights,).
        accuracies: attack -> accuracy in [0, 1], shape (weights,).
        stem: path without its ending; see `certmix.plots.canvas.plot`.
        inputs: that each accuracy is a share of.
        title: of the figure.
        look: size and style.
    Returns: the paths of PNG, PDF and CSV.
    """
    curves = [Curve(name, weights, values, *intervals(values, inputs)) for name, values in accuracies.items()]
    return plot([Panel(title, curves)], stem, x=WEIGHT, y=ACCURACY, look=look)
