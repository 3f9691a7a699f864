"""Ranges: radii in own units are never rounded up."""

from fractions import Fraction

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from certmix.errors import InvalidArgument
from certmix.input_range import InputRange

NUMBERS = st.floats(-1e6, 1e6)


@settings(deadline=None, max_examples=200)
@given(NUMBERS, NUMBERS, st.floats(0, 1e3), st.integers(1, 10**6))
def test_distances_and_radii_round_down(low, high, radius, size):
    if low >= high:
        return
    units = InputRange(low, high)
    exact = Fraction(radius) * (Fraction(high) - Fraction(low))
    assert Fraction(units.distance(radius)) <= exact
    lost = Fraction(size) * Fraction(2) ** -50  # (sqrt(size) 2^-25)^2, what rounding to float32 can move an input by
    kept = units.radius(radius, size)
    unit = Fraction(kept) / (Fraction(high) - Fraction(low))
    assert kept == 0 or (unit < Fraction(radius) and (Fraction(radius) - unit) ** 2 >= lost)
    assert kept >= 0


def test_powers_of_two_are_exact():
    assert InputRange(-1, 1).distance(0.3) == 0.6


@pytest.mark.parametrize("text", ["", "1", "-1/1/2", "a/b", "1/-1", "0/inf", "nan/1"])
def test_other_texts_are_refused(text):
    with pytest.raises(InvalidArgument, match="bounds must be"):
        InputRange.parse(text)
