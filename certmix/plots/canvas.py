"""One canvas for every figure: size, fonts, colours, the legend below, and PNG, PDF and CSV written as a set."""

import contextlib
import csv
import io
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import matplotlib as mpl
import matplotlib.style
import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch
from numpy.typing import ArrayLike, NDArray

from certmix.certifiers import Dashes
from certmix.errors import InvalidArgument
from certmix.files import check_target, write_whole
from certmix.plots.colours import GREY, colours_of, on_dark

Width = Literal["column", "text"]
Kind = Literal["line", "falling", "rising", "mark", "corner"]

DASHED: Dashes = (0, (5, 2))
DOTTED: Dashes = (0, (1, 1.5))
MIXED: Dashes = (0, (5, 2, 1, 2))
INTERVAL = "95 % interval of the test set"
_MARKERS, _MARKED = "os^DvPX*", ("line", "mark")
_INCHES: Mapping[Width, float] = {"column": 3.25, "text": 6.75}  # a paper of two columns
_ENDINGS = (".png", ".pdf", ".csv")
_LOOK = {
    "font.size": 8, "axes.titlesize": 8, "axes.labelsize": 8, "xtick.labelsize": 7, "ytick.labelsize": 7,
    "legend.fontsize": 7, "legend.frameon": False, "axes.grid": True, "grid.color": "0.9", "grid.linewidth": 0.6,
    "axes.axisbelow": True, "axes.spines.top": False, "axes.spines.right": False, "lines.markersize": 3.5,
    "savefig.dpi": 200, "legend.handlelength": 2.6,
}  # fmt: skip
_LIGHT, _DARK = "#e6edf3", "#0d1117"
_NIGHT = {
    "figure.facecolor": _DARK, "axes.facecolor": _DARK, "savefig.facecolor": _DARK, "grid.color": "#2b323b",
    **dict.fromkeys(("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color"), _LIGHT),
}  # fmt: skip
_FONTS = {"pdf.fonttype": 42, "ps.fonttype": 42, "text.usetex": False}  # TrueType: venues refuse Type 3


@dataclass(frozen=True)
class Look:
    """How a figure is dressed.

    Attributes:
        width: "column" (3.25 inches, panels stacked) or "text" (6.75 inches, up to three panels in a row).
        style: name or file of a matplotlib style sheet, laid over the canvas; fonts stay embedded as TrueType.
        dark: light lines on a dark ground, for a page in dark mode.
    """

    width: Width = "text"
    style: str | None = None
    dark: bool = False


@dataclass(frozen=True)
class Curve:
    """One line, or one mark, of a figure.

    Attributes:
        name: in the legend and in the CSV; "sigma = " is set as the Greek letter in the figure.
        x: shape (points,); shares in [0, 1] where the axis is in percent.
        y: shares in [0, 1], shape (points,).
        lower, upper: interval of y, shape (points,), or None; a band around steps, bars elsewhere.
        kind: "line" joins marked points; "falling" is a step curve whose y[k] holds on (x[k-1], x[k]], and 0 after the
            last; "rising" one whose y[k] holds on [x[k], x[k+1]); "mark" is points alone; "corner" is one point, drawn as
            the two lines that bound what lies left of it and below.
        colour: None takes that of the name in the figure.
        dashes, thickness: of the line.
    """

    name: str
    x: ArrayLike
    y: ArrayLike
    lower: ArrayLike | None = None
    upper: ArrayLike | None = None
    kind: Kind = "line"
    colour: str | None = None
    dashes: Dashes = "-"
    thickness: float = 1.2


@dataclass(frozen=True)
class Panel:
    """Curves that share two axes, under a title of one line or two."""

    title: str
    curves: Sequence[Curve]


@dataclass(frozen=True)
class Axis:
    """An axis: what it says, its column in the CSV, and whether its numbers are shares drawn in percent."""

    label: str
    column: str
    percent: bool = False
    limits: tuple[float | None, float | None] = (None, None)


RADIUS, RADIUS_L1 = (Axis(rf"$\ell_{p}$ radius (pixel units)", "radius", limits=(0.0, None)) for p in (2, 1))
CERTIFIED = Axis("Certified accuracy (%)", "accuracy", percent=True, limits=(0.0, 1.0))


def plot(
    panels: Sequence[Panel], stem: str | Path, *, x: Axis, y: Axis, look: Look | None = None, keys: Sequence[Curve] = ()
) -> list[str]:
    """Write a figure as STEM.png and STEM.pdf, and the numbers it shows as STEM.csv: rendered first, then written.

    Args:
        panels: what to draw; both axes are shared.
        stem: path without its ending.
        x, y: the axes.
        look: size and style.
        keys: what the legend explains, where that is not one entry per curve; the points of these are not drawn.
    Returns: the three paths.
    Raises: InvalidArgument: nothing to draw, an unknown style, or a path that cannot be written.
    """
    paths = [Path(stem).with_name(Path(stem).name + ending) for ending in _ENDINGS]
    for path in paths:
        check_target(path, force=True)
    look = look or Look()
    figure, png, pdf = draw(panels, x=x, y=y, look=look, keys=keys), io.BytesIO(), io.BytesIO()
    with _dressed(look):
        figure.savefig(png, format="png")
        figure.savefig(pdf, format="pdf", metadata={"CreationDate": None})
    contents = (png.getvalue(), pdf.getvalue(), _numbers(panels, x, y).encode())
    for path, content in zip(paths, contents, strict=True):
        write_whole(path, content, force=True)
    return [str(path) for path in paths]


def draw(panels: Sequence[Panel], *, x: Axis, y: Axis, look: Look | None = None, keys: Sequence[Curve] = ()) -> Figure:
    """The figure of `plot`, not yet written."""
    look = look or Look()
    curves = [curve for panel in panels for curve in panel.curves]
    if not curves:
        raise InvalidArgument("a figure needs at least one curve, got none.")
    colours, markers = _named(curves, look), _markers(curves)
    with _dressed(look):
        handles = _entries(keys, _named(keys, look)) if keys else _entries(curves, colours)
        handles |= _interval_entry(curves, on_dark(GREY) if look.dark else GREY)
        columns, lines = _legend_shape(list(handles), _INCHES[look.width])
        figure, grid = _frame(len(panels), look, lines)
        for axes, panel in zip(grid, panels, strict=True):
            for curve in panel.curves:
                _draw_curve(axes, curve, colours[curve.name], markers.get(curve.name, ""), x.percent)
            axes.set_title(_text(panel.title))
        _label(grid, x, y)
        figure.legend(
            list(handles.values()), [_text(name) for name in handles], loc="outside lower center", ncols=columns
        )
        figure.draw_without_rendering()
    return figure


@contextlib.contextmanager
def _dressed(look: Look) -> Iterator[None]:
    """The canvas's settings, then the style sheet's, then what no style may change."""
    with contextlib.ExitStack() as stack:
        try:
            night = [_NIGHT] if look.dark else []
            stack.enter_context(mpl.style.context([_LOOK, *night, *([look.style] if look.style else []), _FONTS]))
        except (OSError, ValueError):
            raise InvalidArgument(
                f"style must be a matplotlib style sheet (a name or a file), got {look.style!r}; for example "
                "tableau-colorblind10."
            ) from None
        yield


def _frame(panels: int, look: Look, legend_lines: int) -> tuple[Figure, list[Axes]]:
    """A figure with room for its panels and its legend, and the panels' axes in order."""
    columns = min(panels, 1 if look.width == "column" else 3)
    rows = math.ceil(panels / columns)
    panel_height = min(max(0.8 * _INCHES[look.width] / columns, 2.1), 3.0)
    figure = Figure(figsize=(_INCHES[look.width], rows * panel_height + 0.17 * legend_lines), layout="constrained")
    FigureCanvasAgg(figure)
    grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).ravel().tolist()
    for unused in grid[panels:]:
        unused.remove()
    return figure, grid[:panels]


def _draw_curve(axes: Axes, curve: Curve, colour: str, marker: str, percent_x: bool) -> None:
    x = np.atleast_1d(np.asarray(curve.x, dtype=np.float64)) * (100 if percent_x else 1)
    y = _percent(curve.y)
    look = {"color": colour, "linestyle": curve.dashes, "linewidth": curve.thickness, "label": curve.name}
    if curve.kind == "corner":
        drawn = [axes.axvline(x[0]), axes.axhline(y[0])]
    elif curve.kind == "falling":
        drawn = axes.step(np.append(x, x[-1]), np.append(y, 0.0), where="pre")
    elif curve.kind == "rising":
        drawn = axes.step(x, y, where="post")
    else:
        drawn = axes.plot(x, y, marker=marker)
    if curve.kind == "mark":
        look |= {
            "linestyle": "",
            "markerfacecolor": mpl.rcParams["axes.facecolor"],
            "markersize": 5,
            "clip_on": False,
            "zorder": 4,
        }
    for line in drawn:
        line.set_zorder(2.5 - 0.1 * curve.thickness)  # thin above broad
        line.set(**look)
    if curve.lower is None or curve.upper is None:
        return
    low, high = _percent(curve.lower), _percent(curve.upper)
    if curve.kind in _MARKED:
        axes.vlines(x, low, high, color=colour, linewidth=0.7, alpha=0.6)
    else:
        step: Literal["pre", "post"] = "pre" if curve.kind == "falling" else "post"
        axes.fill_between(x, low, high, step=step, color=colour, alpha=0.12, linewidth=0)


def _percent(shares: ArrayLike) -> NDArray[np.float64]:
    return 100 * np.atleast_1d(np.asarray(shares, dtype=np.float64))


def _label(grid: Sequence[Axes], x: Axis, y: Axis) -> None:
    for axis, put in ((x, grid[0].set_xlim), (y, grid[0].set_ylim)):
        low, high = (None if end is None else end * (100 if axis.percent else 1) for end in axis.limits)
        put(low, high)
    for axes in grid:
        axes.set_xlabel(x.label)
        axes.set_ylabel(y.label)
        axes.label_outer()


def _named(curves: Sequence[Curve], look: Look) -> dict[str, str]:
    """The colour of every name, the same in all panels."""
    colours = colours_of([(curve.name, curve.colour) for curve in curves])
    return {name: on_dark(colour) if look.dark else colour for name, colour in colours.items()}


def _markers(curves: Sequence[Curve]) -> dict[str, str]:
    """The marker of every name whose points are marked, the same in all panels."""
    names = dict.fromkeys(curve.name for curve in curves if curve.kind in _MARKED)
    return {name: _MARKERS[number % len(_MARKERS)] for number, name in enumerate(names)}


def _entries(curves: Sequence[Curve], colours: Mapping[str, str]) -> dict[str, Artist]:
    """A legend handle for every name."""
    handles: dict[str, Artist] = {}
    markers = _markers(curves)
    for name, colour in colours.items():
        curve = next(curve for curve in curves if curve.name == name)
        marked = curve.kind == "mark"
        handles[name] = Line2D([], [], marker=markers.get(name, ""))
        handles[name].set(
            color=colour, linewidth=curve.thickness, linestyle="" if marked else curve.dashes,
            markerfacecolor=mpl.rcParams["axes.facecolor"] if marked else colour,
        )  # fmt: skip
    return handles


def _interval_entry(curves: Sequence[Curve], grey: str) -> dict[str, Artist]:
    """A legend handle for the intervals, where there are any: bars on marked points, else a band."""
    kinds = {curve.kind for curve in curves if curve.lower is not None}
    if kinds & set(_MARKED):
        return {INTERVAL: Line2D([], [], color=grey, linestyle="", marker="|", markersize=8)}
    return {INTERVAL: Patch(color=grey, alpha=0.2, linewidth=0)} if kinds else {}


def _legend_shape(names: Sequence[str], inches: float) -> tuple[int, int]:
    """Columns that fit into the width, and how many lines they make. A letter of 7 points is about .056 inches wide."""
    entry = 0.056 * max(len(name) for name in names) + 0.5
    columns = max(1, min(len(names), int(inches / entry)))
    lines = math.ceil(len(names) / columns)
    return math.ceil(len(names) / lines), lines


def _text(plain: str) -> str:
    """Plain text for matplotlib: no dollar sign starts mathematics; sigma before a number, "linf" and "l2" become letters."""
    text = re.sub(r"\bsigma(?= = | \d)", r"$\\sigma$", plain.replace("$", r"\$"))
    return re.sub(r"\bl2\b", r"$\\ell_2$", re.sub(r"\blinf\b", r"$\\ell_\\infty$", text))


def _numbers(panels: Sequence[Panel], x: Axis, y: Axis) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["panel", "curve", x.column, y.column, "lower", "upper"])
    for panel in panels:
        for curve in panel.curves:
            points = np.atleast_1d(curve.x).tolist(), np.atleast_1d(curve.y).tolist()
            ends = [
                [None] * len(points[0]) if values is None else np.atleast_1d(values).tolist()
                for values in (curve.lower, curve.upper)
            ]
            title = panel.title.replace("\n", ", ")
            writer.writerows([title, curve.name, *row] for row in zip(*points, *ends, strict=True))
    return text.getvalue()
