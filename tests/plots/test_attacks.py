"""Figures of attacks: files that hold what was drawn."""

import csv

import pytest

from certmix.errors import InvalidArgument
from certmix.plots.attacks import Curve, plot_curves


def test_the_csv_holds_every_plotted_point(tmp_path):
    panels = [
        ("left", [Curve("a", [0.0, 1.0], [0.9, 0.5]), Curve("b", [0.0, 2.0], [0.8, 0.1], steps="post")]),
        ("right", [Curve("c", [0.5], [0.25], steps="pre")]),
    ]
    files = plot_curves(panels, tmp_path / "new" / "figure", xlabel="radius", percent_x=True)
    assert [name.rsplit(".", 1)[1] for name in files] == ["png", "pdf", "csv"]
    with open(files[2]) as handle:
        rows = list(csv.reader(handle))
    assert rows[0] == ["panel", "curve", "x", "accuracy"]
    assert rows[1:] == [
        ["left", "a", "0.0", "0.9"], ["left", "a", "1.0", "0.5"], ["left", "b", "0.0", "0.8"],
        ["left", "b", "2.0", "0.1"], ["right", "c", "0.5", "0.25"],
    ]  # fmt: skip


def test_a_path_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InvalidArgument, match="--out must be a path that can be written"):
        plot_curves([("t", [Curve("a", [0], [1])])], tmp_path / "file" / "figure", xlabel="x")
