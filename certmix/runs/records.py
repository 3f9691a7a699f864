"""Rows of a run folder: what was drawn for each input, to and from Parquet tables."""

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from certmix.errors import RunError

SoftRow = tuple[int, NDArray[np.int64], NDArray[np.int64]]  # class, rivals, packed histograms: see `soft_votes.unpack`

_INTEGERS = pa.list_(pa.int64())
_TYPES = {
    "index": pa.int64(),
    "label": pa.int64(),
    "selection_counts": _INTEGERS,
    "estimation_counts": _INTEGERS,
    "selection_invalid": pa.int64(),
    "estimation_invalid": pa.int64(),
    "accurate_probabilities": pa.list_(pa.float32()),
    "seconds": pa.float64(),
}
_SOFT_TYPES = {"soft_prediction": pa.int64(), "soft_rivals": _INTEGERS, "soft_histograms": _INTEGERS}


@dataclass(frozen=True)
class InputRecord:
    """What was drawn for one input: a row of a shard. See `Statistics` for the fields."""

    index: int
    label: int
    selection_counts: NDArray[np.int64]
    estimation_counts: NDArray[np.int64]
    selection_invalid: int
    estimation_invalid: int
    accurate_probabilities: NDArray[np.float32] | None
    seconds: float
    soft: SoftRow | None = None


@dataclass(frozen=True)
class PartialRecord:
    """An input whose estimation draws are under way.

    Attributes:
        index: of the input.
        draws: estimation draws counted so far.
        seconds: spent on it.
        counts: votes so far, shape (2, classes + 1): selection and estimation, the last column invalid.
        soft: class, rivals and packed histograms so far.
    """

    index: int
    draws: int
    seconds: float
    counts: NDArray[np.int64]
    soft: SoftRow | None = None


def to_table(records: Sequence[InputRecord], seed: str) -> pa.Table:
    """A shard of these records."""
    columns = {name: pa.array([getattr(r, name) for r in records], type=kind) for name, kind in _TYPES.items()}
    columns |= _soft_columns([record.soft for record in records])
    return pa.table(columns).replace_schema_metadata({b"certmix_seed": seed.encode()})


def from_table(table: pa.Table) -> list[InputRecord]:
    """The records of a shard. Raises KeyError or TypeError where a column is missing or of another kind."""
    soft = _soft_rows(table)
    rows = table.select(list(_TYPES)).to_pylist()
    return [_record(row, histograms) for row, histograms in zip(rows, soft, strict=True)]


def partials_to_table(states: Sequence[PartialRecord], seed: str) -> pa.Table:
    """A table of unfinished inputs."""
    columns = {name: [getattr(state, name) for state in states] for name in ("index", "draws", "seconds")}
    columns["counts"] = pa.array([state.counts.reshape(-1) for state in states], type=_INTEGERS)
    columns |= _soft_columns([state.soft for state in states])
    return pa.table(columns).replace_schema_metadata({b"certmix_seed": seed.encode()})


def partials_from_table(table: pa.Table) -> list[PartialRecord]:
    """The unfinished inputs of a table."""
    rows = table.select(["index", "draws", "seconds", "counts"]).to_pylist()
    return [
        PartialRecord(
            row["index"], row["draws"], row["seconds"], np.array(row["counts"], dtype=np.int64).reshape(2, -1), soft
        )
        for row, soft in zip(rows, _soft_rows(table), strict=True)
    ]


def check_record(record: InputRecord, draws: Mapping[str, Any], path: Path) -> None:
    """Raise RunError where a record's votes are not those that the manifest describes."""
    schedule = draws.get("schedule")
    allowed = {"selection": [draws["num_selection"]], "estimation": [draws["num_estimation"]]}
    if schedule is not None:
        allowed["estimation"] = schedule["looks"]
    for kind, invalid in (("selection", record.selection_invalid), ("estimation", record.estimation_invalid)):
        counts = getattr(record, f"{kind}_counts")
        total = int(counts.sum()) + invalid
        if len(counts) != draws["num_classes"] or counts.min() < 0 or total not in allowed[kind]:
            raise RunError(
                f"shard {path}: input {record.index} has {total} {kind} votes in {len(counts)} classes, the manifest "
                f"says {' or '.join(map(str, allowed[kind]))} in {draws['num_classes']}; delete that file and run the "
                "same command again."
            )
    if (record.soft is None) != (draws.get("votes", "hard") == "hard"):
        raise RunError(
            f"shard {path}: input {record.index} must hold {draws.get('votes', 'hard')} votes as the manifest says; "
            "delete that file and run the same command again."
        )


def _soft_columns(soft: Sequence[SoftRow | None]) -> dict[str, pa.Array]:
    if any(row is None for row in soft) or not soft:
        return {}
    columns = zip(*soft, strict=True)
    return {
        name: pa.array(list(values), type=kind)
        for (name, kind), values in zip(_SOFT_TYPES.items(), columns, strict=True)
    }


def _soft_rows(table: pa.Table) -> list[SoftRow | None]:
    if "soft_prediction" not in table.column_names:
        return [None] * len(table)
    arrays = [
        [np.asarray(value, dtype=np.int64) for value in _lists(table[name])]
        for name in ("soft_rivals", "soft_histograms")
    ]
    return list(zip(table["soft_prediction"].to_pylist(), *arrays, strict=True))


def _lists(column: pa.ChunkedArray) -> list[NDArray[np.int64]]:
    """Each row of a list column, without making Python integers of millions of values."""
    rows: list[NDArray[np.int64]] = []
    for chunk in column.chunks:
        values, offsets = chunk.values.to_numpy(), chunk.offsets.to_numpy()
        rows += [values[start:stop] for start, stop in itertools.pairwise(offsets)]
    return rows


def _record(row: Mapping[str, Any], soft: SoftRow | None) -> InputRecord:
    accurate = row["accurate_probabilities"]
    return InputRecord(
        index=row["index"],
        label=row["label"],
        selection_counts=np.array(row["selection_counts"], dtype=np.int64),
        estimation_counts=np.array(row["estimation_counts"], dtype=np.int64),
        selection_invalid=row["selection_invalid"],
        estimation_invalid=row["estimation_invalid"],
        accurate_probabilities=None if accurate is None else np.array(accurate, dtype=np.float32),
        seconds=row["seconds"],
        soft=soft,
    )
