"""One ordered list of layers for the whole package: nothing imports upward, function-level imports included.

Imports for types alone (under TYPE_CHECKING) may point anywhere: they run nothing.
"""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "certmix"
MODULES = sorted(PACKAGE.rglob("*.py"))

# Bottom first. A layer is one part or several that do not import one another; the longest matching name is a module's.
LAYERS = (
    ("errors", "version"),
    ("files", "tables", "json_fields", "parquet", "user_files"),
    ("promise", "input_range"),
    ("intervals",),
    ("certifiers",),
    ("clean_accuracy",),
    ("rules",),
    ("certification",),
    ("runs",),
    ("specs", "noise"),
    ("datasets",),
    ("models",),
    ("curves",),
    ("pareto",),
    ("summary",),
    ("sampling",),
    ("attacks",),
    ("prediction", "certificate", "training", "lipschitz", "inspection"),
    ("lipschitz_bounds",),
    ("adaptive", "paper"),
    ("formats",),
    ("verification",),
    ("plots", "report"),
    ("cli",),
    ("__main__",),
)
RANK = {part: rank for rank, layer in enumerate(LAYERS) for part in layer}
WITHOUT_TORCH = (
    *("errors", "tables", "json_fields", "parquet", "files", "promise", "intervals", "certifiers", "clean_accuracy"),
    *("rules", "certification", "curves", "pareto", "formats", "plots", "report"),
)
LIGHT = ("errors", "version")  # all that `import certmix` may load of the package


def _part(name):
    """The layer's part that a module belongs to, by its dotted name inside the package."""
    words = name.split(".")
    for length in range(len(words), 0, -1):
        if ".".join(words[:length]) in RANK:
            return ".".join(words[:length])
    return None


def _module(path):
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__")


def _for_types(node):
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


def _imports(node):
    """Names of all modules imported below a node, but for types alone."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from (alias.name for alias in child.names)
        elif isinstance(child, ast.ImportFrom) and child.module:
            # A submodule that is imported through its folder, or a name of the module itself.
            for alias in child.names:
                inside = f"{child.module}.{alias.name}"
                yield inside if _exists(inside.removeprefix("certmix.")) else child.module
        elif not _for_types(child):
            yield from _imports(child)


def _inner(path):
    """Names of the package's modules and folders that a module imports, without the back edges that are left."""
    found = set()
    for name in _imports(ast.parse(path.read_text())):
        inside = name.removeprefix("certmix.")
        if inside != name and _exists(inside):
            found.add(inside)
    return found


def _exists(name):
    """Whether the package has a module or folder of that dotted name."""
    path = PACKAGE / name.replace(".", "/")
    return path.is_dir() or path.with_suffix(".py").is_file()


@pytest.mark.parametrize("path", [p for p in MODULES if p != PACKAGE / "__init__.py"], ids=_module)
def test_nothing_imports_upward(path):
    own = _part(_module(path))
    assert own is not None, f"{_module(path)} is in no layer; give it one"
    for name in _inner(path):
        other = _part(name)
        if other != own and not own.startswith(f"{name}."):  # a package's own front door
            assert RANK[other] < RANK[own], f"{_module(path)} imports {name}, which is not below it"


@pytest.mark.parametrize(
    "path", [p for p in MODULES if (_part(_module(p)) or "").split(".")[0] in WITHOUT_TORCH], ids=_module
)
def test_the_maths_never_touches_torch(path):
    assert not {name.split(".")[0] for name in _imports(ast.parse(path.read_text()))} & {"torch", "torchvision"}


def test_modules_form_no_circle():
    edges = {_module(path): _inner(path) - {_module(path)} for path in MODULES if path != PACKAGE / "__init__.py"}
    done, open_ = set(), []

    def visit(name):
        assert name not in open_, f"circle: {' -> '.join([*open_[open_.index(name) :], name])}"
        if name not in done:
            open_.append(name)
            for other in sorted(edges.get(name, ())):
                visit(other)
            done.add(open_.pop())

    for name in edges:
        visit(name)


def test_importing_certmix_loads_almost_nothing():
    heavy = ("certmix", "torch", "scipy", "numpy")
    code = f"import sys, certmix; print(*(name for name in sys.modules if name.split('.')[0] in {heavy}))"
    said = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=PACKAGE.parent
    ).stdout
    assert {name.removeprefix("certmix.") for name in said.split()} <= {"certmix", *LIGHT}
