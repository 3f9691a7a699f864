"""Certified accuracy against radius: a panel per run, or all runs in one axis."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from certmix.certification.certify import Certificates
from certmix.certifiers import CERTIFIERS, Dashes
from certmix.curves import accuracy_interval, exact_steps
from certmix.errors import InvalidArgument
from certmix.plots.canvas import CERTIFIED, RADIUS, RADIUS_L1, Axis, Curve, Look, Panel, plot
from certmix.plots.colours import GREY, hue, tint


def plot_certified_accuracy(
    runs: Sequence[Sequence[Certificates]], stem: str | Path, *, overlay: bool = False, look: Look | None = None
) -> list[str]:
    """The exact step curves of certified accuracy, with the test set's intervals as bands.

    The line style tells the certifier. In a panel per run the colour tells the rule; in an overlay the colour tells the run
    (its sigma), and its shade the rule.

    Args:
        runs: the certificates of each run, one per certifier, with labels.
        stem: path without its ending; see `certmix.plots.canvas.plot`.
        overlay: draw all runs in one axis.
        look: size and style.
    Returns: the paths of PNG, PDF and CSV.
    Raises: InvalidArgument: certificates without labels, or in several norms.
    """
    panels, keys = certified_panels(runs, overlay=overlay)
    return plot(panels, stem, x=radius_axis([made for run in runs for made in run]), y=CERTIFIED, look=look, keys=keys)


def radius_axis(every: Sequence[Certificates]) -> Axis:
    """The axis of the norm that all these certificates share. Raises InvalidArgument where they do not."""
    norms = sorted({made.norm for made in every})
    if len(norms) > 1 or norms == ["linf"]:
        raise InvalidArgument(f"a figure takes l2 radii or l1 radii, got {' and '.join(norms)}; plot the runs apart.")
    return RADIUS_L1 if norms == ["l1"] else RADIUS


def certified_panels(
    runs: Sequence[Sequence[Certificates]], *, overlay: bool = False
) -> tuple[list[Panel], list[Curve]]:
    """What `plot_certified_accuracy` draws, and the entries of its legend: one per run (overlay), rule and certifier."""
    every = [made for run in runs for made in run]
    rules = _ranked_rules(every)
    panels, keys = [], []
    for number, run in enumerate(runs):
        colours = [tint(hue(number, 1), k) if overlay else hue(k) for k in range(len(rules))]
        prefix = f"{'Lambda' if run[0].norm == 'l1' else 'sigma'} = {run[0].sigma:g}"
        curves = [
            certified_curve(
                made,
                f"{prefix}, {CERTIFIERS[made.certifier].label}, {rule.label}",
                position=k,
                colour=colours[rules.index(rule.label)],
            )
            for made in run
            for k, rule in enumerate(made.rules)
        ]
        panels.append(Panel(f"{prefix}, {len(run[0].prediction)} inputs", curves))
        keys += [_key(prefix, colours[0])] if overlay else []
    keys += [_key(rule, tint(GREY, k) if overlay else hue(k)) for k, rule in enumerate(rules)]
    methods = [CERTIFIERS[name] for name in dict.fromkeys(made.certifier for made in every)]
    keys += [_key(method.label, GREY, method.dashes) for method in methods]
    if overlay:
        sizes = sorted({f"{len(run[0].prediction)} inputs" for run in runs})
        panels = [Panel(" or ".join(sizes), [curve for panel in panels for curve in panel.curves])]
    return panels, keys


def _key(name: str, colour: str, dashes: Dashes = "-") -> Curve:
    """An entry of the legend: a curve without points."""
    return Curve(name, (), (), kind="falling", colour=colour, dashes=dashes)


def certified_curve(
    made: Certificates, name: str, *, position: int = 0, rows: slice | NDArray[np.int64] = slice(None),
    colour: str | None = None, dashes: Dashes | None = None, thickness: float = 1.2, interval: bool = True,
) -> Curve:  # fmt: skip
    """The step curve of one rule of certificates, over all inputs or those of `rows`.

    Raises: InvalidArgument: certificates without labels.
    """
    if made.labels is None:
        raise InvalidArgument("a plot of certified accuracy needs labels, got certificates without them.")
    right = (made.prediction == made.labels)[rows]
    radii, accuracy = exact_steps(made.radius[position, rows], right)
    lower, upper = intervals(accuracy, len(right)) if interval else (None, None)
    drawn = CERTIFIERS[made.certifier].dashes if dashes is None else dashes
    return Curve(name, radii, accuracy, lower, upper, "falling", colour, drawn, thickness)


def intervals(accuracy: ArrayLike, inputs: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """95 % intervals of accuracies over so many inputs, each end of shape (points,)."""
    return accuracy_interval(np.rint(np.asarray(accuracy, dtype=np.float64) * inputs), inputs)


def _ranked_rules(every: Sequence[Certificates]) -> list[str]:
    """The labels of all rules of a figure, per kind from the largest parameter down: weight 1 is black, or unshaded."""
    rules = {rule for made in every for rule in made.rules}
    return [rule.label for rule in sorted(rules, key=lambda rule: (rule.kind, -rule.parameter))]
