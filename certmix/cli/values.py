"""What a typed value may be: the bounds of every number, the choices of every name, the form of every path.

Each is a parser for `typer.Option(parser=...)`: a value outside is refused before the command starts.
"""

import difflib
import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import typer

Number = TypeVar("Number", int, float)
_LONGEST_NAME = 255  # bytes, of a file's name on the usual file systems


def number(kind: type[Number], low: float, high: float = math.inf, *, ends: str = "[]") -> Callable[[str], Number]:
    """Parser of a finite number in a range.

    Args:
        kind: int or float.
        low, high: the range.
        ends: brackets of the range; "(" or ")" where an end is left out.
    """
    left, right = ends
    named = f"in {left}{low:g}, {high:g}{right}" if high < math.inf else f"{'>' if left == '(' else '>='} {low:g}"
    rule = f"must be {'a whole number ' if kind is int else ''}{named}"

    def parse(text: str) -> Number:
        try:
            value = kind(text)
        except ValueError:
            raise typer.BadParameter(f"{rule}, got {text!r}.") from None
        inside = (low < value if left == "(" else low <= value) and (value < high if right == ")" else value <= high)
        if not inside or not math.isfinite(value):  # NaN is never inside
            raise typer.BadParameter(f"{rule}, got {text}.")
        return value

    return parse


def choice(*names: str) -> Callable[[str], str]:
    """Parser of one of some names; the nearest is suggested for another."""

    def parse(text: str) -> str:
        if text in names:
            return text
        near = difflib.get_close_matches(text, names, n=1)
        hint = f"; did you mean {near[0]}?" if near else "."
        raise typer.BadParameter(f"must be one of {', '.join(names)}, got {text!r}{hint}")

    return parse


def output_path(text: str) -> Path:
    """Parser of a path to write: not empty, and no part longer than file systems take."""
    if not text.strip():
        raise typer.BadParameter("must name a path, got nothing.")
    for part in Path(text).parts:
        if len(os.fsencode(part)) > _LONGEST_NAME:
            raise typer.BadParameter(
                f"must have names of at most {_LONGEST_NAME} bytes, got one of {len(os.fsencode(part))}: {part[:40]}..."
            )
    return Path(text)


@dataclass(frozen=True)
class Numbers:
    """Numbers of a comma-separated option, ascending, each once."""

    values: tuple[float, ...]


def ascending(text: str) -> Numbers:
    """Parser of finite numbers >= 0 between commas."""
    parse = number(float, 0.0)
    return Numbers(tuple(sorted({parse(part) for part in text.split(",")})))


# The bounds, said once. A billion draws per input is beyond any budget and within what the intervals resolve.
COUNT = number(int, 1, 10**9)
SEED = number(int, 0, 2**63 - 1)
NOISE_SEED = number(int, 0, 2**128 - 1)
SIGMA = number(float, 0.0, 100.0, ends="(]")
TRAINING_SIGMA = number(float, 0.0, 100.0)
RADIUS = number(float, 0.0)
POSITIVE = number(float, 0.0, ends="(]")
WEIGHT = number(float, 0.0, 1.0)
SHARE = number(float, 0.0, 1.0, ends="()")
