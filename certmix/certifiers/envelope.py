"""Envelopes: what is known of h on a ball around the input, whatever the rule that uses it.

L(r) <= h_y and U(r) >= h_i for every rival i, at all points within r of x; L falls and U rises with r. A rule keeps h's
class on a region of (h_y, max h_i), and its certificate is the radius at which (L(r), U(r)) leaves that region.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from certmix.certifiers.arguments import Array, check_lipschitz, check_shapes, check_sigma
from certmix.certifiers.exact import exact_radius, exact_rival, exact_rival_radius, exact_top, exact_top_radius
from certmix.certifiers.lipschitz import (
    lipschitz_radius,
    lipschitz_rival,
    lipschitz_rival_radius,
    lipschitz_top,
    lipschitz_top_radius,
    smoothing_lipschitz_constant,
)

Curve = Callable[[ArrayLike, ArrayLike, ArrayLike], Array]


@dataclass(frozen=True)
class Envelope:
    """Two curves over the radius and their inverses, all rounded to the safe side; radii in pixel units.

    Attributes:
        top: (top_lower, radius, sigma) -> L(r).
        rival: (rival_upper, radius, sigma) -> U(r).
        top_radius: (top_lower, threshold, sigma) -> sup{r : L(r) > threshold}.
        rival_radius: (rival_upper, threshold, sigma) -> sup{r : U(r) <= threshold}.
        crossing_radius: (top_lower, rival_upper, sigma) -> sup{r : L(r) > U(r)}: that of h itself, at weight 1.
    """

    top: Curve
    rival: Curve
    top_radius: Curve
    rival_radius: Curve
    crossing_radius: Curve


EXACT = Envelope(
    top=exact_top,
    rival=exact_rival,
    top_radius=exact_top_radius,
    rival_radius=exact_rival_radius,
    crossing_radius=lambda top_lower, rival_upper, sigma: exact_radius(top_lower, rival_upper, 1.0, sigma),
)


def lipschitz_envelope(top_constant: ArrayLike, rival_constant: ArrayLike) -> Envelope:
    """Theorem 3.5's envelope, L(r) = p_A - r L_y and U(r) = p_B + r L_i, in the l_p norm of the constants.

    Source: Bai et al., Adaptive Smoothing, arXiv:2301.12554, Theorem 3.5.

    Args:
        top_constant, rival_constant: Lipschitz constants of h_y and of every h_i per unit of sigma, > 0; with
            sigma = 1 they are constants per pixel unit.
    Raises: InvalidArgument: a constant that is not positive.
    """
    constants = check_lipschitz("top_constant", top_constant), check_lipschitz("rival_constant", rival_constant)

    def slopes(sigma: ArrayLike) -> tuple[Array, Array]:
        scale = check_sigma(sigma)
        check_shapes(top_constant=constants[0], rival_constant=constants[1], sigma=scale)
        first, second = (np.nextafter(constant / scale, np.inf) for constant in constants)
        return first, second

    return Envelope(
        top=lambda top_lower, radius, sigma: lipschitz_top(top_lower, radius, slopes(sigma)[0]),
        rival=lambda rival_upper, radius, sigma: lipschitz_rival(rival_upper, radius, slopes(sigma)[1]),
        top_radius=lambda top_lower, threshold, sigma: lipschitz_top_radius(top_lower, threshold, slopes(sigma)[0]),
        rival_radius=lambda upper, threshold, sigma: lipschitz_rival_radius(upper, threshold, slopes(sigma)[1]),
        crossing_radius=lambda top, rival, sigma: lipschitz_radius(top, rival, 1.0, *slopes(sigma)),
    )


THEOREM_3_5_L1 = lipschitz_envelope(0.5, 0.5)  # per unit of Lambda: `splitting_lipschitz_constant`
THEOREM_3_5, THEOREM_3_5_PAPER = (
    lipschitz_envelope(constant, constant)
    for constant in (smoothing_lipschitz_constant(1.0), smoothing_lipschitz_constant(1.0, paper=True))
)
