"""`certmix paper`: what only reproduces the paper."""

import typer

from certmix.cli.command import PlainGroup

app = typer.Typer(
    cls=PlainGroup, help="Reproduce the paper's Table 1 and Figures 1 and 8.", no_args_is_help=True,
    rich_markup_mode=None,
)  # fmt: skip
