"""What files outside the package say about it agrees with the package, and it imports where Unix modules are absent."""

import ast
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from certmix.errors import RunError
from certmix.runs.writer import RunWriter
from certmix.version import __version__
from tests.records import manifest

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
UNIX = {"fcntl", "grp", "pty", "pwd", "resource", "termios", "tty"}


def _pin(name):
    return re.search(rf"^{name}==(\S+)$", (ROOT / "constraints.txt").read_text(), re.MULTILINE).group(1)


def test_the_citation_is_of_this_version():
    assert f"\nversion: {__version__}\n" in (ROOT / "CITATION.cff").read_text()


def test_pre_commit_runs_the_ruff_of_the_constraints():
    found = re.findall(r"ruff==([\d.]+)", (ROOT / ".pre-commit-config.yaml").read_text())
    assert found == [_pin("ruff")] * 2


def test_the_workflow_tests_every_python_and_the_lowest_torch_that_are_promised():
    workflow = (ROOT / ".github" / "workflows" / "test.yml").read_text()
    (pythons,) = re.findall(r"python: \[(.*)\]", workflow)
    named = [line.rpartition(" ")[2] for line in PROJECT["classifiers"] if re.search(r"Python :: 3\.\d", line)]
    assert re.findall(r"3\.\d+", pythons) == named
    assert f">={named[0]}" == PROJECT["requires-python"]
    (lowest,) = re.findall(r"\n +torch: (\d[\d.]*)", workflow)
    (floor,) = [line.partition(">=")[2] for line in PROJECT["dependencies"] if line.startswith("torch>")]
    assert lowest == f"{floor}.0"


def test_constraints_leave_the_lowest_torch_its_setuptools():
    """torch 2.11 wants a setuptools below 82, the tested one does not care."""
    assert "\nsetuptools==" not in (ROOT / "constraints.txt").read_text()


def test_every_extra_that_a_message_names_is_there():
    named = set()
    for path in (ROOT / "certmix").rglob("*.py"):
        named |= set(re.findall(r"certmix\[([a-z-]+)\]", path.read_text()))
        named |= set(re.findall(r'import_extra\("[^"]+", "([a-z-]+)"\)', path.read_text()))
    assert {"vision", "timm", "hf", "attacks"} <= named <= set(PROJECT["optional-dependencies"])


def _at_import(tree):
    """Modules imported when a file is: not those in functions."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield str(node.module).split(".")[0]
        elif not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda):
            yield from _at_import(node)


def test_no_module_needs_unix_to_be_imported():
    for path in (ROOT / "certmix").rglob("*.py"):
        assert not UNIX & set(_at_import(ast.parse(path.read_text()))), path


def test_runs_are_read_without_file_locks_and_not_written(monkeypatch, tmp_path):
    code = "import sys; sys.modules['fcntl'] = None; import certmix.cli.main, certmix.runs.store, certmix.runs.writer"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True, capture_output=True)
    monkeypatch.setitem(sys.modules, "fcntl", None)
    with pytest.raises(RunError, match="needs the file locks of Linux or macOS; runs can be read anywhere"):
        RunWriter(tmp_path / "run", manifest())
