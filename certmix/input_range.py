"""Inputs in another range than [0, 1], and radii in their own units.

Everything inside is in [0, 1] units; x in [low, high] is (x - low) / (high - low) there, and distances scale by high - low.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

from certmix.errors import InvalidArgument

_ROUNDING = 2.0**-24  # of an input in [0, 1] that is kept in float32, with a factor of two to spare


@dataclass(frozen=True)
class InputRange:
    """The range of inputs that are mapped to [0, 1].

    Args:
        low, high: finite, low < high.
    Raises: InvalidArgument: other values.
    """

    low: float
    high: float

    def __post_init__(self) -> None:
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            raise InvalidArgument(
                f"bounds must be finite (low, high) with low < high, got ({self.low}, {self.high}); images of a network "
                "that takes -1 to 1 have (-1, 1)."
            )

    @classmethod
    def of(cls, bounds: "InputRange | Sequence[float]") -> "InputRange":
        """The range of (low, high)."""
        if isinstance(bounds, InputRange):
            return bounds
        try:
            low, high = (float(value) for value in bounds)
        except (TypeError, ValueError):
            raise InvalidArgument(f"bounds must be (low, high), such as (-1, 1), got {bounds!r}.") from None
        return cls(low, high)

    @classmethod
    def parse(cls, text: str) -> "InputRange":
        """The range of "LOW/HIGH", as a spec writes it.

        Example:
            >>> InputRange.parse("-1/1")
            InputRange(low=-1.0, high=1.0)
        """
        try:
            low, high = (float(part) for part in text.split("/"))
        except ValueError:
            raise InvalidArgument(f"bounds must be LOW/HIGH, such as -1/1, got {text!r}.") from None
        return cls(low, high)

    def __str__(self) -> str:
        return f"[{self.low:g}, {self.high:g}]"

    def distance(self, unit_distance: float) -> float:
        """A distance of [0, 1] units in these units, never rounded up."""
        return self._down(Fraction(unit_distance))

    def radius(self, radius: float, size: int) -> float:
        """A certified l2 radius around an input in these units, rounded down.

        Guarantee: the input was rounded to float32 in [0, 1] before it was certified, which moved it by at most
        sqrt(size) 2^-25 there; that is taken off, so that the ball around the input as it was given lies in the certified
        one. The model's own inputs are float32 again: certificates hold up to that rounding, as with float noise.

        Args:
            radius: certified, in [0, 1] units, >= 0.
            size: elements of an input.
        Example:
            >>> 0.9999 < InputRange(-1.0, 1.0).radius(0.5, 3072) < 1.0
            True
        """
        kept = Fraction(radius) - Fraction(math.sqrt(size)) * Fraction(_ROUNDING)
        return self._down(max(kept, Fraction(0)))

    def _down(self, unit: Fraction) -> float:
        exact = unit * (Fraction(self.high) - Fraction(self.low))
        near = float(exact)
        return near if Fraction(near) <= exact else math.nextafter(near, -math.inf)
