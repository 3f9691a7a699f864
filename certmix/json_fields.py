"""Reading JSON that somebody else may have written: every field is checked, nothing is taken on trust."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TypeVar

from certmix.errors import RunError

Read = TypeVar("Read")
MOST = 2**63 - 1  # integers beyond it fit into no table


def first_difference(stored: Mapping[str, object], asked: Mapping[str, object], *, whole: str = "") -> str | None:
    """The first field that differs, in words: "sigma: the run has 0.5, asked for is 0.25"; None where all agree.

    Args:
        stored, asked: objects of JSON values; fields of objects inside are named with dots.
        whole: name of an object that is compared, and shown, as one value.
    """
    left, right = dict(_flatten(stored, whole)), dict(_flatten(asked, whole))
    for key in {**left, **right}:
        if left.get(key) != right.get(key):
            return f"{key}: the run has {left.get(key)!r}, asked for is {right.get(key)!r}"
    return None


def _flatten(tree: Mapping[str, object], whole: str, prefix: str = "") -> Iterator[tuple[str, object]]:
    for key, value in tree.items():
        if isinstance(value, Mapping) and prefix + key != whole:
            yield from _flatten(value, whole, f"{prefix}{key}.")
        else:
            yield prefix + key, value


class Fields:
    """The fields of one JSON object, taken out one by one; `end` refuses what is left.

    Args:
        tree: parsed JSON, expected to be an object.
        where: what it is, for errors, e.g. "runs/half/manifest.json: draws".
    Raises: RunError: from every method, naming the field, its rule and its value.
    """

    def __init__(self, tree: object, where: str) -> None:
        if not isinstance(tree, dict):
            raise RunError(f"{where} must be a JSON object, got {tree!r:.60}; restore it from a copy.")
        self._left, self.where = dict(tree), where

    def _take(self, name: str) -> object:
        if name not in self._left:
            raise RunError(f"{self.where} must hold {name}, and does not; restore it from a copy.")
        return self._left.pop(name)

    def _refuse(self, name: str, rule: str, value: object) -> RunError:
        return RunError(f"{self.where}: {name} must be {rule}, got {value!r:.80}; restore it from a copy.")

    def text(self, name: str) -> str:
        """A string of at most 4,096 characters."""
        value = self._take(name)
        if not isinstance(value, str) or len(value) > 4096:
            raise self._refuse(name, "a text", value)
        return value

    def sha256(self, name: str) -> str:
        """64 hexadecimal digits."""
        value = self.text(name)
        if len(value) != 64 or set(value) - set("0123456789abcdef"):
            raise self._refuse(name, "a sha256 in hexadecimal", value)
        return value

    def choice(self, name: str, choices: Sequence[str]) -> str:
        """One of some words."""
        value = self._take(name)
        if value not in choices:
            raise self._refuse(name, f"one of {', '.join(choices)}", value)
        return str(value)

    def flag(self, name: str) -> bool:
        """True or false."""
        value = self._take(name)
        if not isinstance(value, bool):
            raise self._refuse(name, "true or false", value)
        return value

    def integer(self, name: str, low: int, high: int = MOST) -> int:
        """A whole number in [low, high]."""
        value = self._take(name)
        if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
            raise self._refuse(name, f"a whole number in [{low}, {high}]", value)
        return value

    def number(self, name: str, low: float, high: float = math.inf, *, open_low: bool = False) -> float:
        """A finite number in [low, high], or (low, high]."""
        value = self._take(name)
        good = not isinstance(value, bool) and isinstance(value, int | float) and math.isfinite(value)
        if not (good and low <= value <= high and not (open_low and value == low)):  # type: ignore[operator]
            raise self._refuse(name, f"a finite number in {'(' if open_low else '['}{low:g}, {high:g}]", value)
        return float(value)  # type: ignore[arg-type]

    def integers(self, name: str, low: int, high: int = MOST) -> tuple[int, ...]:
        """A list of at most 4,096 whole numbers in [low, high]."""
        items = self._items(name)
        return tuple(items.integer(key, low, high) for key in list(items._left))

    def numbers(self, name: str, low: float, high: float = math.inf) -> tuple[float, ...]:
        """A list of at most 4,096 finite numbers in [low, high]."""
        items = self._items(name)
        return tuple(items.number(key, low, high) for key in list(items._left))

    def _items(self, name: str) -> "Fields":
        """The items of a list, by their positions."""
        value = self._take(name)
        if not isinstance(value, list) or len(value) > 4096:
            raise self._refuse(name, "a list", value)
        return Fields({str(i): item for i, item in enumerate(value)}, f"{self.where}: {name}")

    def optional(self, name: str, read: Callable[[], Read]) -> Read | None:
        """None where the field is null or absent, else what `read` makes of it."""
        if self._left.get(name) is None:
            self._left.pop(name, None)
            return None
        return read()

    def part(self, name: str) -> "Fields":
        """An object inside this one."""
        return Fields(self._take(name), f"{self.where}: {name}")

    def scalars(self, name: str) -> dict[str, str | int | float | None]:
        """An object whose values are texts, finite numbers or null."""
        value = self._take(name)
        if not isinstance(value, dict) or len(value) > 64:
            raise self._refuse(name, "a JSON object", value)
        for key, entry in value.items():
            finite = not isinstance(entry, float) or math.isfinite(entry)
            if not (entry is None or isinstance(entry, str | int | float)) or not finite or len(str(entry)) > 100_000:
                raise self._refuse(f"{name}.{key}", "a text, a number or null", entry)
        return dict(value)

    def rows(self, name: str) -> tuple[tuple[float, ...], ...]:
        """A list of at most 64 lists of at most 64 numbers; null stands for one that is not finite."""
        value = self._take(name)
        if not isinstance(value, list) or len(value) > 64 or not all(isinstance(row, list) for row in value):
            raise self._refuse(name, "a list of lists", value)
        return tuple(self._row(name, row) for row in value)

    def _row(self, name: str, row: list[object]) -> tuple[float, ...]:
        items = Fields({str(i): item for i, item in enumerate(row)}, f"{self.where}: {name}")
        if len(row) > 64:
            raise self._refuse(name, "lists of at most 64 numbers", row)
        read = [None if item is None else items.number(str(i), -math.inf) for i, item in enumerate(row)]
        return tuple(math.nan if item is None else item for item in read)

    def objects(self, name: str) -> tuple[Mapping[str, object], ...]:
        """A list of objects that nothing is inferred from."""
        value = self._left.pop(name, [])
        if not isinstance(value, list) or not all(isinstance(entry, dict) for entry in value):
            raise self._refuse(name, "a list of JSON objects", value)
        return tuple(value)

    def end(self) -> None:
        """Refuse fields that nobody read: another version wrote them, or another hand."""
        if self._left:
            raise RunError(
                f"{self.where} must hold known fields only, got {', '.join(sorted(map(str, self._left)))[:200]}; "
                "read it with the certmix that wrote it, or restore it from a copy."
            )
