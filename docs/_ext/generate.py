"""Pages made from the code itself while the site is built: commands, API, formats, results, the report of CIFAR-10.

Nothing here is a copy to keep: they go to docs/generated/, which git ignores; a file whose content stays is left alone,
so that a rebuild is quick.
"""

import contextlib
import importlib
import inspect
import pkgutil
import shutil
from collections.abc import Iterable, Iterator
from pathlib import Path

import formats
import typer
from sphinx.application import Sphinx
from sphinx.config import Config
from typer.core import TyperArgument, TyperCommand, TyperOption

import certmix
import certmix.cli.main
from certmix.cli.root import app as commands

DOCS = Path(__file__).parents[1]
ROOT, OUT = DOCS.parent, DOCS / "generated"

# The arrow line, left to right: page, title, the parts of the package on it. What no page names goes to the last one.
PAGES = (
    ("models-and-data", "Models and data", ("models", "datasets", "input_range", "specs", "user_files")),
    ("draws", "Noise, sampling, runs", ("noise", "sampling", "runs")),
    ("bounds", "Bounds on probabilities", ("promise", "intervals")),
    ("certifiers", "Certifiers", ("certifiers", "lipschitz_bounds")),
    ("rules", "Rules", ("rules", "clean_accuracy")),
    ("certification", "Certification", ("certification", "certificate")),
    ("curves", "Curves and frontiers", ("curves", "pareto", "summary")),
    ("prediction", "Prediction", ("prediction",)),
    ("training", "Training", ("training",)),
    ("attacks", "Attacks and estimates", ("attacks", "lipschitz")),
    ("adaptive", "Adaptive mixtures", ("adaptive",)),
    ("paper", "The paper's comparisons", ("paper",)),
    ("verification", "Verification and formats", ("verification", "formats")),
    ("output", "Figures, reports and the rest", ("plots", "report")),
)
NOT_IMPORTED = ("certmix.noise.kernels", "certmix.cli", "certmix.__main__")  # Triton's language; the command line


def generate(app: Sphinx, config: Config) -> None:
    """Write every generated page."""
    groups = typer.main.get_command(commands).commands  # type: ignore[attr-defined]
    core = {name: command for name, command in groups.items() if not hasattr(command, "commands")}
    _write("commands/core.md", _commands("Core commands", (), core))
    for name, group in groups.items():
        if hasattr(group, "commands"):
            _write(f"commands/{name}.md", _commands(f"certmix {name}", (name,), group.commands, group.help or ""))
    for page, title, modules in _api_pages():
        _write(f"api/{page}.md", _api_page(title, modules))
    _write("public_names.md", _public_names())
    for name, table in formats.tables().items():
        _write(f"formats/{name}.md", table)
    for path in sorted((ROOT / "benchmarks" / "results").iterdir()):
        if path.suffix in (".md", ".png"):
            _copy(path, OUT / "results" / path.name)
    _report(OUT / "site" / "report-cifar10.html")
    for name in ("CONTRIBUTING.md", "SECURITY.md"):
        _copy(ROOT / name, OUT / name)
    _copy(ROOT / "notebooks" / "adaptive_smoothing_certificates.ipynb", OUT / "story.ipynb")


def _write(name: str, text: str) -> None:
    path = OUT / name
    if not path.exists() or path.read_text() != text:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def _copy(source: Path, target: Path) -> None:
    if not target.exists() or target.read_bytes() != source.read_bytes():
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)


def _report(page: Path) -> None:
    """The report of the committed CIFAR-10 runs, by the commands of docs/start/cifar10.md; left alone if nothing is newer."""
    study = ROOT / "benchmarks" / "cifar10" / "runs"
    sources = [
        path for folder in (study, ROOT / "certmix") for path in folder.rglob("*") if path.suffix not in ("", ".pyc")
    ]
    if page.exists() and page.stat().st_mtime > max(path.stat().st_mtime for path in sources):
        return
    page.parent.mkdir(parents=True, exist_ok=True)
    runs, chained = [f"benchmarks/cifar10/runs/gaussian-{sigma}" for sigma in ("0.25", "0.50")], str(OUT / "chained")
    choice = ["--confidence", "0.75", "--target", "0.86", "--choose-on", "0.5", "--out", chained, "--force", "--quiet"]
    names = ["--class-names", "benchmarks/cifar10/classes.txt", "--title", "CIFAR-10: certified robustness"]
    shown = [*names, "--certificates", chained, "--images", "0", "--out", str(page), "--force", "--quiet"]
    with contextlib.chdir(ROOT), contextlib.redirect_stdout(None):  # the page names its runs as a reader does
        for words in (["chain", *runs, *choice], ["report", *runs, *shown]):
            typer.main.get_command(commands)(words, standalone_mode=False)


def _commands(title: str, path: tuple[str, ...], group: dict[str, TyperCommand], says: str = "") -> str:
    lines = [f"# {title}", "", says, ""]
    for name, command in group.items():
        words = ("certmix", *path, name)
        lines += [f"(command-{'-'.join((*path, name))})=", f"## {' '.join(words)}", "", *_help(command.help or "")]
        panels: dict[str, list[str]] = {}
        for parameter in command.params:
            default = "Arguments" if parameter.param_type_name == "argument" else "Options"
            panel = getattr(parameter, "rich_help_panel", None) or default
            panels.setdefault(panel, []).append(_row(parameter))
        for panel, rows in panels.items():
            lines += [f"| {panel} | |", "|---|---|", *rows, ""]
    return "\n".join(lines)


def _help(text: str) -> Iterator[str]:
    """A command's docstring: its indented lines are what to type."""
    shown = False
    for line in text.replace("\b", "").splitlines():
        code = line.startswith("  ") and line.strip().startswith(("certmix", "torchrun", "--"))
        if code != shown:
            yield from ("", "```sh") if code else ("```", "")
        shown = code
        yield line[2:] if code else _prose(line.strip())
    yield from ("```", "") if shown else ("",)


def _prose(line: str) -> str:
    return f"{line}  " if line else ""  # a line of help stays one


def _row(parameter: TyperOption | TyperArgument) -> str:
    names = ", ".join(parameter.opts) if parameter.param_type_name == "option" else ""
    metavar = "" if getattr(parameter, "is_flag", False) else parameter.metavar or ""
    notes = []
    if parameter.required:
        notes.append("Required.")
    elif parameter.default not in (None, False, (), []) and not callable(parameter.default):
        notes.append(f"Default: `{parameter.default}`.")
    says = " ".join([(getattr(parameter, "help", None) or "").strip(), *notes]).replace("|", "\\|").replace("*", "\\*")
    return f"| `{f'{names} {metavar}'.strip()}` | {says} |"


def _api_pages() -> Iterator[tuple[str, str, list[str]]]:
    left = [name for name in _modules() if not name.startswith(NOT_IMPORTED)]
    for page, title, parts in PAGES:
        mine = [name for part in parts for name in left if f"{name}.".startswith(f"certmix.{part}.")]
        left = [name for name in left if name not in mine]
        yield page, title, mine + (left if page == PAGES[-1][0] else [])


def _modules() -> list[str]:
    found = pkgutil.walk_packages(certmix.__path__, "certmix.")
    return sorted(module.name for module in found)


def _api_page(title: str, modules: Iterable[str]) -> str:
    lines = [f"# {title}", ""]
    for name in modules:
        private = name.rsplit(".", 1)[-1].startswith("_")
        if not private and importlib.import_module(name).__doc__:
            lines += [f"## {name.removeprefix('certmix.')}", "", "```{eval-rst}", f".. automodule:: {name}", "```", ""]
    return "\n".join(lines)


def _public_names() -> str:
    """Every name of `import certmix`, with the first sentence of what it says."""
    lines = ["| `certmix.` | |", "|---|---|"]
    for name in sorted(set(certmix.__all__), key=str.lower):
        thing = getattr(certmix, name)
        if not (inspect.isclass(thing) or inspect.isfunction(thing)):
            lines.append(f"| `{name}` | The value {thing!r}. |")
            continue
        role = "class" if inspect.isclass(thing) else "func"
        first = (inspect.getdoc(thing) or "").split("\n\n")[0].replace("\n", " ").split(". ")[0].rstrip(".")
        first = first.replace("|", "\\|").replace("*", "\\*")
        lines.append(f"| {{py:{role}}}`{name} <{thing.__module__}.{thing.__qualname__}>` | {first}. |")
    return "\n".join(lines) + "\n"


def setup(app: Sphinx) -> dict[str, bool]:
    """Generate before Sphinx looks for pages."""
    app.connect("config-inited", generate)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
