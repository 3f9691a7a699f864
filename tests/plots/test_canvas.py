"""The canvas: files as a set, fonts, colours, sizes, and the legend below."""

import csv
from pathlib import Path

import numpy as np
import pytest

from certmix.errors import CertmixError, InvalidArgument
from certmix.plots.canvas import INTERVAL, RADIUS, Axis, Curve, Look, Panel, draw, plot
from certmix.plots.colours import COLOURS, hue, tint
from tests.plots.made import line_named

SHARE = Axis("Share (%)", "share", percent=True)
PANELS = [
    Panel("left", [Curve("a", [0.0, 1.0], [0.9, 0.5], [0.8, 0.4], [0.95, 0.6]), Curve("b", [0.5], [0.1], kind="mark")]),
    Panel("sigma = 0.5", [Curve("c", [0.0, 2.0], [0.8, 0.1], kind="rising"), Curve("a", [1.0], [0.25])]),
]


def test_the_csv_holds_every_plotted_number(tmp_path):
    files = plot(PANELS, tmp_path / "new" / "figure.v1", x=RADIUS, y=SHARE)
    assert [name.rsplit("/", 1)[1] for name in files] == ["figure.v1.png", "figure.v1.pdf", "figure.v1.csv"]
    with open(files[2]) as handle:
        rows = list(csv.reader(handle))
    assert rows == [
        ["panel", "curve", "radius", "share", "lower", "upper"],
        ["left", "a", "0.0", "0.9", "0.8", "0.95"], ["left", "a", "1.0", "0.5", "0.4", "0.6"],
        ["left", "b", "0.5", "0.1", "", ""], ["sigma = 0.5", "c", "0.0", "0.8", "", ""],
        ["sigma = 0.5", "c", "2.0", "0.1", "", ""], ["sigma = 0.5", "a", "1.0", "0.25", "", ""],
    ]  # fmt: skip


def test_fonts_are_truetype_whatever_the_style_says(tmp_path):
    style = tmp_path / "venue.mplstyle"
    style.write_text("pdf.fonttype: 3\ntext.usetex: True\nfont.family: serif\n")
    for look in (Look(), Look("column", str(style))):
        _, pdf_path, _ = plot(PANELS, tmp_path / "f", x=RADIUS, y=SHARE, look=look)
        pdf = Path(pdf_path).read_bytes()
        assert b"/Type3" not in pdf
        assert b"/FontFile2" in pdf
    assert b"Serif" in pdf


def test_the_same_figure_is_the_same_bytes(tmp_path):
    first, again = (plot(PANELS, tmp_path / name, x=RADIUS, y=SHARE) for name in ("a", "b"))
    for one, other in zip(first, again, strict=True):
        assert Path(one).read_bytes() == Path(other).read_bytes()


def test_nothing_is_written_where_one_file_cannot_be(tmp_path):
    (tmp_path / "figure.csv").mkdir()
    with pytest.raises(CertmixError, match=r"figure\.csv must be a file"):
        plot(PANELS, tmp_path / "figure", x=RADIUS, y=SHARE)
    assert [path.name for path in tmp_path.iterdir()] == ["figure.csv"]
    (tmp_path / "file").write_text("")
    with pytest.raises(CertmixError, match="must lie in a folder"):
        plot(PANELS, tmp_path / "file" / "figure", x=RADIUS, y=SHARE)


def test_an_unknown_style_and_an_empty_figure_are_named(tmp_path):
    with pytest.raises(InvalidArgument, match="style must be a matplotlib style sheet .*'no-such'"):
        plot(PANELS, tmp_path / "f", x=RADIUS, y=SHARE, look=Look(style="no-such"))
    with pytest.raises(InvalidArgument, match="at least one curve"):
        draw([Panel("t", [])], x=RADIUS, y=SHARE)


def test_one_name_has_one_colour_in_all_panels_and_one_entry_in_the_legend():
    figure = draw(PANELS, x=RADIUS, y=SHARE)
    left, right = figure.axes
    assert line_named(left, "a").get_color() == line_named(right, "a").get_color()
    assert len({line_named(axes, name).get_color() for axes, name in ((left, "a"), (left, "b"), (right, "c"))}) == 3
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["a", "b", "c", INTERVAL]
    assert right.get_title() == r"$\sigma$ = 0.5"


def test_a_method_of_the_table_keeps_its_colour_in_other_company():
    for others in ([], [Curve("x", [0], [1])], [Curve("no attack", [0], [1]), Curve("y", [0], [1])]):
        figure = draw([Panel("", [*others, Curve("Attacked", [0], [0.5])])], x=RADIUS, y=SHARE)
        assert line_named(figure.axes[0], "Attacked").get_color() == COLOURS[2]
        assert len({line.get_color() for line in figure.axes[0].get_lines()}) == 1 + len(others)


def test_dollars_in_a_name_stay_text():
    figure = draw([Panel("cost $x^{$", [Curve("a_$b$_{", [0], [1])])], x=RADIUS, y=SHARE)
    assert figure.axes[0].get_title() == r"cost \$x^{\$"


@pytest.mark.parametrize(("width", "inches", "rows"), [("column", 3.25, 4), ("text", 6.75, 2)])
def test_width_and_panels_per_row(width, inches, rows):
    figure = draw([Panel(str(k), [Curve("a", [0, k], [1, 0])]) for k in range(4)], x=RADIUS, y=SHARE, look=Look(width))
    assert figure.get_size_inches()[0] == inches
    assert len({round(axes.get_position().y0, 3) for axes in figure.axes}) == rows
    assert len({axes.get_xlim() for axes in figure.axes}) == 1  # panels share the radius


def test_hues_and_tints():
    assert [hue(k) for k in range(7)] == list(COLOURS)
    assert hue(0, 1) == COLOURS[1]
    assert len({hue(k) for k in range(14)}) == 14
    assert tint("#000000", 0) == "#000000"
    assert tint("#000000", 1) == "#666666"


def test_step_curves_hold_on_the_right_side():
    curves = [
        Curve("falling", [0.0, 1.0], [0.9, 0.5], [0.8, 0.4], [1.0, 0.6], kind="falling"),
        Curve("rising", [0.0, 1.0], [0.9, 0.5], kind="rising"),
    ]
    (axes,) = draw([Panel("", curves)], x=RADIUS, y=SHARE).axes
    falling = line_named(axes, "falling")
    assert falling.get_drawstyle() == "steps-pre"
    np.testing.assert_array_equal(falling.get_xydata(), [[0, 90], [1, 50], [1, 0]])
    assert line_named(axes, "rising").get_drawstyle() == "steps-post"
