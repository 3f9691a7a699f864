"""The one place that prints results: a table or one JSON object on stdout, what a reader must know on stderr."""

import json
import sys
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from certmix.cli.options import OUTPUT, FormatOption, JsonOption, QuietOption


@dataclass(frozen=True)
class Answer:
    """How a command answers: the options that every command with an answer has."""

    panel: ClassVar[str] = OUTPUT
    as_json: JsonOption = False
    quiet: QuietOption = False

    def show(self, values: Mapping[str, Any], text: str, notes: Iterable[str] = ()) -> None:
        """The result: `values` as one JSON object, or `text` and then the notes."""
        if self.as_json:
            print(json.dumps(values, indent=2))
            return
        print(printable(text))
        self.say(*notes)

    def say(self, *lines: str) -> None:
        """Lines on stderr, unless --quiet or --json."""
        if not self.quiet and not self.as_json:
            for line in lines:
                print(printable(line), file=sys.stderr)


@dataclass(frozen=True)
class Output(Answer):
    """How a command answers with a table."""

    table_format: FormatOption = "markdown"


def printable(text: str) -> str:
    """Text whose control characters are written out, so that a file's content cannot steer the terminal.

    Example:
        >>> printable("red: \\x1b[31m")
        'red: \\\\x1b[31m'
    """
    return "".join(
        character if character.isprintable() or character in "\n\t" else character.encode("unicode_escape").decode()
        for character in text
    )
