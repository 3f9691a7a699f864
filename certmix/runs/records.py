"""Rows of a run folder: what was drawn for each input, to and from Parquet tables, each checked against its manifest."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from certmix.errors import RunError
from certmix.intervals.histograms import BINS, SoftVotes, num_rivals, unpack
from certmix.runs.draws import Draws

SoftRow = tuple[int, NDArray[np.int64], NDArray[np.int64]]  # class, rivals, packed histograms: see `histograms.unpack`
Integers = NDArray[np.int64]

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
_DEFERRED = "estimation_deferred"  # a column of runs with a confidence alone
_PARTIAL_TYPES = {"index": pa.int64(), "draws": pa.int64(), "seconds": pa.float64(), "counts": _INTEGERS}


@dataclass(frozen=True)
class InputRecord:
    """What was drawn for one input: a row of a shard. See `Statistics` for the fields."""

    index: int
    label: int
    selection_counts: Integers
    estimation_counts: Integers
    selection_invalid: int
    estimation_invalid: int
    accurate_probabilities: NDArray[np.float32] | None
    seconds: float
    soft: SoftRow | None = None
    estimation_deferred: int = 0


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
    counts: Integers
    soft: SoftRow | None = None


def to_table(records: Sequence[InputRecord], draws: Draws) -> pa.Table:
    """A shard of these records."""
    types = _TYPES if draws.confidence is None else {**_TYPES, _DEFERRED: pa.int64()}
    columns = {name: pa.array([getattr(r, name) for r in records], type=kind) for name, kind in types.items()}
    columns |= _soft_columns([record.soft for record in records])
    return pa.table(columns).replace_schema_metadata({b"certmix_seed": hex(draws.seed).encode()})


def from_table(table: pa.Table, draws: Draws, where: str) -> list[InputRecord]:
    """The records of a shard, every value of which is checked against the manifest's draws.

    Raises: RunError: a column, a length or a value that is not what the draws say, by input.
    """
    checked = _Checked(table, draws, where)
    width = draws.num_classes
    index, label = checked.column("index"), checked.column("label")
    checked.rule(index, "an index >= 0", index >= 0)
    checked.rule(index, f"a label in [0, {width})", (label >= 0) & (label < width))
    deferred = np.zeros(len(table), dtype=np.int64)
    if draws.confidence is not None:
        deferred = checked.column(_DEFERRED)
        checked.rule(index, "deferred draws >= 0", (deferred >= 0) & (deferred <= draws.num_estimation))
    counts = {}
    for stage, totals in (("selection", (draws.num_selection,)), ("estimation", draws.allowed_totals())):
        votes, invalid = checked.lists(f"{stage}_counts", width, np.int64), checked.column(f"{stage}_invalid")
        most = max(totals)
        small = (votes >= 0).all(axis=1) & (votes <= most).all(axis=1) & (invalid >= 0) & (invalid <= most)
        said, made = " or ".join(map(str, totals)), votes.sum(axis=1) + invalid
        if stage == "estimation":
            good = np.isin(made + deferred, totals)
        else:
            good = made == totals[0] if draws.confidence is None else made <= totals[0]
        checked.rule(index, f"{said} {stage} votes", small & good)
        counts[stage] = votes, invalid
    g = None
    if draws.accurate is not None:
        g = checked.lists("accurate_probabilities", width, np.float32)
        sums = np.abs(g.sum(axis=1) - 1.0) < 1e-3
        checked.rule(
            index, "probabilities of the accurate model", sums & (g >= 0).all(axis=1) & (g <= 1.001).all(axis=1)
        )
    elif table["accurate_probabilities"].null_count != len(table):
        checked.refuse("holds an accurate model's probabilities, and the manifest names none")
    soft = checked.soft(index, counts["estimation"][0].sum(axis=1) + counts["estimation"][1])
    seconds = table["seconds"].to_numpy()
    checked.rule(index, "seconds >= 0", np.isfinite(seconds) & (seconds >= 0))
    return [
        InputRecord(
            index=int(index[row]),
            label=int(label[row]),
            selection_counts=counts["selection"][0][row],
            estimation_counts=counts["estimation"][0][row],
            selection_invalid=int(counts["selection"][1][row]),
            estimation_invalid=int(counts["estimation"][1][row]),
            accurate_probabilities=None if g is None else g[row],
            seconds=float(seconds[row]),
            soft=soft[row],
            estimation_deferred=int(deferred[row]),
        )
        for row in range(len(table))
    ]


def most_values(draws: Draws) -> int:
    """Values that one input can take in a table, those in lists included."""
    rivals = num_rivals(draws.num_classes) if draws.votes != "hard" else 0
    return 16 + 3 * (draws.num_classes + 1) + 5 * rivals + 4 * BINS * (1 + 2 * rivals)


def same_votes(one: InputRecord, other: InputRecord) -> bool:
    """Whether two records of an input are one observation, drawn twice."""
    plain = ("label", "selection_counts", "estimation_counts", "selection_invalid", "estimation_invalid", _DEFERRED)
    same = all(np.array_equal(getattr(one, name), getattr(other, name)) for name in plain)
    if one.soft is None or other.soft is None:
        return same and one.soft is other.soft
    (top, rivals, bins), (other_top, other_rivals, other_bins) = one.soft, other.soft
    return same and top == other_top and np.array_equal(rivals, other_rivals) and np.array_equal(bins, other_bins)


def partials_to_table(states: Sequence[PartialRecord], draws: Draws) -> pa.Table:
    """A table of unfinished inputs."""
    columns = {name: pa.array([getattr(s, name) for s in states], pa.int64()) for name in ("index", "draws")}
    columns["seconds"] = pa.array([state.seconds for state in states], pa.float64())
    columns["counts"] = pa.array([state.counts.reshape(-1) for state in states], type=_INTEGERS)
    columns |= _soft_columns([state.soft for state in states])
    return pa.table(columns).replace_schema_metadata({b"certmix_seed": hex(draws.seed).encode()})


def partials_from_table(table: pa.Table, draws: Draws, where: str) -> list[PartialRecord]:
    """The unfinished inputs of a table. Raises RunError where one is not what the draws allow."""
    checked = _Checked(table, draws, where, _PARTIAL_TYPES)
    index, done = checked.column("index"), checked.column("draws")
    counts = checked.lists("counts", 2 * (draws.num_classes + 1), np.int64).reshape(len(table), 2, -1)
    small = (counts >= 0).all(axis=(1, 2)) & (counts <= max(draws.num_estimation, draws.num_selection)).all(axis=(1, 2))
    totals = counts.sum(axis=2)
    wanted = np.stack([np.full(len(table), draws.num_selection), done], axis=1)
    whole = ((totals == wanted) if draws.confidence is None else (totals <= wanted)).all(axis=1)
    whole &= (done > 0) & (done < draws.num_estimation)
    checked.rule(index, "as many votes as draws", small & whole & (index >= 0))
    soft = checked.soft(index, done)
    seconds = table["seconds"].to_numpy()
    return [
        PartialRecord(int(index[row]), int(done[row]), float(seconds[row]), counts[row], soft[row])
        for row in range(len(table))
    ]


class _Checked:
    """A table read by somebody who does not trust it."""

    def __init__(
        self, table: pa.Table, draws: Draws, where: str, types: "dict[str, pa.DataType] | None" = None
    ) -> None:
        self.table, self.draws, self.where = table, draws, where
        types = {**(types or _TYPES), **(_SOFT_TYPES if draws.votes != "hard" else {})}
        if types.get("label") and draws.confidence is not None:
            types[_DEFERRED] = pa.int64()
        found = {field.name: field.type for field in table.schema}
        if found != types or len(table.schema) != len(types):
            twice = {name for name in table.column_names if table.column_names.count(name) > 1}
            wrong = sorted(name for name in {**found, **types} if found.get(name) != types.get(name) or name in twice)
            self.refuse(f"must have the columns of {draws.votes} votes, and differs in {', '.join(wrong)[:200]}")
        seed = (table.schema.metadata or {}).get(b"certmix_seed")
        if seed != hex(draws.seed).encode():
            raise RunError(f"{where} belongs to another run (its seed differs); remove it from this folder.")

    def refuse(self, what: str) -> None:
        raise RunError(f"{self.where} {what}; delete that file and run the same command again.")

    def rule(self, index: Integers, rule: str, good: NDArray[np.bool_]) -> None:
        """Refuse the table, naming the first input that breaks a rule."""
        if not good.all():
            self.refuse(f"must hold {rule} for every input, and does not for input {index[~good][0]}")

    def column(self, name: str) -> Integers:
        """A column of integers without nulls."""
        if self.table[name].null_count:
            self.refuse(f"has empty entries in {name}")
        return np.asarray(self.table[name].to_numpy(), dtype=np.int64)

    def lists(self, name: str, width: int, kind: "type[np.int64] | type[np.float32]") -> "NDArray[Any]":
        """A column of lists of one length, as an array of shape (rows, width)."""
        column = self.table[name].combine_chunks()
        lengths = column.value_lengths()
        if column.null_count or lengths.null_count or not np.all(lengths.to_numpy(zero_copy_only=False) == width):
            self.refuse(f"must have {width} values in every entry of {name}")
        values = column.flatten()
        if values.null_count:
            self.refuse(f"has empty values in {name}")
        # A copy: rows of a table are not writable, and would keep all of it in memory.
        return np.array(values.to_numpy(zero_copy_only=False), dtype=kind).reshape(len(self.table), width)

    def soft(self, index: Integers, estimation: Integers) -> "list[SoftRow | None]":
        """Soft votes of every row; None for hard votes."""
        if self.draws.votes == "hard":
            return [None] * len(self.table)
        rivals = num_rivals(self.draws.num_classes)
        made = unpack(
            self.column("soft_prediction"),
            self.lists("soft_rivals", rivals, np.int64),
            packed := self.lists("soft_histograms", 2 * (1 + 2 * rivals) * BINS * 2, np.int64),
        )
        good = made.consistent(self.draws.num_classes, np.full(len(index), self.draws.num_selection), estimation)
        self.rule(index, "soft votes that agree with its draws", good)
        return [(int(made.prediction[row]), made.rivals[row], packed[row]) for row in range(len(index))]


def stack_soft(rows: Sequence[SoftRow]) -> SoftVotes | None:
    """Soft votes of several inputs; None where there are none."""
    if not rows:
        return None
    top, rivals, packed = zip(*rows, strict=True)
    return unpack(np.array(top, dtype=np.int64), np.stack(rivals), np.stack(packed))


def _soft_columns(soft: Sequence[SoftRow | None]) -> dict[str, pa.Array]:
    if any(row is None for row in soft) or not soft:
        return {}
    columns = zip(*soft, strict=True)
    return {
        name: pa.array(list(values), type=kind)
        for (name, kind), values in zip(_SOFT_TYPES.items(), columns, strict=True)
    }
