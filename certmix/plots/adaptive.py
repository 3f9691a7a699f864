"""Figures of adaptive mixtures: attacked against clean accuracy, and what the floor of the weights costs and buys."""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from certmix.errors import InvalidArgument
from certmix.plots.certified import COLOURS

Curve = Sequence[tuple[float, float]]


def plot_trade_off(
    curves: Mapping[str, Curve],
    points: Mapping[str, tuple[float, float]],
    stem: str | Path,
    *,
    oracle: tuple[float, float] | None = None,
    title: str = "",
) -> list[str]:
    """Attacked accuracy against clean accuracy, as STEM.png, STEM.pdf and the plotted numbers as STEM.csv.

    Args:
        curves: name -> (clean, attacked) accuracies in [0, 1], one line each.
        points: name -> (clean, attacked), a mark each: the base models.
        stem: path without its ending.
        oracle: (clean, attacked) of Theorem 4.1's oracle, drawn as the two lines that bound every a(x) in {0, 1}.
        title: of the figure.
    Returns: the three paths.
    """
    figure, axes = _figure(title)
    for number, (name, curve) in enumerate(curves.items()):
        clean, attacked = zip(*sorted(curve), strict=True)
        style: dict[str, Any] = {
            "color": COLOURS[1 + number % (len(COLOURS) - 1)],
            "marker": "os^Dv"[number % 5],
            "markersize": 4,
        }
        axes.plot([100 * c for c in clean], [100 * a for a in attacked], label=name, linewidth=1.5, **style)
    for number, (name, (clean_one, attacked_one)) in enumerate(points.items()):
        axes.plot(
            [100 * clean_one], [100 * attacked_one], color="black", marker="PX*"[number % 3], linestyle="", label=name
        )
    rows = [("curve", name, *pair) for name, curve in curves.items() for pair in curve]
    rows += [("point", name, *pair) for name, pair in points.items()]
    if oracle is not None:
        for line, value in ((axes.axvline, oracle[0]), (axes.axhline, oracle[1])):
            line(100 * value, color="0.6", linestyle=(0, (5, 2)), linewidth=1.0)
        axes.plot([], [], color="0.6", linestyle=(0, (5, 2)), linewidth=1.0, label="oracle of Theorem 4.1")
        rows.append(("oracle", "Theorem 4.1", *oracle))
    axes.set_xlabel("Clean accuracy (%)")
    axes.set_ylabel("Attacked accuracy (%)")
    axes.legend(fontsize=7, frameon=False)
    return _save(figure, stem, ("kind", "name", "clean_accuracy", "attacked_accuracy"), rows)


def plot_weight_range(
    floors: Sequence[float],
    lines: Mapping[str, Sequence[float]],
    stem: str | Path,
    *,
    dashed: Sequence[str] = (),
    title: str = "",
) -> list[str]:
    """Accuracies against the floor a_min of the mixing weight, in the three forms of `plot_trade_off`.

    Args:
        floors: a_min, shape (floors,).
        lines: name -> accuracies in [0, 1], shape (floors,).
        stem: path without its ending.
        dashed: names drawn dashed: certified accuracies.
        title: of the figure.
    Returns: the three paths.
    """
    figure, axes = _figure(title, height=4.6)
    for number, (name, values) in enumerate(lines.items()):
        style = (0, (5, 2)) if name in dashed else "-"
        colour = COLOURS[number % len(COLOURS)]
        marks: dict[str, Any] = {"marker": "os^Dv"[number % 5], "markersize": 3.5}
        axes.plot(floors, [100 * value for value in values], label=name, color=colour, linestyle=style, **marks)
    axes.set_xlabel(r"Floor of the mixing weight, $\alpha_{\min}$")
    axes.set_ylabel("Accuracy (%)")
    axes.set_ylim(0, 100)
    handles, names = axes.get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=2, fontsize=7, frameon=False)
    rows = [(name, floor, value) for name, values in lines.items() for floor, value in zip(floors, values, strict=True)]
    return _save(figure, stem, ("curve", "floor", "accuracy"), rows)


def _figure(title: str, height: float = 4.0) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(5.2, height), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    axes.grid(color="0.9", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_axisbelow(True)
    if title:
        axes.set_title(title, fontsize=10)
    return figure, axes


def _save(figure: Figure, stem: str | Path, header: Sequence[str], rows: Sequence[Sequence[object]]) -> list[str]:
    stem = Path(stem)
    paths = [stem.with_name(stem.name + ending) for ending in (".png", ".pdf", ".csv")]
    try:
        stem.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(paths[0], dpi=200)
        figure.savefig(paths[1], metadata={"CreationDate": None})
        with paths[2].open("w", newline="") as handle:
            csv.writer(handle, lineterminator="\n").writerows([header, *rows])
    except OSError as error:
        raise InvalidArgument(f"--out must be a path that can be written, got {stem} ({error.strerror}).") from None
    return [str(path) for path in paths]
