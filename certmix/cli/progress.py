"""Progress on stderr: a bar on a terminal, a plain line now and then in a log file, silent with --quiet."""

import contextlib
import sys
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from certmix.cli.output import printable

if TYPE_CHECKING:
    from rich.progress import Progress

_LEAST, _MOST = 10.0, 300.0  # seconds between two lines of a log


class Watch:
    """How far something is, how long it has taken, and how long the rest will: a callback (done, in all, note="").

    The speed is that since the first call: a resumed command begins with much done. By itself it shows nothing.
    """

    def __init__(self, what: str, clock: Callable[[], float] = time.monotonic) -> None:
        self.what, self.clock = what, clock
        self.done, self.total, self.note = 0, 0, ""
        self._began, self._first = clock(), (0.0, -1)

    def __call__(self, done: int, total: int, note: str = "") -> None:
        """Take in that so many of so many are done."""
        self.done, self.total, self.note = done, total, note or f"{done} of {total}"
        if self._first[1] < 0:
            self._first = self.clock(), done
        self.show()

    @property
    def elapsed(self) -> float:
        """Seconds since the start."""
        return self.clock() - self._began

    @property
    def left(self) -> float | None:
        """Seconds that the rest will take; None while there is no speed."""
        at, made = self._first[0], self.done - self._first[1]
        return (self.clock() - at) * (self.total - self.done) / made if self._first[1] >= 0 and made > 0 else None

    def show(self) -> None:
        """At every call."""

    def say(self, line: str) -> None:
        """Show a line that belongs to what is going on."""

    def mention(self, line: str) -> None:
        """Show a line that a bar makes needless, unless there was one just now."""


class Log(Watch):
    """Lines in a file: one when a tenth more is done but not every few seconds, and one where five minutes have passed."""

    def __init__(self, what: str, clock: Callable[[], float] = time.monotonic) -> None:
        super().__init__(what, clock)
        self._said_at, self._said = clock(), 0

    def show(self) -> None:
        """Say a line if it is time for one."""
        passed, more = self.clock() - self._said_at, self.done - max(self._said, self._first[1])
        if passed >= _MOST or (passed >= _LEAST and 10 * more >= self.total and self.done < self.total):
            share = f"{100 * self.done // max(self.total, 1)} %"
            rest = "" if self.left is None else f", about {duration(self.left)} left"
            self.say(f"{self.what}: {self.note} ({share}), {duration(self.elapsed)} gone{rest}")

    def say(self, line: str) -> None:
        """A line on stderr; the next is due later."""
        print(printable(line), file=sys.stderr, flush=True)
        self._said_at, self._said = self.clock(), self.done

    def mention(self, line: str) -> None:
        """A line every ten seconds."""
        if self.clock() - self._said_at >= _LEAST:
            self.say(line)


class Bar(Watch):
    """A bar that is drawn anew in its place, with lines above it."""

    def __init__(self, what: str, progress: "Progress") -> None:
        super().__init__(what)
        self._progress = progress
        self._task = progress.add_task(what, total=None, note="")

    def show(self) -> None:
        """Draw."""
        self._progress.update(self._task, completed=self.done, total=self.total, note=self.note)

    def say(self, line: str) -> None:
        """A line above the bar."""
        print(printable(line), file=sys.stderr)  # which rich moves above the bar


@contextlib.contextmanager
def progress_bar(what: str, *, quiet: bool = False) -> Iterator[Watch]:
    """A callback (done, in all, note="") that shows on stderr how far a block is; the total may change.

    Args:
        what: text before the bar.
        quiet: show nothing.
    """
    if quiet:
        yield Watch(what)
    elif sys.stderr is not None and sys.stderr.isatty():
        yield from _on_terminal(what)
    else:
        log = Log(what)
        yield log
        if log.total and log.done == log.total:
            log.say(f"{what}: {log.note}, took {duration(log.elapsed)}")


def _on_terminal(what: str) -> Iterator[Watch]:
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
        TimeElapsedColumn,
        TimeRemainingColumn,
    )
    from rich.table import Column

    columns = (  # only the bar may shrink
        TextColumn("{task.description}", markup=False),
        BarColumn(bar_width=None),
        TaskProgressColumn(table_column=Column(no_wrap=True)),
        TimeElapsedColumn(Column(no_wrap=True)),
        TextColumn("gone"),
        TimeRemainingColumn(table_column=Column(no_wrap=True)),
        TextColumn("left"),
        TextColumn("{task.fields[note]}", markup=False),
    )
    with Progress(*columns, console=Console(stderr=True), expand=True) as progress:
        yield Bar(what, progress)


def duration(seconds: float) -> str:
    """A time in words, with two digits or so.

    Example:
        >>> duration(71.2), duration(2650.0), duration(7500.0)
        ('71 s', '44 min', '2 h 5 min')
    """
    if seconds < 99.5:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 100 else f"{minutes // 60} h {minutes % 60} min"
