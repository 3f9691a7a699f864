"""Certified accuracy against radius: a panel per run, or all runs in one axis."""

from collections.abc import Collection, Sequence
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
    (its sigma) or the chain of runs, and its shade the rule.

    Args:
        runs: the certificates of each run or chain, one per certifier, with labels.
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
    methods = {_method(made): CERTIFIERS[made.certifier].dashes for made in every}
    panels, keys = [], []
    for number, run in enumerate(runs):
        source, own = _source(run[0]), hue(number, 1)
        shades = {rule: tint(own, k) if overlay else hue(k) for k, rule in enumerate(rules)}
        curves = [
            certified_curve(
                made,
                ", ".join([source, _method(made), *([rule.label] if rule.label in shades else [])]),
                position=k,
                colour=shades.get(rule.label, own),
            )
            for made in run
            for k, rule in enumerate(made.rules)
        ]
        panels.append(Panel(_title([source], run, methods), curves))
        only = rules if len(rules) == 1 and run[0].rules[0].label in rules else []
        keys += [_key(", ".join([source, *only]), own)] if overlay else []
    if not overlay or len(rules) > 1:
        keys += [_key(rule, tint(GREY, k) if overlay else hue(k)) for k, rule in enumerate(rules)]
    keys += [_key(name, GREY, dashes) for name, dashes in methods.items()] if len(methods) > 1 else []
    if overlay:
        panels = [Panel(_title([], every, methods), [curve for panel in panels for curve in panel.curves])]
    return panels, keys


def _title(words: Sequence[str], made: Sequence[Certificates], methods: Collection[str]) -> str:
    """What all curves of a panel share."""
    sizes = sorted({len(one.prediction) for one in made})
    inputs = f"{' or '.join(map(str, sizes))} inputs"
    return ", ".join([*words, inputs, *(methods if len(methods) == 1 else [])])


def _source(made: Certificates) -> str:
    """What certificates are of: the noise of one run, or a chain of several."""
    if made.rules[0].kind == "chain":
        return made.rules[0].label
    return f"{'Lambda' if made.norm == 'l1' else 'sigma'} = {made.sigma:g}"


def _method(made: Certificates) -> str:
    soft = made.promise is not None and made.promise.votes == "soft"
    return CERTIFIERS[made.certifier].label + (", soft votes" if soft else "")


def _key(name: str, colour: str, dashes: Dashes = "-") -> Curve:
    """An entry of the legend: a curve without points."""
    return Curve(name, (), (), kind="falling", colour=colour, dashes=dashes)


def certified_curve(
    made: Certificates, name: str, *, position: int = 0, colour: str | None = None, dashes: Dashes | None = None,
    thickness: float = 1.2, interval: bool = True,
) -> Curve:  # fmt: skip
    """The step curve of one rule of certificates, over all inputs.

    Raises: InvalidArgument: certificates without labels.
    """
    if made.labels is None:
        raise InvalidArgument("a plot of certified accuracy needs labels, got certificates without them.")
    right = made.prediction == made.labels
    radii, accuracy = exact_steps(made.radius[position], right)
    lower, upper = intervals(accuracy, len(right)) if interval else (None, None)
    drawn = CERTIFIERS[made.certifier].dashes if dashes is None else dashes
    return Curve(name, radii, accuracy, lower, upper, "falling", colour, drawn, thickness)


def intervals(accuracy: ArrayLike, inputs: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """95 % intervals of accuracies over so many inputs, each end of shape (points,)."""
    return accuracy_interval(np.rint(np.asarray(accuracy, dtype=np.float64) * inputs), inputs)


def _ranked_rules(every: Sequence[Certificates]) -> list[str]:
    """Labels of all rules but chains, per kind from the largest parameter down: weight 1 is black, or unshaded."""
    rules = {rule for made in every for rule in made.rules if rule.kind != "chain"}
    return [rule.label for rule in sorted(rules, key=lambda rule: (rule.kind, -rule.parameter))]
