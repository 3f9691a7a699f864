"""Random damage to a run folder's shards and manifest, and what may come of it: for tests and benchmarks/torture.py."""

import copy
import json
import random
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from certmix.errors import RunError
from certmix.runs.manifest import read_manifest
from certmix.runs.store import Statistics, read_statistics, shard_name
from certmix.verification.redraw import Verification, compare

JUNK = [
    *(None, True, 0, 1, -1, 2, 3, 99, 2**31, 2**62, -(2**62), 0.5, -0.5, 1e30, float("nan"), float("inf")),
    *("", "x", "0" * 64, "9" * 400, [], [0], [1, 2, 3], [2**62] * 3, {}, {"kind": "integer"}),
]


class Honest:
    """A run in memory: its manifest, its one shard, and what they say."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        (self.path,) = (folder / "shards").glob("*.parquet")
        self.content, self.manifest = self.path.read_bytes(), (folder / "manifest.json").read_text()
        self.table, self.statistics = pq.read_table(self.path), read_statistics(folder)

    def restore(self) -> None:
        """Put the folder back."""
        for path in (self.folder / "shards").iterdir():
            path.unlink()
        self.path.write_bytes(self.content)
        (self.folder / "manifest.json").write_text(self.manifest)

    def replace_shard(self, content: bytes, *, first: int = 0, rows: int | None = None) -> None:
        """Put other bytes into the shard, under the name that they ask for."""
        self.path.unlink()
        name = shard_name(content, first, len(self.table) if rows is None else rows)
        (self.folder / "shards" / name).write_bytes(content)


def flip_bit(honest: Honest, chance: random.Random) -> None:
    """As a disk does: the name stays."""
    place = chance.randrange(8 * len(honest.content))
    honest.path.write_bytes(_flipped(honest.content, place))


def flip_and_rename(honest: Honest, chance: random.Random) -> None:
    """As a forger does, some bits at a time, with the hash made anew."""
    content = honest.content
    for _ in range(chance.choice([1, 1, 2, 5])):
        content = _flipped(content, chance.randrange(8 * len(content)))
    honest.replace_shard(content)


def cut_and_rename(honest: Honest, chance: random.Random) -> None:
    """Bytes lost, repeated or put in, with the hash made anew."""
    content, place, length = honest.content, chance.randrange(len(honest.content)), chance.choice([1, 4, 40])
    piece = content[place : place + length] * 2 if chance.random() < 0.5 else chance.randbytes(chance.choice([0, 1, 7]))
    honest.replace_shard(content[:place] + piece + content[place + length :])


def edit_cell(honest: Honest, chance: random.Random) -> None:
    """Another value in a valid file: in a cell, or in a list, or two entries of a list that keep its sum."""
    rows = honest.table.to_pylist()
    row, name = chance.choice(rows), chance.choice(honest.table.column_names)
    if isinstance(row[name], list) and chance.random() < 0.8:
        values = row[name]
        one, other = chance.randrange(len(values)), chance.randrange(len(values))
        if chance.random() < 0.5:
            values[one], values[other] = values[other], values[one]
        elif name != "accurate_probabilities":
            amount = chance.choice([1, 1, -1, 5, 2**40])
            values[one], values[other] = values[one] + amount, values[other] - amount
    else:
        row[name] = chance.choice(JUNK)
    if chance.random() < 0.1:
        rows = chance.choice([rows[1:], rows + rows[:1], rows[::-1], []])
    try:
        table = pa.Table.from_pylist(rows, schema=honest.table.schema)
    except (pa.ArrowException, OverflowError, TypeError, ValueError):  # this value fits into no such column
        table = _with_column(honest.table, name, chance)
    _store(honest, table)


def change_columns(honest: Honest, chance: random.Random) -> None:
    """Columns dropped, added, renamed or of other types; other metadata."""
    table, name = honest.table, chance.choice(honest.table.column_names)
    what = chance.randrange(5)
    if what == 0:
        table = table.drop([name])
    elif what == 1:
        table = table.append_column(chance.choice([name, "more"]), table[name])
    elif what == 2:
        table = table.rename_columns([f"{n}x" if n == name else n for n in table.column_names])
    elif what == 3:
        table = _with_column(table, name, chance)
    else:
        table = table.replace_schema_metadata(chance.choice([None, {b"certmix_seed": b"0x2"}, {b"x": b"y"}]))
    _store(honest, table)


def edit_manifest(honest: Honest, chance: random.Random) -> None:
    """Another value in some field of the manifest, or a field less or more."""
    tree = copy.deepcopy(json.loads(honest.manifest))
    place = tree
    while True:
        key = chance.choice(list(place))
        if isinstance(place[key], dict) and place[key] and chance.random() < 0.9:
            place = place[key]
            continue
        break
    if chance.random() < 0.1:
        del place[key]
    else:
        place[chance.choice([key] * 9 + ["more"])] = chance.choice(JUNK)
    (honest.folder / "manifest.json").write_text(json.dumps(tree))


def flip_manifest(honest: Honest, chance: random.Random) -> None:
    """A bit of the manifest's bytes."""
    content = honest.manifest.encode()
    (honest.folder / "manifest.json").write_bytes(_flipped(content, chance.randrange(8 * len(content))))


DAMAGES: tuple[Callable[[Honest, random.Random], None], ...] = (
    flip_bit,
    flip_and_rename,
    cut_and_rename,
    edit_cell,
    change_columns,
    edit_manifest,
    flip_manifest,
)


def outcome(honest: Honest) -> str:
    """What reading the damaged folder ends in: "refused" (in one line), "same", "caught" by the referee, or "other draws".

    The referee is `verify` with every input drawn again, which finds what the honest run holds; here that is compared.
    A manifest that claims other draws is another run, of which `verify` redraws and compares every claim.
    Raises: AssertionError: neither; any other exception is one that no reader may raise.
    """
    try:
        found = read_statistics(honest.folder)
    except RunError as error:
        return "refused" if "\n" not in str(error) else f"refused in several lines: {error}"
    if read_manifest(honest.folder).draws != honest.statistics.draws:
        return "other draws"
    if _same(found, honest.statistics):
        return "same"
    result = Verification()
    if not set(found.indices) <= set(honest.statistics.indices):
        return "caught"  # by the data set's indices
    compare(found, honest.statistics, result) if len(found) == len(honest.statistics) else None
    assert result.differences or len(found) < len(honest.statistics), "a forgery that nothing notices"
    return "caught"


def _same(one: Statistics, other: Statistics) -> bool:
    """Whether two runs claim the same; seconds are no claim, nor is g beyond four digits."""
    names = ("indices", "labels", "selection_counts", "estimation_counts", "selection_invalid", "estimation_invalid")
    same = all(np.array_equal(getattr(one, name), getattr(other, name)) for name in names)
    g = (one.accurate_probabilities, other.accurate_probabilities)
    if same and g[0] is not None and g[1] is not None:
        same = bool(np.abs(g[0] - g[1]).max(initial=0.0) <= 1e-4)
    if not same or one.soft is None or other.soft is None:
        return same
    stages = ((getattr(one.soft, name), getattr(other.soft, name)) for name in ("selection", "estimation"))
    return (
        np.array_equal(one.soft.prediction, other.soft.prediction)
        and np.array_equal(one.soft.rivals, other.soft.rivals)
        and all(np.array_equal(a.counts, b.counts) and np.array_equal(a.sums, b.sums) for a, b in stages)
    )


def _flipped(content: bytes, bit: int) -> bytes:
    changed = bytearray(content)
    changed[bit // 8] ^= 1 << (bit % 8)
    return bytes(changed)


def _with_column(table: pa.Table, name: str, chance: random.Random) -> pa.Table:
    """The table with a column of another type."""
    made = chance.choice([pa.array(["x"] * len(table)), pa.array([0.5] * len(table)), pa.nulls(len(table), pa.int64())])
    return table.set_column(table.column_names.index(name), name, made)


def _store(honest: Honest, table: pa.Table) -> None:
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd", write_page_checksum=True)
    honest.replace_shard(bytes(sink.getvalue().to_pybytes()), rows=len(table))
