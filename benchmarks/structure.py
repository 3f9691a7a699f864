"""How is the package built? Counts of its modules, imports, circles, longest functions and loosest types.

    python benchmarks/structure.py [CHECKOUT]...

prints one row per checkout (this one where none is named); two checkouts side by side show what a change did.
"""

import ast
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Structure:
    """Counts over one package."""

    modules: int
    lines: int
    edges: int
    circles: int
    longest_function: str
    longest_parameter_list: str
    any_annotations: int
    string_keyed_dicts: int


def imports(path: Path, package: Path) -> Iterator[str]:
    """Modules of the package that a file imports, at any depth of its code, but for type checking only."""
    known = {module_name(other, package) for other in package.rglob("*.py")}
    for node in runtime_nodes(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom) and node.module:
            names = [f"{node.module}.{alias.name}" for alias in node.names] + [node.module]
            names = [name for name in names if name in known][:1] or [node.module]
        else:
            continue
        yield from (name for name in names if name.split(".")[0] == package.name)


def runtime_nodes(tree: ast.AST) -> Iterator[ast.AST]:
    """Nodes of a module that run: `if TYPE_CHECKING:` is left out."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING"):
            continue
        yield node
        yield from runtime_nodes(node)


def module_name(path: Path, package: Path) -> str:
    """Dotted name of a file."""
    parts = [package.name, *path.relative_to(package).with_suffix("").parts]
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def circles(graph: dict[str, set[str]]) -> list[list[str]]:
    """Groups of modules that import each other, by Tarjan's algorithm."""
    order: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(name: str) -> None:
        order[name] = low[name] = len(order)
        stack.append(name)
        for other in sorted(graph.get(name, ())):
            if other not in order:
                visit(other)
                low[name] = min(low[name], low[other])
            elif other in stack:
                low[name] = min(low[name], order[other])
        if low[name] == order[name]:
            group = stack[stack.index(name) :]
            del stack[stack.index(name) :]
            if len(group) > 1:
                found.append(sorted(group))

    for name in sorted(graph):
        if name not in order:
            visit(name)
    return found


def measure(package: Path) -> Structure:
    """The counts of a package folder."""
    paths = sorted(package.rglob("*.py"))
    graph = {module_name(path, package): set(imports(path, package)) - {module_name(path, package)} for path in paths}
    functions, parameters, anys, dicts = [], [], 0, 0
    for path in paths:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                assert node.end_lineno is not None
                functions.append((node.end_lineno - node.lineno + 1, f"{module_name(path, package)}.{node.name}"))
                count = len(node.args.posonlyargs + node.args.args + node.args.kwonlyargs)
                parameters.append((count, f"{module_name(path, package)}.{node.name}"))
            if isinstance(node, ast.Name) and node.id == "Any" and isinstance(node.ctx, ast.Load):
                anys += 1
            if isinstance(node, ast.Subscript) and ast.unparse(node) in ("dict[str, Any]", "Mapping[str, Any]"):
                dicts += 1
    long, many = max(functions), max(parameters)
    return Structure(
        modules=len(paths),
        lines=sum(len(path.read_text().splitlines()) for path in paths),
        edges=sum(map(len, graph.values())),
        circles=len(circles(graph)),
        longest_function=f"{long[0]} ({long[1]})",
        longest_parameter_list=f"{many[0]} ({many[1]})",
        any_annotations=anys,
        string_keyed_dicts=dicts,
    )


def main() -> None:
    """Print a table."""
    names = list(Structure.__dataclass_fields__)
    print(f"| checkout | {' | '.join(name.replace('_', ' ') for name in names)} |")
    print("|---" * (len(names) + 1) + "|")
    for checkout in sys.argv[1:] or [str(Path(__file__).parents[1])]:
        found = measure(Path(checkout) / "certmix")
        print(f"| {Path(checkout).name} | {' | '.join(str(getattr(found, name)) for name in names)} |")


if __name__ == "__main__":
    main()
