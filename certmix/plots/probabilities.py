"""The distribution of p_A: how sure the smoothed classifier is, which says more than an average radius."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from certmix.errors import InvalidArgument
from certmix.intervals import ABSTAIN, ProbabilityBounds
from certmix.plots.canvas import DASHED, Axis, Curve, Look, Panel, plot
from certmix.plots.colours import hue

TOP = Axis(r"Lower bound on $p_A$", "top_lower", limits=(0.0, 1.0))
SHARE = Axis("Inputs (%)", "share", percent=True, limits=(0.0, 1.0))


def plot_top_probabilities(
    runs: Sequence[ProbabilityBounds], stem: str | Path, *, look: Look | None = None
) -> list[str]:
    """Share of inputs whose bound on p_A is at most so much: right predictions solid, wrong ones dashed, a colour per run.

    The two curves of a run end at its share of right and of wrong predictions; abstentions are what is missing to 100 %.

    Args:
        runs: bounds with labels, one per sigma.
        stem: path without its ending; see `certmix.plots.canvas.plot`.
        look: size and style.
    Returns: the paths of PNG, PDF and CSV.
    Raises: InvalidArgument: bounds without labels.
    """
    return plot([top_probability_panel(runs)], stem, x=TOP, y=SHARE, look=look)


def top_probability_panel(runs: Sequence[ProbabilityBounds]) -> Panel:
    """What `plot_top_probabilities` draws."""
    curves = []
    for number, bounds in enumerate(runs):
        if bounds.labels is None:
            raise InvalidArgument("a plot of p_A needs labels, got bounds without them.")
        right = bounds.prediction == bounds.labels
        for name, chosen in (("right", right), ("wrong", ~right & (bounds.prediction != ABSTAIN))):
            values, counts = np.unique(bounds.top_lower[chosen], return_counts=True)
            share = np.concatenate([[0.0], counts.cumsum(), [counts.sum()]]) / len(right)
            curves.append(
                Curve(
                    f"sigma = {bounds.sigma:g}, {name}", np.concatenate([[0.0], values, [1.0]]), share, kind="rising",
                    colour=hue(number, 1), dashes="-" if name == "right" else DASHED,
                )
            )  # fmt: skip
    return Panel(f"{len(runs[0].prediction)} inputs", curves)
