"""Bounds and choices of typed values: whatever the text, a value inside or a refusal that says the rule."""

import math
from pathlib import Path

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st

from certmix.cli import values


@given(st.text() | st.floats().map(str) | st.integers().map(str))
def test_every_number_parser_gives_a_number_inside_or_refuses(text):
    for parse, low, high in [
        (values.COUNT, 1, 10**9),
        (values.NOISE_SEED, 0, 2**128 - 1),
        (values.SIGMA, math.ulp(0.0), 100.0),
        (values.SHARE, math.ulp(0.0), 1.0 - 2**-53),
        (values.WEIGHT, 0.0, 1.0),
        (values.RADIUS, 0.0, float.fromhex("0x1.fffffffffffffp1023")),
    ]:
        try:
            value = parse(text)
        except typer.BadParameter:
            continue
        assert low <= value <= high


@pytest.mark.parametrize("text", ["", " ", "1e18", "1000000000000000000", "-1", "nan", "1.5", "0x10", "9" * 5000])
def test_numbers_that_are_no_count_are_refused(text):
    with pytest.raises(typer.BadParameter, match="must be a whole number from 1 to 1000000000, got "):
        values.COUNT(text)


@pytest.mark.parametrize("text", ["0", "1", "nan", "inf", "-0.1", "x"])
def test_an_open_range_leaves_its_ends_out(text):
    with pytest.raises(typer.BadParameter, match=r"must be in \(0, 1\), got "):
        values.SHARE(text)


def test_a_choice_names_the_nearest():
    parse = values.choice("markdown", "latex", "csv")
    assert parse("latex") == "latex"
    with pytest.raises(
        typer.BadParameter, match="must be one of markdown, latex, csv, got 'late'; did you mean latex?"
    ):
        parse("late")
    with pytest.raises(typer.BadParameter, match=r"got 'html'\."):
        parse("html")


def test_paths_that_no_file_system_takes_are_refused():
    assert values.output_path("a/b.tsv") == Path("a/b.tsv")
    for text in ("", "  "):
        with pytest.raises(typer.BadParameter, match="must name a path, got nothing"):
            values.output_path(text)
    with pytest.raises(typer.BadParameter, match="names of at most 255 bytes, got one of 256"):
        values.output_path("runs/" + "é" * 128)


def test_a_figure_is_no_folder(tmp_path):
    assert values.output_stem(str(tmp_path / "frontier")) == tmp_path / "frontier"
    for text in (str(tmp_path), "figures/"):
        with pytest.raises(typer.BadParameter, match="must be a path without ending, got the folder"):
            values.output_stem(text)
    with pytest.raises(typer.BadParameter, match="must name a path"):
        values.output_stem("")


def test_comma_separated_numbers_are_sorted_and_each_once():
    assert values.ascending("1,0.5,1").values == (0.5, 1.0)
    for text in ("", "1,", "a,b", "1,-1", "inf"):
        with pytest.raises(typer.BadParameter, match="must be >= 0, finite, got "):
            values.ascending(text)


@pytest.mark.parametrize("name", ["manifest.json", "shards/00000000-1-x.parquet", "shards/new"])
def test_what_a_run_is_stored_in_is_overwritten_by_nothing(tmp_path, name):
    values.output_path(str(tmp_path / "manifest.json"))  # no run yet
    (tmp_path / "shards").mkdir()
    (tmp_path / "manifest.json").write_text("{}")
    with pytest.raises(typer.BadParameter, match="must not be a file that a run is stored in"):
        values.output_path(str(tmp_path / name))
    assert values.output_path(str(tmp_path / "certificates.tsv")) == tmp_path / "certificates.tsv"
