"""Exit codes: 0 fine; 1 something does not hold; 2 everything else; 130 stopped. Always one line, never a traceback."""

import contextlib
import functools
import os
import signal
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NoReturn

import typer

from certmix.cli.output import printable
from certmix.cli.progress import duration
from certmix.errors import CertmixError

_USAGE_ERROR: type[Exception] = typer.BadParameter.__bases__[0]  # click's UsageError, or typer's own copy of it
DEBUG = "CERTMIX_DEBUG"
DRAWS_KEPT = "What was drawn is kept; the same command again goes on."


def run_to_exit(app: typer.Typer, arguments: Sequence[str]) -> NoReturn:
    """Run the command line and end the process with its exit code."""
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # what a cluster sends first: stop as with Ctrl-C
    try:
        code = _run(app, arguments)
        if sys.stdout is not None:
            sys.stdout.flush()
    except (KeyboardInterrupt, typer.Abort) as stopped:
        _end(f"certmix: stopped. {str(stopped) or 'The same command again starts anew.'}", 130)
    except Exception as error:
        if os.environ.get(DEBUG):
            traceback.print_exc()
        _end(f"certmix: error: {_reason(error)}", 2)
    raise SystemExit(code)


@contextlib.contextmanager
def if_stopped(kept: str | Callable[[], str] = DRAWS_KEPT) -> Iterator[None]:
    """What a command says it has kept, in a sentence, where Ctrl-C or a signal ends the block; without it, nothing."""
    try:
        yield
    except KeyboardInterrupt as stopped:
        raise KeyboardInterrupt(str(stopped) or (kept if isinstance(kept, str) else kept())) from None


def checkpoint_kept(checkpoint: Path) -> str:
    """What is left of a training that was stopped: its checkpoint, and how old it is."""
    if not checkpoint.exists():
        return "No checkpoint was written yet; the same command again starts anew."
    age = duration(max(time.time() - checkpoint.stat().st_mtime, 0.0))
    return f"{checkpoint}, written {age} ago, is kept; the same command again goes on from there."


def _run(app: typer.Typer, arguments: Sequence[str]) -> int:
    try:
        # Not `main`, which has exit codes of its own for a closed stdout and for Ctrl-C.
        with _built(app).make_context("certmix", list(arguments)) as context:
            context.command.invoke(context)
    except typer.Exit as stopped:
        return stopped.exit_code
    return 0


@functools.cache
def _built(app: typer.Typer) -> Any:
    """The command tree: building it takes longer than most refusals, and tests ask for thousands."""
    return typer.main.get_command(app)


def _reason(error: Exception) -> str:
    if isinstance(error, CertmixError):
        return str(error)
    if isinstance(error, _USAGE_ERROR):
        return _usage(error)
    if isinstance(error, BrokenPipeError):
        return "stdout was closed before everything was printed."
    if isinstance(error, OSError):
        return f"{error.strerror or error}{f': {error.filename}' if error.filename else ''}."
    if isinstance(error, MemoryError):
        return "memory must hold the models and the inputs, and did not; take fewer inputs or a smaller --batch-size."
    return f"unexpected {type(error).__name__}: {error}; with {DEBUG}=1 in the environment the traceback is shown."


def _usage(error: Exception) -> str:
    """A usage error as the rest says errors: the option, its rule, the value."""
    parameter, context = getattr(error, "param", None), getattr(error, "ctx", None)
    text = error.format_message()  # type: ignore[attr-defined]
    if parameter is not None and isinstance(error, typer.BadParameter) and error.message:
        name = parameter.opts[-1] if parameter.param_type_name == "option" else parameter.metavar
        return f"{name} {error.message}"
    command = context.command_path if context else "certmix"
    return f"{text.rstrip('.')}; see {command} --help."


def _end(line: str, code: int) -> NoReturn:
    """Say one line on stderr and end; where stdout is gone, keep the interpreter from writing to it once more."""
    try:
        print(printable(" ".join(line.split())), file=sys.stderr)
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError:
        with contextlib.suppress(OSError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    raise SystemExit(code)
