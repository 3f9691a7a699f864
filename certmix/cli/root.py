"""`certmix` itself: what every command registers on."""

from typing import Annotated

import typer

from certmix.cli.command import PlainGroup
from certmix.version import __version__

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
        print(f"certmix {__version__}")
        raise typer.Exit


@app.callback()
def _options(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", is_eager=True, callback=_print_version)
    ] = False,
) -> None:
    """Options of certmix itself."""
