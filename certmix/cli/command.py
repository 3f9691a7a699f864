"""Commands whose options come in groups: a group is a dataclass, its fields are options, its panel their heading."""

import copy
import functools
import inspect
from collections.abc import Callable, Iterable
from dataclasses import MISSING, field, fields, is_dataclass
from typing import Annotated, Any, get_type_hints

import typer
from typer.core import TyperCommand, TyperGroup

from certmix.errors import InvalidArgument


def option(
    names: str, metavar: str | None, says: str, parser: Callable[[str], object] | None = None, panel: str | None = None
) -> Any:
    """An option in one line: its names between spaces, what stands for its value, what --help says, and its parser."""
    return typer.Option(*names.split(), metavar=metavar, help=says, parser=parser, rich_help_panel=panel)


def own(
    default: object, names: str, metavar: str | None, says: str, parser: Callable[[str], object] | None = None
) -> Any:
    """An option that only one group has, as a field of it; what several share are annotations made by `option`."""
    return field(default=default, metadata={"option": option(names, metavar, says, parser)})


def command(app: typer.Typer, name: str) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Register a function as a command of `app`. A parameter whose type is a dataclass stands for the options in it."""

    def register(function: Callable[..., None]) -> Callable[..., None]:
        app.command(name, cls=PanelledCommand)(_flattened(function))
        return function

    return register


def option_names(*groups: type) -> set[str]:
    """Names of the options in some groups, for `refuse_others`."""
    return {field.name for group in groups for field in fields(group)}


def typed_options(context: typer.Context) -> dict[str, str]:
    """Options and arguments that were typed: name of the parameter -> as it is written."""
    return {
        parameter.name: parameter.opts[-1] if parameter.param_type_name == "option" else str(parameter.metavar)
        for parameter in context.command.params
        if parameter.name and getattr(context.get_parameter_source(parameter.name), "name", "") == "COMMANDLINE"
    }


def refuse_others(context: typer.Context, mode: str, allowed: Iterable[str]) -> None:
    """Refuse what was typed and is none of a mode's own options: an option that does nothing says a wrong thing.

    Args:
        context: of the command.
        mode: in words, for the error.
        allowed: names of the parameters that the mode reads.
    Raises: InvalidArgument: names every other option.
    """
    others = [text for name, text in typed_options(context).items() if name not in set(allowed)]
    if others:
        raise InvalidArgument(f"{mode} does not take {', '.join(others)}; leave out what it would not use.")


def need(mode: str, **options: object) -> None:
    """Refuse a mode without the options that it needs; keywords are their names with underscores."""
    missing = [f"--{name.replace('_', '-')}" for name, value in options.items() if value is None]
    if missing:
        raise InvalidArgument(f"{mode} needs {', '.join(missing)}; see --help for an example.")


def _flattened(function: Callable[..., None]) -> Callable[..., None]:
    """The function with every group replaced by its options."""
    groups: dict[str, type] = {}
    parameters: list[inspect.Parameter] = []
    for parameter in inspect.signature(function, eval_str=True).parameters.values():
        if isinstance(parameter.annotation, type) and is_dataclass(parameter.annotation):
            groups[parameter.name] = parameter.annotation
            parameters += _options(parameter.annotation)
        else:
            parameters.append(parameter.replace(kind=inspect.Parameter.KEYWORD_ONLY))

    @functools.wraps(function)
    def call(**values: Any) -> None:
        built = {
            name: group(**{field.name: values.pop(field.name) for field in fields(group)})
            for name, group in groups.items()
        }
        function(**built, **values)

    call.__signature__ = inspect.Signature(parameters)  # type: ignore[attr-defined]
    call.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    return call


def _options(group: Any) -> list[inspect.Parameter]:
    hints = get_type_hints(group, include_extras=True)
    return [
        inspect.Parameter(
            field.name,
            inspect.Parameter.KEYWORD_ONLY,
            default=inspect.Parameter.empty if field.default is MISSING else field.default,
            annotation=_in_panel(hints[field.name], field.metadata.get("option"), group.panel),
        )
        for field in fields(group)
    ]


def _in_panel(annotation: Any, own: Any, panel: str) -> Any:
    """The annotation of a field, its option (shared, or the field's own) listed under a heading."""
    kind, shared = (annotation, own) if own is not None else (annotation.__origin__, annotation.__metadata__[0])
    placed = copy.copy(shared)
    placed.rich_help_panel = panel
    return Annotated[kind, placed]


class PlainGroup(TyperGroup):
    """A group whose help ends with a newline."""

    def get_help(self, ctx: Any) -> str:
        """The help page."""
        return super().get_help(ctx) + "\n"


class PanelledCommand(TyperCommand):
    """Lists options under the headings of their panels, as plain text that examples survive."""

    def get_help(self, ctx: Any) -> str:
        """The help page."""
        return super().get_help(ctx) + "\n"

    def format_options(self, ctx: Any, formatter: Any) -> None:
        """Write one section per panel, in order of first appearance."""
        sections: dict[str, list[tuple[str, str]]] = {}
        for parameter in self.get_params(ctx):
            record = parameter.get_help_record(ctx)
            if record is not None:
                default = "Arguments" if parameter.param_type_name == "argument" else "Options"
                panel = getattr(parameter, "rich_help_panel", None) or default
                sections.setdefault(panel, []).append(record)
        for panel, records in sections.items():
            with formatter.section(panel):
                formatter.write_dl(records)
