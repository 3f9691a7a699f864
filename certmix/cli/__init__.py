"""The command line: one thin file per command. Heavy libraries are imported inside the commands only."""

import sys
from typing import NoReturn

import typer

from certmix.errors import CertmixError

app = typer.Typer(
    name="certmix",
    help="Certified robustness of mixed classifiers: sample once, certify for every mixing weight.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def main() -> NoReturn:
    """Run the command line; a deliberate error becomes one line on stderr and exit code 2."""
    import certmix.cli.commands  # noqa: F401  (registers every command on `app`)
    from certmix.sampling.allocator import keep_freed_memory

    keep_freed_memory()

    try:
        app()
    except CertmixError as error:
        print(f"certmix: error: {' '.join(str(error).split())}", file=sys.stderr)
        raise SystemExit(2) from None
    raise SystemExit(0)
