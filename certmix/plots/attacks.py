"""Figures of attacks: accuracy against mixing weight, trade-off curves, and the bracket of certified and attacked."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from certmix.errors import InvalidArgument
from certmix.plots.certified import COLOURS

MARKERS = "os^DvPX*"
DASHES: tuple[Any, ...] = ("-", (0, (5, 2)), (0, (1, 1.5)), (0, (5, 2, 1, 2)))


@dataclass(frozen=True)
class Curve:
    """Accuracy against something.

    Attributes:
        name: in the legend and in the CSV.
        x: shape (points,).
        accuracy: shares in [0, 1], shape (points,).
        steps: "pre" or "post" draws a step curve, constant to the left or to the right of each point; "" marks joined by
            lines.
    """

    name: str
    x: ArrayLike
    accuracy: ArrayLike
    steps: str = ""


def plot_curves(
    panels: Sequence[tuple[str, Sequence[Curve]]], stem: str | Path, *, xlabel: str, ylabel: str = "Accuracy (%)",
    percent_x: bool = False,
) -> list[str]:  # fmt: skip
    """Curves as STEM.png, STEM.pdf, and the plotted numbers as STEM.csv; one panel per title.

    Args:
        panels: (title, curves) of each panel.
        stem: path without its ending.
        xlabel, ylabel: of the axes.
        percent_x: x is a share too, drawn in percent.
    Returns: the three paths.
    Raises: InvalidArgument: a path that cannot be written.
    """
    figure = Figure(figsize=(4.8 * len(panels), 4.0), layout="constrained")
    FigureCanvasAgg(figure)
    shared = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for axes, (title, curves) in zip(shared, panels, strict=True):
        for number, curve in enumerate(curves):
            x = np.asarray(curve.x, dtype=np.float64) * (100 if percent_x else 1)
            style = {"color": COLOURS[number % len(COLOURS)], "linestyle": DASHES[number % 4], "label": curve.name}
            if curve.steps:
                axes.step(x, 100 * np.asarray(curve.accuracy), where=curve.steps, linewidth=1.6, **style)
            else:
                mark = MARKERS[number % len(MARKERS)]
                axes.plot(x, 100 * np.asarray(curve.accuracy), marker=mark, markersize=4, linewidth=1.4, **style)
        axes.set_title(title, fontsize=10)
        axes.set_xlabel(xlabel)
        axes.set_ylim(0, 100)
        axes.grid(color="0.9", linewidth=0.6)
        axes.spines[["top", "right"]].set_visible(False)
        axes.set_axisbelow(True)
        axes.legend(fontsize=7, frameon=False)
    shared[0].set_ylabel(ylabel)
    return _save(figure, Path(stem), panels)


def _save(figure: Figure, stem: Path, panels: Sequence[tuple[str, Sequence[Curve]]]) -> list[str]:
    paths = [stem.with_name(stem.name + ending) for ending in (".png", ".pdf", ".csv")]
    try:
        stem.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(paths[0], dpi=200)
        figure.savefig(paths[1], metadata={"CreationDate": None})
        with paths[2].open("w", newline="") as handle:
            writer = csv.writer(handle, lineterminator="\n")
            writer.writerow(["panel", "curve", "x", "accuracy"])
            for title, curves in panels:
                for curve in curves:
                    points = zip(np.asarray(curve.x).tolist(), np.asarray(curve.accuracy).tolist(), strict=True)
                    writer.writerows([title, curve.name, x, y] for x, y in points)
    except OSError as error:
        raise InvalidArgument(f"--out must be a path that can be written, got {stem} ({error.strerror}).") from None
    return [str(path) for path in paths]
