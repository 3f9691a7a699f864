"""What a typed value may be: the bounds of every number, the choices of every name, the form of every path.

Each is a parser for `typer.Option(parser=...)`: a value outside is refused before the command starts.
"""

import difflib
import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import typer

_LONGEST_NAME = 255  # bytes, of a file's name on the usual file systems
_SHOWN = 60  # characters of a refused value


def whole(low: int, high: int) -> Callable[[str], int]:
    """Parser of a whole number from `low` to `high`."""

    def parse(text: str) -> int:
        try:
            value = int(text)
        except ValueError:
            value = low - 1
        if not low <= value <= high:
            raise typer.BadParameter(f"must be a whole number from {low} to {high}, got {text[:_SHOWN]!r}.")
        return value

    return parse


def real(low: float, high: float = math.inf, *, ends: str = "[]") -> Callable[[str], float]:
    """Parser of a finite number in a range.

    Args:
        low, high: the range.
        ends: brackets of the range; "(" or ")" where an end is left out.
    """
    above, below = ends[0] == "(", ends[1] == ")"
    rule = f"in {ends[0]}{low:g}, {high:g}{ends[1]}" if high < math.inf else f"{'>' if above else '>='} {low:g}, finite"

    def parse(text: str) -> float:
        try:
            value = float(text)
        except ValueError:
            value = math.nan
        inside = (low < value if above else low <= value) and (value < high if below else value <= high)
        if not inside or math.isinf(value):
            raise typer.BadParameter(f"must be {rule}, got {text[:_SHOWN]!r}.")
        return value

    return parse


def choice(*names: str) -> Callable[[str], str]:
    """Parser of one of some names; the nearest is suggested for another."""

    def parse(text: str) -> str:
        if text in names:
            return text
        near = difflib.get_close_matches(text, names, n=1)
        hint = f"; did you mean {near[0]}?" if near else "."
        raise typer.BadParameter(f"must be one of {', '.join(names)}, got {text[:_SHOWN]!r}{hint}")

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
    if _is_stored(Path(text)):
        raise typer.BadParameter(f"must not be a file that a run is stored in, got {text[:_SHOWN]!r}; choose another.")
    return Path(text)


def _is_stored(path: Path) -> bool:
    """Whether a path is the manifest or a shard of a run: what was drawn is overwritten by nothing, --force or not."""
    if path.name == "manifest.json":
        return path.exists() and (path.parent / "shards").is_dir()
    return path.parent.name == "shards" and (path.parent.parent / "manifest.json").exists()


def output_stem(text: str) -> Path:
    """Parser of a path without ending, to which figures add theirs: not a folder, beside which they would land."""
    path = output_path(text)
    if text.endswith(("/", "\\")) or path.is_dir():
        raise typer.BadParameter(
            f"must be a path without ending, got the folder {text!r}; add a name, as in {text}figure."
        )
    return path


@dataclass(frozen=True)
class Numbers:
    """Numbers of a comma-separated option."""

    values: tuple[float, ...]


def ascending(text: str) -> Numbers:
    """Parser of finite numbers >= 0 between commas: ascending, each once."""
    return Numbers(tuple(sorted({RADIUS(part) for part in text.split(",")})))


# The bounds, said once. A billion draws per input is beyond any budget and within what the intervals resolve.
COUNT = whole(1, 10**9)
SEED = whole(0, 2**63 - 1)
NOISE_SEED = whole(0, 2**128 - 1)
SIGMA = real(0.0, 100.0, ends="(]")
TRAINING_SIGMA = real(0.0, 100.0)
RADIUS = real(0.0)
POSITIVE = real(0.0, ends="(]")
WEIGHT = real(0.0, 1.0)
THRESHOLD = real(0.0, 1.0, ends="[)")
CONFIDENCE = real(0.5, 1.0, ends="()")
SHARE_OF_PAST = real(0.0, 1.0, ends="[)")
SHARE = real(0.0, 1.0, ends="()")
