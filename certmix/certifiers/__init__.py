"""Probability bounds + mixing weight -> certified radii: one file per theorem.

Each certifier is a margin curve of h, a decreasing lower bound m(r) on h_y - h_i over the ball of radius r, and its
inverse: the mixture at weight a is certified up to sup{r : a m(r) > 1 - a} (Lemma 3.2).
"""

import difflib
import functools
from collections.abc import Callable
from dataclasses import dataclass

from numpy.typing import ArrayLike

from certmix.certifiers.arguments import Array
from certmix.certifiers.cdf import cdf_margin, cdf_radius
from certmix.certifiers.exact import exact_margin, exact_radius
from certmix.certifiers.lipschitz import lipschitz_margin, lipschitz_radius, smoothing_lipschitz_constant
from certmix.certifiers.margin import required_margin
from certmix.certifiers.softmax_constants import softmax_lipschitz_constant
from certmix.certifiers.theorem_a1 import theorem_a1_margin, theorem_a1_radius
from certmix.errors import InvalidArgument

__all__ = [
    "CERTIFIERS",
    "LABELS",
    "Certifier",
    "cdf_margin",
    "cdf_radius",
    "check_certifier",
    "exact_margin",
    "exact_radius",
    "get_certifier",
    "lipschitz_margin",
    "lipschitz_radius",
    "required_margin",
    "smoothing_lipschitz_constant",
    "softmax_lipschitz_constant",
    "theorem_a1_margin",
    "theorem_a1_radius",
]


@dataclass(frozen=True)
class Certifier:
    """A margin curve and its inverse.

    Attributes:
        name: as on the command line.
        label: as in tables and figures.
        radius: (top_lower, rival_upper, mixing_weight, sigma) -> certified radius.
        margin: (top_lower, rival_upper, radius, sigma) -> margin on the ball.
    """

    name: str
    label: str
    radius: Callable[[ArrayLike, ArrayLike, ArrayLike, ArrayLike], Array]
    margin: Callable[[ArrayLike, ArrayLike, ArrayLike, ArrayLike], Array]


def _smoothing_lipschitz(
    curve: Callable[..., Array],
    paper: bool,
    top_lower: ArrayLike,
    rival_upper: ArrayLike,
    where: ArrayLike,
    sigma: ArrayLike,
) -> Array:
    constant = smoothing_lipschitz_constant(sigma, paper=paper)
    return curve(top_lower, rival_upper, where, constant, constant)


CERTIFIERS = {
    certifier.name: certifier
    for certifier in (
        Certifier("exact", "Exact", exact_radius, exact_margin),
        Certifier("theorem-a1", "Theorem A.1", theorem_a1_radius, theorem_a1_margin),
        Certifier(
            "theorem-3.5",
            "Theorem 3.5",
            functools.partial(_smoothing_lipschitz, lipschitz_radius, False),
            functools.partial(_smoothing_lipschitz, lipschitz_margin, False),
        ),
        Certifier(
            "theorem-3.5-paper",
            "Theorem 3.5 (paper's constant)",
            functools.partial(_smoothing_lipschitz, lipschitz_radius, True),
            functools.partial(_smoothing_lipschitz, lipschitz_margin, True),
        ),
    )
}


LABELS = {**{name: certifier.label for name, certifier in CERTIFIERS.items()}, "cdf": "CDF"}  # of every certificate


def check_certifier(name: str) -> str:
    """A certifier's label in tables and figures. Raises InvalidArgument, with the choices, where there is none."""
    if name not in LABELS:
        near = difflib.get_close_matches(name, LABELS, n=1)
        hint = f"; did you mean {near[0]}?" if near else "."
        raise InvalidArgument(f"certifier must be one of {', '.join(LABELS)}, got {name!r}{hint}")
    return LABELS[name]


def get_certifier(name: str) -> Certifier:
    """The certifier of that name, from (p_A, p_B). Raises InvalidArgument as `check_certifier`."""
    label = check_certifier(name)
    if name not in CERTIFIERS:
        raise InvalidArgument(f"certifier {label} needs soft votes, not bounds on two probabilities; use exact.")
    return CERTIFIERS[name]
