"""Tables: three formats, escaped, and no number above the stored one; radii worth a column."""

from decimal import Decimal
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from certmix.errors import InvalidArgument
from certmix.tables import default_radii, floor_text, percent_text, render_table


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


@given(st.floats(1e-6, 1e3))
def test_default_radii_are_round_few_and_reach_the_largest(largest):
    radii = default_radii(largest)
    step = radii[1]
    assert radii == sorted(set(radii))
    assert radii[0] == 0.0
    assert 3 <= len(radii) <= 7
    assert radii[-1] <= largest < radii[-1] + step * (1 + 1e-9)
    assert all(len(f"{radius:.12g}".strip("0.").replace(".", "").split("e")[0]) <= 3 for radius in radii)


def test_default_radii_of_known_runs():
    assert default_radii(0.097) == [0.0, 0.025, 0.05, 0.075]
    assert default_radii(0.79) == [0.0, 0.25, 0.5, 0.75]
    assert default_radii(3.81) == [0.0, 1.0, 2.0, 3.0]
    assert default_radii(0.3) == [0.0, 0.05, 0.1, 0.15, 0.2, 0.25]  # the float .3 is below .3
    assert default_radii(0.0) == [0.0]
    for bad in (-1.0, float("inf"), float("nan")):
        with pytest.raises(InvalidArgument, match="largest must be >= 0"):
            default_radii(bad)


def test_markdown_aligns_numbers_to_the_right():
    table = render_table(["name", "a|b", "50%"], [["x|1", "1", "94.6 [91.4, 97.0]"], ["y", "12", ""]])
    assert table == (
        "| name | a\\|b |               50% |\n|------|-----:|------------------:|\n"
        "| x\\|1 |    1 | 94.6 [91.4, 97.0] |\n| y    |   12 |                   |"
    )


def test_csv_leaves_text_as_it_is():
    assert (
        render_table(["a|b", "50%"], [["x_1", "1 & 2"], ['"q"', "3,4"]], "csv") == 'a|b,50%\nx_1,1 & 2\n"""q""","3,4"'
    )


def test_latex_is_escaped_aligned_and_says_what_it_needs():
    headers = ["sigma", "model", "r = 0.5", "clean >= 90.5", "matched sigma 0.25, weight 1"]
    rows = [
        ["0.25", r"a_b\c{<$1>}", "94.6 [91.4, 97.0]", "", "1 & 2"],
        ["1", "sigma 2: 0.1", "0.0 [0.0, 1.3]", "", "1"],
    ]
    assert render_table(headers, rows, "latex").split("\n") == [
        r"\begin{tabular}{rlrlr} % \usepackage{booktabs}",
        r"\toprule",
        r"$\sigma$ & model & $r = 0.5$ & clean $\geq$ 90.5 & \shortstack[r]{matched $\sigma = 0.25$, \\ weight 1} \\",
        r"\midrule",
        r"0.25 & a\_b$\backslash$c\{$<$\$1$>$\} & $94.6\,_{91.4}^{97.0}$ &  & 1 \& 2 \\",
        r"1 & $\sigma = 2$: 0.1 & $0.0\,_{0.0\phantom{0}}^{1.3\phantom{0}}$ &  & 1 \\",
        r"\bottomrule",
        r"\end{tabular}",
    ]


def test_a_caption_makes_a_float_of_latex_and_is_left_out_elsewhere():
    said = "300 inputs of folder:my_data in runs/sigma-1, sigma 0.5, 95 % intervals at l2 radius r, p_A."
    table = render_table(["a"], [["1"]], "latex", said)
    assert table.startswith(
        "\\begin{table} % \\usepackage{booktabs,graphicx}\n\\centering\n\\caption{300 inputs of folder:my\\_data "
    )
    assert r"in runs/\allowbreak sigma-1, $\sigma = 0.5$, 95 \% intervals at $\ell_2$ radius $r$, $p_A$.}" in table
    assert table.endswith("\\end{tabular}}\n\\end{table}")
    for other in ("markdown", "csv"):
        assert render_table(["a"], [["1"]], other, said) == render_table(["a"], [["1"]], other)


def test_what_cannot_be_printed_is_named():
    with pytest.raises(InvalidArgument, match="markdown, latex or csv"):
        render_table(["a"], [["1"]], "html")
    with pytest.raises(InvalidArgument, match="finite"):
        floor_text(float("nan"), 2)
