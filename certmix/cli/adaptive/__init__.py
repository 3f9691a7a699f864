"""`certmix adaptive`: a gate that chooses the mixing weight per input (the paper's Section 4)."""

import typer

from certmix.cli.command import PlainGroup

app = typer.Typer(
    cls=PlainGroup, help="Mixtures whose gate chooses a weight per input.", no_args_is_help=True,
    rich_markup_mode=None,
)  # fmt: skip
