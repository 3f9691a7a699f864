"""What the floor of an adaptive mixture's weights costs and buys."""

from collections.abc import Mapping, Sequence
from pathlib import Path

from certmix.plots.attacks import ACCURACY
from certmix.plots.canvas import DASHED, Axis, Curve, Look, Panel, plot
from certmix.plots.certified import intervals

FLOOR = Axis(r"Floor of the mixing weight, $\alpha_{\min}$", "floor")


def plot_weight_range(
    floors: Sequence[float],
    lines: Mapping[str, Sequence[float]],
    stem: str | Path,
    *,
    inputs: Mapping[str, int],
    dashed: Sequence[str] = (),
    title: str = "",
    look: Look | None = None,
) -> list[str]:
    """Accuracies against the floor a_min of the mixing weight, with the test set's intervals.

    Args:
        floors: a_min, shape (floors,).
        lines: name -> accuracies in [0, 1], shape (floors,).
        stem: path without its ending; see `certmix.plots.canvas.plot`.
        inputs: name -> number of inputs that its accuracies are shares of.
        dashed: names drawn dashed: certified accuracies.
        title: of the figure.
        look: size and style.
    Returns: the paths of PNG, PDF and CSV.
    """
    curves = [
        Curve(name, floors, values, *intervals(values, inputs[name]), dashes=DASHED if name in dashed else "-")
        for name, values in lines.items()
    ]
    return plot([Panel(title, curves)], stem, x=FLOOR, y=ACCURACY, look=look)
