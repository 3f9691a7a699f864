"""The frontier of alpha-sigma pairs at a fixed clean accuracy: the paper's Figures 6 and 7."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from certmix.certifiers import CERTIFIERS, Dashes
from certmix.pareto import MatchedPair, ParetoResult
from certmix.plots.canvas import CERTIFIED, DASHED, DOTTED, MIXED, Curve, Look, Panel, plot
from certmix.plots.certified import certified_curve, radius_axis
from certmix.plots.colours import COLOURS, hue
from certmix.tables import percent_text

_DASHES: dict[str, Dashes] = {"linear": DASHED, "threshold": (0, (3, 1, 1, 1, 1, 1))}  # of a rule


def plot_frontiers(results: Sequence[ParetoResult], stem: str | Path, *, look: Look | None = None) -> list[str]:
    """Frontier, matched pairs, baseline and each sigma alone, a panel per certifier; clean accuracies as marks.

    Args:
        results: sweeps to compare, for example the paper's certificate and the exact one.
        stem: path without its ending; see `certmix.plots.canvas.plot`.
        look: size and style.
    Returns: the paths of PNG, PDF and CSV.
    """
    axis = radius_axis([pair.certificates for result in results for pair in result.matched])
    return plot([frontier_panel(result) for result in results], stem, x=axis, y=CERTIFIED, look=look)


def frontier_panel(result: ParetoResult) -> Panel:
    """What `plot_frontiers` draws of one sweep: the frontier broad and pale beneath the curves that attain it."""
    colours = {pair.sigma: hue(number, 1) for number, pair in enumerate(result.standalone)}
    curves = [Curve("Frontier", *result.frontier_steps(), kind="falling", thickness=5.0)]
    for pair in result.matched:
        if _is_baseline(pair, result.baseline):
            continue
        colour = colours.setdefault(pair.sigma, hue(len(colours), 1))
        dashes = MIXED if pair.kind == "adaptive" else _DASHES[pair.rule.kind]
        curves.append(certified_curve(pair.certificates, _name(pair), colour=colour, dashes=dashes))
    for alone in result.standalone:
        if result.baseline is None or alone.sigma != result.baseline.sigma:
            name = f"sigma = {alone.sigma:g} alone, clean {percent_text(alone.clean_accuracy)} %"
            curves.append(
                certified_curve(
                    alone.certificates, name, colour=colours[alone.sigma], dashes=DOTTED, thickness=0.9, interval=False
                )
            )
    if result.baseline is not None:
        name = f"Baseline: sigma = {result.baseline.sigma:g}, {result.baseline.rule.label}"
        curves.append(certified_curve(result.baseline.certificates, name, colour=COLOURS[0], dashes="-"))
    clean = [pair.clean_accuracy for pair in result.matched]
    curves.append(Curve("Clean accuracy of the pairs", np.zeros(len(clean)), clean, kind="mark", colour=COLOURS[0]))
    rules = " or ".join(dict.fromkeys("floor" if p.kind == "adaptive" else p.rule.title for p in result.matched))
    label = CERTIFIERS[result.certifier].label
    return Panel(f"{label}, {rules}\nclean accuracy {percent_text(result.target)} %", curves)


def _is_baseline(pair: MatchedPair, baseline: MatchedPair | None) -> bool:
    """Whether a pair certifies what the baseline does, and its curve would lie under that one."""
    return (
        baseline is not None
        and pair.sigma == baseline.sigma
        and np.array_equal(pair.certificates.radius, baseline.certificates.radius)
    )


def _name(pair: MatchedPair) -> str:
    title = "floor" if pair.kind == "adaptive" else pair.rule.title
    return f"sigma = {pair.sigma:g}, {title} {pair.rule.parameter:.3f}"
