"""Command and Python blocks of a page, in order, and the way to run them as a reader would.

A block that cannot run here says why in a comment before it: `<!-- not run: needs a GPU -->`. A Python block after
`<!-- file: net.py -->` is that file. Sizes are cut, so that all pages together take seconds; nothing else is changed.
"""

import contextlib
import io
import re
import shlex
import shutil
import sys
from dataclasses import dataclass
from pathlib import Path

import certmix.cli.main

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("**/*.md"))]
PAGES = [page for page in PAGES if not {"generated", "_build"} & set(page.parts)]
_BLOCK = re.compile(r"^(?:<!-- (not run|file): (.+?) -->\n)?```(sh|python)\n(.*?)^```", re.MULTILINE | re.DOTALL)

# The largest size that a test takes of each command's option; where it is not written, it is added.
SIZES = {
    "demo": {"--max": 24, "--N": 500},
    "train --dataset digits --attack-radius": {"--epochs": 3},
    "train --dataset digits --holdout 0.25 --attack-radius": {"--epochs": 3},
    "train --dataset digits --holdout": {"--epochs": 20},
    "train": {"--epochs": 12},
    "sample": {"--max": 24, "--N": 500},
    "certify": {"--max": 24, "--N": 500},
    "predict": {"--max": 8, "--N": 500},
    "adaptive train": {"--max": 96, "--epochs": 2},
    "adaptive attack": {"--max": 24, "--strong-steps": 5, "--steps": 5},
    "attack mixture": {"--max": 16, "--steps": 3},
    "attack certificates": {"--max": 4, "--steps": 3, "--restarts": 1, "--judging-draws": 500},
    "attack bracket": {"--max": 4, "--steps": 3, "--restarts": 1, "--judging-draws": 200},
    "attack lipschitz": {"--max": 4, "--steps": 3},
    "paper confidence": {"--max": 16, "--steps": 3},
    "paper forms": {"--max": 16, "--steps": 2, "--points": 3},
    "verify": {"--sample": 2},
}


@dataclass(frozen=True)
class Block:
    """A fenced block: its language, its text, the line it starts on, and why it is not run, or which file it is."""

    language: str
    text: str
    line: int
    not_run: str | None
    file: str | None


def blocks_of(page: Path) -> list[Block]:
    """All blocks of a page in order."""
    text = page.read_text()
    return [
        Block(
            language=found[3],
            text=found[4],
            line=text[: found.start()].count("\n") + 1,
            not_run=found[2] if found[1] == "not run" else None,
            file=found[2] if found[1] == "file" else None,
        )
        for found in _BLOCK.finditer(text)
    ]


def commands_of(block: Block) -> list[list[str]]:
    """The words of every command of a shell block."""
    lines = block.text.replace("\\\n", " ").splitlines()
    return [words for line in lines if (words := shlex.split(line, comments=True))]


def run_command(words: list[str]) -> str:
    """Run a certmix command in this process, in the current folder; returns what it printed. Fails on an exit code.

    `> FILE` at its end puts what it printed into that file, too.
    """
    words, target = (words[:-2], words[-1]) if words[-2:-1] == [">"] else (words, None)
    assert words[0] == "certmix", f"only certmix commands run here, got {words}; mark the block `not run`, and why"
    arguments = cut(words[1:])
    if arguments[0] == "train" and Path(arguments[arguments.index("--out") + 1]).exists():
        return ""  # trained on the first page already
    printed, said = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(printed), contextlib.redirect_stderr(said):
        try:
            certmix.cli.main.run_to_exit(certmix.cli.main.app, arguments)
        except SystemExit as stopped:
            code = stopped.code
    assert code == 0, f"{shlex.join(['certmix', *arguments])}\n{said.getvalue()[-2000:]}"
    if target is not None:
        Path(target).write_text(printed.getvalue())
    return printed.getvalue()


def cut(arguments: list[str]) -> list[str]:
    """The same command at a size for tests."""
    name = next((name for name in SIZES if arguments[: len(name.split())] == name.split()), "")
    if name == "certify" and "--robust" not in arguments:
        return arguments
    made = list(arguments)
    for option, most in SIZES.get(name, {}).items():
        if option in made:
            position = made.index(option) + 1
            made[position] = str(min(int(made[position]), most))
        else:
            made += [option, str(most)]
    return made


def run_python(block: Block, names: dict[str, object]) -> str:
    """Run a Python block after those before it on the page; returns what it printed."""
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        exec(compile(block.text, f"line {block.line}", "exec"), names)
    return printed.getvalue()


def run_page(page: Path, start: Path | None, folder: Path) -> list[str]:
    """Run a page's blocks in order in `folder`, which begins as a copy of `start`; returns what each run printed."""
    if start is not None:
        shutil.copytree(start, folder, dirs_exist_ok=True)
    if "benchmarks/cifar10/runs" in page.read_text():
        shutil.copytree(ROOT / "benchmarks/cifar10/runs", folder / "benchmarks/cifar10/runs")
        shutil.copy(ROOT / "benchmarks/cifar10/classes.txt", folder / "benchmarks/cifar10")
    printed: list[str] = []
    names: dict[str, object] = {"__name__": "__main__"}
    with contextlib.chdir(folder), _importing_from(folder):
        for block in blocks_of(page):
            if block.file:
                Path(block.file).write_text(block.text)
            elif block.not_run:
                continue
            elif block.language == "python":
                printed.append(run_python(block, names))
            else:
                printed += [run_command(words) for words in commands_of(block)]
    return printed


@contextlib.contextmanager
def _importing_from(folder: Path):
    """A page's own modules, such as net.py, can be imported while it runs, and are forgotten after."""
    known = set(sys.modules)
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        for name in set(sys.modules) - known:
            if str(folder) in str(getattr(sys.modules[name], "__file__", "")):
                del sys.modules[name]
