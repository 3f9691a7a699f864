"""The bracket: certified accuracy below, attacked accuracy above, and the truth between."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from certmix.certification.certify import Certificates
from certmix.certifiers import CERTIFIERS
from certmix.plots.attacks import ACCURACY
from certmix.plots.canvas import RADIUS, Curve, Look, Panel, plot
from certmix.plots.certified import certified_curve, intervals
from certmix.plots.colours import COLOURS


@dataclass(frozen=True)
class Bracket:
    """What is known of one rule.

    Attributes:
        certificates: of the inputs that were attacked, one per certifier, with labels.
        position: of the rule among theirs.
        radii: radii of the attack, ascending, pixel units, shape (radii,).
        right: whether each input is still right after an attack of that radius, shape (radii, inputs).
    """

    certificates: Sequence[Certificates]
    position: int
    radii: ArrayLike
    right: NDArray[np.bool_]


def plot_brackets(brackets: Sequence[Bracket], stem: str | Path, *, look: Look | None = None) -> list[str]:
    """A panel per rule, with the test set's intervals as bands.

    Attacked accuracy at a radius bounds that of all larger radii from above: a step curve, too.

    Args:
        brackets: one per rule.
        stem: path without its ending; see `certmix.plots.canvas.plot`.
        look: size and style.
    Returns: the paths of PNG, PDF and CSV.
    """
    return plot([bracket_panel(bracket) for bracket in brackets], stem, x=RADIUS, y=ACCURACY, look=look)


def bracket_panel(bracket: Bracket) -> Panel:
    """What `plot_brackets` draws of one rule."""
    inputs, attacked = bracket.right.shape[1], bracket.right.mean(axis=1)
    curves = [Curve("Attacked", bracket.radii, attacked, *intervals(attacked, inputs), kind="rising")]
    for made in bracket.certificates:
        name = f"Certified, {CERTIFIERS[made.certifier].label}"
        curves.append(certified_curve(made, name, position=bracket.position, colour=COLOURS[0]))
    first = bracket.certificates[0]
    return Panel(f"sigma = {first.sigma:g}, {first.rules[bracket.position].label}, {inputs} inputs", curves)
