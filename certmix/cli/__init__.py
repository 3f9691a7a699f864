"""The command line: one thin file per command. Heavy libraries are imported inside the commands only."""

import sys
from typing import Annotated, NoReturn

import typer

from certmix.cli.command import PlainGroup

app = typer.Typer(
    name="certmix",
    cls=PlainGroup,
    help="Certified robustness of mixed classifiers: sample once, certify for every mixing weight.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _print_version(asked: bool) -> None:
    if asked:
        import certmix

        print(f"certmix {certmix.__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", is_eager=True, callback=_print_version)
    ] = False,
) -> None:
    """Options of certmix itself."""


def main() -> NoReturn:
    """Run the command line; see `certmix.cli.exits` for its exit codes."""
    import certmix.cli.commands  # noqa: F401  (registers every command on `app`)
    from certmix.cli.exits import run_to_exit
    from certmix.sampling.allocator import keep_freed_memory

    keep_freed_memory()
    run_to_exit(app, sys.argv[1:] or ["--help"])
