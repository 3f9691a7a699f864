"""Imports point one way: the maths half never touches torch, nothing imports the command line."""

import ast
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "certmix"
MODULES = sorted(PACKAGE.rglob("*.py"))
MATHS = (
    *("soft_votes", "intervals", "certifiers", "soft_bounds", "sequential"),
    *("certification", "certification_log", "count_table", "curves", "clean_accuracy", "pareto", "tables"),
    *("adaptive_certification", "mixing_calibration", "mixing_plots", "plots"),
)
# certmix modules that each part of the maths half may import, besides its own and errors.
ALLOWED = {
    "soft_votes": set(),
    "intervals": {"soft_votes"},
    "soft_bounds": {"certifiers", "intervals", "soft_votes"},
    "sequential": {"certifiers", "intervals"},
    "certifiers": set(),
    "certification": {
        "certifiers",
        "intervals",
        "sequential",
        "soft_bounds",
        "statistics_store",
    },  # the last for its type only
    "tables": set(),
    "curves": {"certification", "intervals"},
    "count_table": {"certification", "intervals"},
    "certification_log": {"certification", "certifiers", "intervals", "tables"},
    "clean_accuracy": set(),
    "pareto": {"certification", "clean_accuracy", "curves", "intervals", "statistics_store"},
    "adaptive_certification": {"certification", "clean_accuracy", "pareto", "statistics_store"},  # the last: its type
    "mixing_calibration": {"clean_accuracy"},
    "mixing_plots": {"plots"},
    "plots": {"certification", "certifiers", "curves", "pareto", "tables"},
}


def _imports(path):
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def _part(path):
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(PACKAGE)))
def test_imports_point_one_way(path):
    part = _part(path)
    for name in _imports(path):
        if part in MATHS:
            assert name.split(".")[0] != "torch"
        if part not in ("cli", "__main__"):
            assert not name.startswith("certmix.cli")
        if part in ALLOWED and name.startswith("certmix."):
            assert name.split(".")[1] in {*ALLOWED[part], part, "errors"}, f"{path.name} imports {name}"


def test_only_the_statistics_type_is_taken_from_the_store():
    text = (PACKAGE / "certification.py").read_text()
    assert text.count("certmix.runs.store") == 1
    assert "if TYPE_CHECKING:\n    from certmix.runs.store import Statistics" in text
