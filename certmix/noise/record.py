"""What defines the noise of a run besides sigma and the seed: recorded with the draws, and checked before drawing again."""

import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Literal

from certmix.errors import InvalidArgument, RunError
from certmix.noise.table import table_hash, total_variation

_GENERATOR = "philox4x64-10"


@dataclass(frozen=True)
class NoiseRecord:
    """The noise of a run.

    Attributes:
        kind: "integer" (the exactly rounded Gaussian on a grid) or "float".
        generator: of the random words.
        levels: G, of integer noise, else None.
        table_sha256: of its threshold table and clip range, else None.
        total_variation: bound on the distance, for one input, between what the network saw and the law that the
            certificate is about; taken off every bound.
    """

    kind: Literal["integer", "float"]
    generator: str = _GENERATOR
    levels: int | None = None
    table_sha256: str | None = None
    total_variation: float = 0.0

    def to_json(self) -> dict[str, str | int | float | None]:
        """The record as JSON values."""
        return asdict(self)

    @classmethod
    def from_json(cls, stored: object) -> "NoiseRecord":
        """The record of a manifest.

        Raises: RunError: a key missing or unknown, or a value that no run could have written.
        """
        names = [field.name for field in fields(cls)]
        if not isinstance(stored, Mapping) or set(stored) != set(names):
            keys = sorted(map(str, stored)) if isinstance(stored, Mapping) else type(stored).__name__
            raise RunError(f"noise of a manifest must have exactly the keys {', '.join(names)}, got {keys}.")
        integer = stored["kind"] == "integer"
        rules = {
            "kind": ("integer or float", stored["kind"] in ("integer", "float")),
            "generator": (_GENERATOR, stored["generator"] == _GENERATOR),
            "levels": ("an integer >= 1 for integer noise, else null", _is_levels(stored["levels"], integer)),
            "table_sha256": ("64 hex digits for integer noise, else null", _is_hash(stored["table_sha256"], integer)),
            "total_variation": ("a number in [0, 1), 0 for float noise", _is_share(stored["total_variation"], integer)),
        }
        for name, (rule, holds) in rules.items():
            if not holds:
                raise RunError(f"noise.{name} of a manifest must be {rule}, got {stored[name]!r:.80}.")
        return cls(**stored)


def _is_levels(value: object, integer: bool) -> bool:
    return type(value) is int and value >= 1 if integer else value is None


def _is_hash(value: object, integer: bool) -> bool:
    return isinstance(value, str) and re.fullmatch("[0-9a-f]{64}", value) is not None if integer else value is None


def _is_share(value: object, integer: bool) -> bool:
    if not isinstance(value, int | float) or isinstance(value, bool):
        return False
    return 0.0 <= value < 1.0 and (integer or value == 0.0)


def describe_noise(kind: str, *, sigma: float, size: int, grid_levels: int | None) -> NoiseRecord:
    """The record of noise that is asked for.

    Args:
        kind: "integer", "float", or "auto": integer where the inputs lie on a grid.
        sigma: standard deviation, in [0, 1] pixel units.
        size: elements of one input.
        grid_levels: G where every input value is a multiple of 1/G, else None.
    Raises: InvalidArgument: an unknown kind, integer noise without a grid, or a sigma that the grid cannot hold.
    """
    if kind not in ("auto", "integer", "float"):
        raise InvalidArgument(f"noise must be auto, integer or float, got {kind!r}.")
    if kind == "integer" and grid_levels is None:
        raise InvalidArgument("noise 'integer' needs inputs on a grid, got a data set without grid levels; use float.")
    if kind == "float" or grid_levels is None:
        return NoiseRecord("float")
    return NoiseRecord(
        "integer",
        levels=grid_levels,
        table_sha256=table_hash(sigma, grid_levels),
        total_variation=total_variation(sigma, grid_levels, size),
    )
