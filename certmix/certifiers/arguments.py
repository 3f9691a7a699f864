"""Checks of what every certifier takes: one place for the rules and their one-line errors."""

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from certmix.errors import InvalidArgument

Array = NDArray[np.float64]


def checked(name: str, values: ArrayLike, rule: str, accept: Callable[[Array], Any]) -> Array:
    """Values as float64, or InvalidArgument with the first one that breaks the rule."""
    try:
        array = np.asarray(values)
        array = np.asarray(array if np.isrealobj(array) else None, dtype=np.float64)
        good = np.isfinite(array) & accept(array)
    except (TypeError, ValueError):
        raise InvalidArgument(f"{name} must be {rule}, got {values!r:.60}; pass real numbers.") from None
    if not good.all():
        raise InvalidArgument(f"{name} must be {rule}, got {float(array[~good].flat[0])!r}.")
    return array


def check_top_lower(top_lower: ArrayLike) -> Array:
    """Lower bound on the probability of h's class."""
    rule = "in [0, 1) (1: draws never give it, and it would certify everything; pass a confidence bound)"
    return checked("top_lower", top_lower, rule, lambda p: (p >= 0) & (p < 1))


def check_rival_upper(rival_upper: ArrayLike) -> Array:
    """Upper bound on the probability of every other class."""
    rule = "in (0, 1] (0: draws never give it, and it would certify everything; pass a confidence bound)"
    return checked("rival_upper", rival_upper, rule, lambda p: (p > 0) & (p <= 1))


def check_bounds(top_lower: ArrayLike, rival_upper: ArrayLike) -> tuple[Array, Array]:
    """The two probability bounds, the rival's replaced by min(rival_upper, 1 - top_lower), broadcast together."""
    top, rival = check_top_lower(top_lower), check_rival_upper(rival_upper)
    check_shapes(top_lower=top, rival_upper=rival)
    top, rival = np.broadcast_arrays(top, rival)
    return top, np.minimum(rival, 1.0 - top)


def check_threshold(threshold: ArrayLike) -> Array:
    """The confidence that h's class must exceed."""
    rule = "in [0, 1) (0 = robust model; towards 1 = accurate model)"
    return checked("threshold", threshold, rule, lambda c: (c >= 0) & (c < 1))


def check_mixing_weight(mixing_weight: ArrayLike) -> Array:
    """The weight of the robust model."""
    rule = "in [0, 1] (0 = accurate model, 1 = robust model)"
    return checked("mixing_weight", mixing_weight, rule, lambda a: (a >= 0) & (a <= 1))


def check_sigma(sigma: ArrayLike) -> Array:
    """The noise's standard deviation."""
    # Lengths beyond these are no pixel units, and their products and quotients would overflow.
    rule = "> 0 and finite (pixel units, 1e-150 to 1e150)"
    return checked("sigma", sigma, rule, lambda s: (s >= 1e-150) & (s <= 1e150))


def check_radius(radius: ArrayLike) -> Array:
    """A radius to evaluate a margin curve at."""
    return checked("radius", radius, ">= 0 and finite (pixel units)", lambda r: r >= 0)


def check_lipschitz(name: str, constant: ArrayLike) -> Array:
    """A Lipschitz constant of a class probability."""
    rule = "> 0 and finite (per pixel unit, 1e-160 to 1e160)"
    return checked(name, constant, rule, lambda c: (c >= 1e-160) & (c <= 1e160))


def check_shapes(**arrays: Array) -> None:
    """Refuses arrays that do not broadcast, naming each with its shape."""
    try:
        np.broadcast_shapes(*(array.shape for array in arrays.values()))
    except ValueError:
        shapes = ", ".join(f"{name} {array.shape}" for name, array in arrays.items())
        raise InvalidArgument(f"shapes must broadcast together, got {shapes}; add axes of length 1.") from None


def round_down(radius: Array) -> Array:
    """A float below a radius computed to a few ulps: never above the exact value, never negative."""
    return np.maximum(np.nextafter(radius * (1.0 - 1e-12), 0.0), 0.0)
