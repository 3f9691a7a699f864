"""Probability bounds + mixing weight -> certified radii: one file per theorem.

Each certifier is a margin curve of h, a decreasing lower bound m(r) on h_y - h_i over the ball of radius r, and its
inverse: the mixture at weight a is certified up to sup{r : a m(r) > 1 - a} (Lemma 3.2).
"""

import difflib
import functools
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike

from certmix.certifiers.arguments import Array
from certmix.certifiers.cdf import cdf_margin, cdf_radius
from certmix.certifiers.envelope import EXACT, THEOREM_3_5, THEOREM_3_5_L1, THEOREM_3_5_PAPER, Envelope
from certmix.certifiers.exact import exact_margin, exact_radius
from certmix.certifiers.lipschitz import (
    lipschitz_margin,
    lipschitz_radius,
    smoothing_lipschitz_constant,
    splitting_lipschitz_constant,
)
from certmix.certifiers.lipschitz_smoothed import (
    lipschitz_smoothed_envelope,
    lipschitz_smoothed_margin,
    lipschitz_smoothed_radius,
)
from certmix.certifiers.margin import required_margin
from certmix.certifiers.softmax_constants import softmax_lipschitz_constant
from certmix.certifiers.theorem_a1 import theorem_a1_margin, theorem_a1_radius
from certmix.errors import InvalidArgument
from certmix.intervals import DistributionBounds, ProbabilityBounds
from certmix.intervals.histograms import THRESHOLDS
from certmix.promise import Norm

__all__ = [
    "CERTIFIERS",
    "USUAL_CERTIFIER",
    "Certifier",
    "Envelope",
    "cdf_margin",
    "cdf_radius",
    "exact_margin",
    "exact_radius",
    "get_certifier",
    "lipschitz_margin",
    "lipschitz_radius",
    "lipschitz_smoothed_envelope",
    "lipschitz_smoothed_margin",
    "lipschitz_smoothed_radius",
    "required_margin",
    "smoothing_lipschitz_constant",
    "softmax_lipschitz_constant",
    "splitting_lipschitz_constant",
    "theorem_a1_margin",
    "theorem_a1_radius",
]


Dashes = str | tuple[float, tuple[float, ...]]  # a line style of matplotlib


@dataclass(frozen=True)
class Certifier:
    """A margin curve and its inverse.

    Attributes:
        name: as on the command line.
        label: as in tables and figures.
        dashes: of its lines in figures.
        radius: (top_lower, rival_upper, mixing_weight, sigma) -> certified radius.
        margin: (top_lower, rival_upper, radius, sigma) -> margin on the ball.
        envelope: two curves over the radius, for every rule; None where only the margin is known: rules that need more
            than h_y - h_i cannot use it.
        needs: besides (p_A, p_B), to be more than the exact certificate: None, the "distributions" of soft votes, or soft
            votes and the "lipschitz" constant of the network that is smoothed (see `supposing`).
        norm: of the balls that it certifies: "l2" under Gaussian noise, "l1" under splitting noise.
    """

    name: str
    label: str
    dashes: Dashes
    radius: Callable[[ArrayLike, ArrayLike, ArrayLike, ArrayLike], Array]
    margin: Callable[[ArrayLike, ArrayLike, ArrayLike, ArrayLike], Array]
    envelope: Envelope | None = None
    needs: Literal["distributions", "lipschitz"] | None = None
    norm: Norm = "l2"

    def supposing(self, lipschitz: float | None) -> "Certifier":
        """This certifier, given L where it needs one. Raises InvalidArgument where it does and there is none."""
        if self.needs != "lipschitz":
            return self
        if lipschitz is None:
            raise InvalidArgument(
                f"certifier {self.name!r} needs lipschitz, a constant that every class probability of h's network keeps, and "
                "soft votes; give --lipschitz L."
            )

        return replace(
            self,
            radius=functools.partial(lipschitz_smoothed_radius, lipschitz=lipschitz),
            margin=functools.partial(lipschitz_smoothed_margin, lipschitz=lipschitz),
            envelope=lipschitz_smoothed_envelope(lipschitz),
        )

    def certify(self, bounds: ProbabilityBounds, mixing_weight: float) -> Array:
        """Certified radii of the mixture at one weight, shape (inputs,), from all that the bounds hold.

        The CDF certificate takes the distribution of an input where the selection draws chose it, else its means.
        """
        radius = self.radius(bounds.top_lower, bounds.rival_upper, mixing_weight, bounds.sigma)
        if self.needs == "distributions" and isinstance(bounds, DistributionBounds):
            chosen = bounds.by_distribution
            radius = np.array(radius)
            radius[chosen] = cdf_radius(bounds.tail_lower[chosen], THRESHOLDS, mixing_weight, bounds.sigma)[0]
        return radius


def _smoothing_lipschitz(
    curve: Callable[..., Array],
    constant_at: Callable[[ArrayLike], Array],
    top_lower: ArrayLike,
    rival_upper: ArrayLike,
    where: ArrayLike,
    sigma: ArrayLike,
) -> Array:
    constant = constant_at(sigma)
    return curve(top_lower, rival_upper, where, constant, constant)


def _theorem_3_5(
    name: str,
    label: str,
    dashes: Dashes,
    constant_at: Callable[[ArrayLike], Array],
    envelope: Envelope,
    norm: Norm = "l2",
) -> Certifier:
    """Theorem 3.5 with the Lipschitz constant that the noise gives h."""
    radius, margin = (
        functools.partial(_smoothing_lipschitz, curve, constant_at) for curve in (lipschitz_radius, lipschitz_margin)
    )
    return Certifier(name, label, dashes, radius, margin, envelope, norm=norm)


_PAPER_CONSTANT = functools.partial(smoothing_lipschitz_constant, paper=True)
CERTIFIERS = {
    certifier.name: certifier
    for certifier in (
        Certifier("exact", "Exact", "-", exact_radius, exact_margin, EXACT),
        Certifier("theorem-a1", "Theorem A.1", (0, (5, 2)), theorem_a1_radius, theorem_a1_margin),
        _theorem_3_5("theorem-3.5", "Theorem 3.5", (0, (1, 1.5)), smoothing_lipschitz_constant, THEOREM_3_5),
        _theorem_3_5(
            "theorem-3.5-paper", "Theorem 3.5 (paper's constant)", (0, (5, 2, 1, 2)), _PAPER_CONSTANT, THEOREM_3_5_PAPER
        ),
        _theorem_3_5(
            "theorem-3.5-l1", "Theorem 3.5, l1", (0, (3, 1.5)), splitting_lipschitz_constant, THEOREM_3_5_L1, "l1"
        ),
        Certifier("cdf", "CDF", (0, (3, 1, 1, 1, 1, 1)), exact_radius, exact_margin, needs="distributions"),
        # Until it is given a constant it supposes nothing, and is the exact certificate.
        Certifier(
            "lipschitz-smoothed",
            "Lipschitz-aware",
            (0, (7, 1.5, 1, 1.5, 1, 1.5)),
            exact_radius,
            exact_margin,
            needs="lipschitz",
        ),
    )
}


USUAL_CERTIFIER: dict[Norm, str] = {"l2": "exact", "l1": "theorem-3.5-l1"}


def check_noise(certifier: Certifier, norm: Norm) -> None:
    """Raise InvalidArgument where votes of noise that certifies balls of this norm are not a certifier's to use."""
    if certifier.norm != norm:
        able = ", ".join(name for name, one in CERTIFIERS.items() if one.norm == norm)
        noise = {"l1": "splitting", "l2": "Gaussian"}[norm]
        raise InvalidArgument(
            f"certifier must be one for {noise} noise, which certifies {norm} radii ({able}), got {certifier.name!r}."
        )


def get_certifier(name: str) -> Certifier:
    """The certifier of that name. Raises InvalidArgument, with the choices, where there is none."""
    if name not in CERTIFIERS:
        near = difflib.get_close_matches(name, CERTIFIERS, n=1)
        hint = f"; did you mean {near[0]}?" if near else "."
        raise InvalidArgument(f"certifier must be one of {', '.join(CERTIFIERS)}, got {name!r}{hint}")
    return CERTIFIERS[name]
