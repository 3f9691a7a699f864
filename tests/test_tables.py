"""Tables: three formats, escaped, and no number above the stored one."""

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certmix.errors import InvalidArgument
from certmix.tables import floor_text, percent_text, render_table


@given(st.floats(-1e6, 1e6), st.integers(0, 9))
def test_no_printed_number_is_above_the_stored_one(value, digits):
    text = floor_text(value, digits)
    assert Decimal(text) <= Decimal(value) < Decimal(text) + Decimal(1).scaleb(-digits)


@given(st.integers(0, 10_000), st.integers(1, 10_000))
def test_percentages_of_counts_are_rounded_to_the_honest_side(count, total):
    exact = Fraction(100 * min(count, total), total)
    low, high = (Fraction(percent_text(min(count, total) / total, up=up)) for up in (False, True))
    assert low - Fraction(1, 10**8) <= exact <= high + Fraction(1, 10**8)
    assert high - low <= Fraction(1, 10)


def test_formats_and_escapes():
    headers, rows = ["a|b", "50%"], [["x_1", "1 & 2"], ['"q"', "3,4"]]
    assert render_table(headers, rows) == ('| a\\|b | 50%   |\n|------|-------|\n| x_1  | 1 & 2 |\n| "q"  | 3,4   |')
    assert render_table(headers, rows, "csv") == 'a|b,50%\nx_1,1 & 2\n"""q""","3,4"'
    latex = render_table(headers, rows, "latex")
    assert r"x\_1 & 1 \& 2 \\" in latex
    assert r"50\% \\" in latex
    with pytest.raises(InvalidArgument, match="markdown, latex or csv"):
        render_table(headers, rows, "html")
    with pytest.raises(InvalidArgument, match="finite"):
        floor_text(float("nan"), 2)
