"""Figures worth printing: colour-blind safe, readable in grey, drawn without a display."""

import csv
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray

from certmix.certification.certify import Certificates
from certmix.certifiers import CERTIFIERS
from certmix.curves import accuracy_interval, exact_steps
from certmix.errors import InvalidArgument
from certmix.pareto import ParetoResult
from certmix.tables import percent_text

# Okabe and Ito's colours, ordered from dark to light so that they also differ in grey.
COLOURS = ("#000000", "#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")


@dataclass(frozen=True)
class Line:
    """A step curve of accuracy against radius.

    Attributes:
        name: in the legend and in the CSV.
        radii: right ends of the steps, ascending, first 0; shape (steps,).
        accuracy: value on (radii[k-1], radii[k]]; shape (steps,).
        lower, upper: interval at each step, or None.
        colour, dashes, width: how it is drawn.
    """

    name: str
    radii: NDArray[np.float64]
    accuracy: NDArray[np.float64]
    lower: NDArray[np.float64] | None = None
    upper: NDArray[np.float64] | None = None
    colour: str = COLOURS[0]
    dashes: Any = "-"
    width: float = 1.6


def certified_lines(certificates: Sequence[Certificates]) -> list[Line]:
    """The exact step curve of each certifier (line style) and mixing weight (colour).

    Args:
        certificates: of one set of inputs and one sigma, with labels.
    Raises: InvalidArgument: certificates without labels.
    """
    rules = list(dict.fromkeys(rule for made in certificates for rule in made.rules))[::-1]
    lines = []
    for made in certificates:
        if made.labels is None:
            raise InvalidArgument("a plot of certified accuracy needs labels, got certificates without them.")
        for position, rule in enumerate(made.rules):
            radii, accuracy = exact_steps(made.radius[position], made.prediction == made.labels)
            lower, upper = accuracy_interval(np.rint(accuracy * len(made.labels)), len(made.labels))
            name = f"{CERTIFIERS[made.certifier].label}, {rule.label}"
            colour = COLOURS[rules.index(rule) % len(COLOURS)]
            lines.append(Line(name, radii, accuracy, lower, upper, colour, CERTIFIERS[made.certifier].dashes))
    return lines


def draw_lines(axes: Axes, lines: Sequence[Line], *, bands: bool = True) -> None:
    """Draw step curves, with their intervals as bands, on axes of radius and accuracy in percent."""
    for line in lines:
        where = {"x": np.append(line.radii, line.radii[-1]), "y": 100 * np.append(line.accuracy, 0.0)}
        axes.step(
            where["x"],
            where["y"],
            where="pre",
            color=line.colour,
            linestyle=line.dashes,
            label=line.name,
            linewidth=line.width,
        )
        if bands and line.lower is not None and line.upper is not None:
            axes.fill_between(
                line.radii, 100 * line.lower, 100 * line.upper, step="pre", color=line.colour, alpha=0.10, linewidth=0
            )
    reach = max((float(line.radii[-1]) for line in lines), default=0.0)
    axes.set_xlim(0, 1.03 * reach if reach else 1.0)
    axes.set_ylim(0, 100)
    axes.set_xlabel(r"$\ell_2$ radius (pixel units)")
    axes.set_ylabel("Certified accuracy (%)")
    axes.grid(color="0.9", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.set_axisbelow(True)


def plot_certified_accuracy(panels: Sequence[tuple[str, Sequence[Line]]], stem: str | Path) -> list[str]:
    """Certified accuracy against radius, a panel per run, as STEM.png, STEM.pdf and the plotted numbers as STEM.csv.

    Args:
        panels: (title, lines) of each panel.
        stem: path without its ending.
    Returns: the three paths.
    """
    figure = Figure(figsize=(4.6 * len(panels), 3.9), layout="constrained")
    FigureCanvasAgg(figure)
    shared = figure.subplots(1, len(panels), sharey=True, squeeze=False)[0]
    for axes, (title, lines) in zip(shared, panels, strict=True):
        draw_lines(axes, lines)
        axes.set_title(title, fontsize=10)
        axes.label_outer()
    handles, names = shared[0].get_legend_handles_labels()
    figure.legend(handles, names, loc="outside lower center", ncols=min(3, len(names)), fontsize=8, frameon=False)
    return save_figure(figure, stem, [(title, line) for title, lines in panels for line in lines])


def save_figure(figure: Figure, stem: str | Path, plotted: Sequence[tuple[str, Line]]) -> list[str]:
    """Write a figure as PNG and PDF, and the steps it shows as CSV. Returns the paths."""
    stem = Path(stem)
    paths = [stem.with_name(stem.name + ending) for ending in (".png", ".pdf", ".csv")]
    try:
        stem.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(paths[0], dpi=200)
        figure.savefig(paths[1], metadata={"CreationDate": None})
        with paths[2].open("w", newline="") as handle:
            writer = csv.writer(handle, lineterminator="\n")
            writer.writerow(["panel", "curve", "radius", "accuracy", "lower", "upper"])
            for title, line in plotted:
                for step in range(len(line.radii)):
                    band = [None if values is None else values[step] for values in (line.lower, line.upper)]
                    writer.writerow([title, line.name, line.radii[step], line.accuracy[step], *band])
    except OSError as error:
        raise InvalidArgument(f"--out must be a path that can be written, got {stem} ({error.strerror}).") from None
    return [str(path) for path in paths]


def plot_frontiers(panels: Sequence[tuple[str, ParetoResult]], stem: str | Path) -> list[str]:
    """Frontier, matched pairs, baseline and each sigma alone, a panel per certifier; clean accuracy as a mark at radius 0.

    Args:
        panels: (title, result), for example the paper's certificate and the exact one side by side.
        stem: path without its ending; see `plot_certified_accuracy`.
    Returns: the three paths.
    """
    figure = Figure(figsize=(5.0 * len(panels), 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    shared = figure.subplots(1, len(panels), sharex=True, sharey=True, squeeze=False)[0]
    plotted = []
    for axes, (title, result) in zip(shared, panels, strict=True):
        lines = _pareto_lines(result)
        draw_lines(axes, lines)
        for number, pair in enumerate(result.matched):
            mark = {
                "color": _sigma_colours(result)[pair.sigma],
                "marker": "os^Dv"[number % 5],
                "linestyle": "",
                "clip_on": False,
            }
            attained = (result.frontier_pair == number) & (result.frontier > 0)
            drawn = axes.plot([0], [100 * pair.clean_accuracy], markersize=6, markerfacecolor="white", zorder=5, **mark)
            drawn += axes.plot(result.radii[attained], 100 * result.frontier[attained], markersize=4, zorder=4, **mark)
            for artist in drawn:
                artist.set_in_layout(False)  # marks on the edge must not move the axes
        axes.set_title(f"{title}, clean accuracy {100 * result.target:.1f} %", fontsize=10)
        axes.label_outer()
        plotted += [(title, line) for line in lines]
    shared[0].set_xlim(0, 1.03 * max(float(line.radii[-1]) for _, line in plotted) or 1.0)
    for axes in shared:
        axes.legend(fontsize=7, frameon=False, loc="upper right")
    return save_figure(figure, stem, plotted)


def _pareto_lines(result: ParetoResult) -> list[Line]:
    """Step curves of a sweep: frontier broad and grey, matched pairs, each other sigma alone (dotted), baseline black."""
    colours = _sigma_colours(result)
    lines = []
    for number, pair in enumerate(result.matched):
        name = f"$\\sigma$ = {pair.sigma:g}, {pair.rule.title} {pair.rule.parameter:.3f}"
        lines.append(_certificate_line(pair.certificates, name, colours[pair.sigma], (0, (6, 1.5 + number))))
    lines.insert(0, Line("Frontier", *result.frontier_steps(), colour="0.75", width=5.0))
    for alone in result.standalone:
        if result.baseline is None or alone.sigma != result.baseline.sigma:
            name = f"$\\sigma$ = {alone.sigma:g} alone, clean {percent_text(alone.clean_accuracy)} %"
            line = _certificate_line(alone.certificates, name, colours[alone.sigma], (0, (1, 1.5)))
            lines.append(replace(line, lower=None, upper=None, width=0.9))
    if result.baseline is not None:
        name = f"Baseline: $\\sigma$ = {result.baseline.sigma:g}, weight 1"
        lines.append(_certificate_line(result.baseline.certificates, name, COLOURS[0], "-"))
    return lines


def _sigma_colours(result: ParetoResult) -> dict[float, str]:
    return {pair.sigma: COLOURS[1 + k % (len(COLOURS) - 1)] for k, pair in enumerate(result.standalone)}


def _certificate_line(certificates: Certificates, name: str, colour: str, dashes: Any) -> Line:
    right = certificates.prediction == certificates.labels
    radii, accuracy = exact_steps(certificates.radius[0], right)
    lower, upper = accuracy_interval(np.rint(accuracy * len(right)), len(right))
    return Line(name, radii, accuracy, lower, upper, colour, dashes)
