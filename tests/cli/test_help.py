"""Every command's help: order, whole short help, examples, one meaning per name. Walks the registered commands."""

import subprocess
import sys

import pytest
import typer

import certmix
import certmix.cli.main
from certmix.certifiers import CERTIFIERS as REGISTRY
from certmix.cli.options import CERTIFIERS
from certmix.cli.root import app

CORE = [
    "demo",
    "train",
    "sample",
    "certify",
    "pareto",
    "chain",
    "plot",
    "report",
    "predict",
    "verify",
    "inspect",
    "export",
    "leaderboard",
]


def _walk(command, path=()):
    """(path, command) of every command that does something."""
    children = getattr(command, "commands", None)
    if children is None:
        yield path, command
        return
    for name, child in children.items():
        yield from _walk(child, (*path, name))


ROOT = typer.main.get_command(app)
COMMANDS = dict(_walk(ROOT))


def test_core_commands_come_first_and_in_order():
    assert list(ROOT.commands)[: len(CORE)] == CORE


def test_short_help_is_whole_at_80_columns(run, monkeypatch):
    monkeypatch.setenv("COLUMNS", "80")
    groups = {path[:-1] for path in COMMANDS}
    for path in groups:
        shown = run(*path, "--help").out
        assert "..." not in shown.partition("Commands:")[2], shown


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_every_command_has_help_with_an_example(run, path):
    result = run(*path, "--help")
    assert result.code == 0
    assert f"\n    certmix {' '.join(path)} " in result.out
    assert result.out.endswith("\n")


def test_a_name_means_one_thing_in_all_commands():
    meanings = {}
    for path, command in COMMANDS.items():
        for parameter in command.params:
            for name in parameter.opts if parameter.param_type_name == "option" else ():
                kind = (parameter.name, parameter.is_flag)
                assert meanings.setdefault(name, kind) == kind, (name, path)


def test_every_command_that_runs_a_model_takes_a_device_and_a_batch_size():
    running = set()
    for path, command in COMMANDS.items():
        options = {name: parameter.default for parameter in command.params for name in parameter.opts}
        if path == ("train",) or {"--robust", "--accurate", "-M", "--device"} & set(options):
            running.add(path[0])
            assert options["--device"] == "auto", path
            # What is drawn again is drawn with the batch size that its run names.
            assert ("--batch-size" in options) == (path not in {("verify",), ("leaderboard",)}), path
    # The demo runs its own on the CPU, so that everybody sees the same.
    assert set(ROOT.commands) - running == {"demo", "pareto", "chain", "plot", "report", "export"}


def test_cohens_names_are_accepted():
    names = {name for parameter in COMMANDS["sample",].params for name in parameter.opts}
    assert {"--N0", "--N", "--batch", "--skip", "--max", "--split"} <= names


def test_certifiers_of_the_command_line_are_those_of_the_registry():
    assert set(CERTIFIERS) == set(REGISTRY)


def test_the_version_is_printed(run):
    assert run("--version").out == f"certmix {certmix.__version__}\n"


def test_without_a_command_the_help_is_shown(run):
    assert run() == run("--help")


def test_help_needs_no_heavy_library():
    code = (
        "import sys; sys.argv = ['certmix', 'certify', '--help']\n"
        "from certmix.cli.main import main\n"
        "try:\n    main()\nexcept SystemExit:\n    pass\n"
        "heavy = {'torch', 'scipy', 'matplotlib', 'statsmodels', 'pyarrow', 'pandas'} & set(sys.modules)\n"
        "assert not heavy, heavy\n"
    )
    subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
