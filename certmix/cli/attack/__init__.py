"""`certmix attack`: bounds from above, and what tries to refute certificates."""

import typer

from certmix.cli.command import PlainGroup

app = typer.Typer(
    cls=PlainGroup, help="Attack mixtures and certificates; Lipschitz constants.", no_args_is_help=True,
    rich_markup_mode=None,
)  # fmt: skip
