"""Statistics: what was drawn. A run folder holds manifest.json and immutable Parquet shards, one row per input.

What is inferred (bounds, certificates, curves) is derived from it and never stored as if it had been observed.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from certmix.errors import InvalidArgument, RunError
from certmix.files import read_whole
from certmix.intervals.histograms import SoftVotes
from certmix.parquet import unpack_table
from certmix.runs.draws import Draws
from certmix.runs.manifest import Manifest, read_manifest
from certmix.runs.records import InputRecord, from_table, most_values, same_votes, stack_soft

SHARDS = "shards"


@dataclass(frozen=True, repr=False)
class Statistics:
    """Votes of a Gaussian-smoothed classifier, and everything that defines how they were drawn.

    Attributes:
        selection_counts: votes per class that choose the prediction, shape (inputs, classes), int64.
        estimation_counts: fresh votes that bound its probability, shape (inputs, classes), int64.
        selection_invalid, estimation_invalid: draws whose output was not finite, shape (inputs,), int64.
        labels, indices: true classes and stable positions in the data set, shape (inputs,), int64.
        accurate_probabilities: softmax of the accurate model at the clean input, shape (inputs, classes); or None.
        seconds: sampling time of each input, shape (inputs,), float64.
        estimation_deferred: estimation draws that were not confident enough to vote, shape (inputs,), int64.
        manifest: what defines the draws (also `draws`), and where they were made.
        soft: histograms of the class probabilities; None for hard votes only.
    """

    selection_counts: NDArray[np.int64]
    estimation_counts: NDArray[np.int64]
    selection_invalid: NDArray[np.int64]
    estimation_invalid: NDArray[np.int64]
    labels: NDArray[np.int64]
    indices: NDArray[np.int64]
    accurate_probabilities: NDArray[np.float32] | None
    seconds: NDArray[np.float64]
    estimation_deferred: NDArray[np.int64]
    manifest: Manifest
    soft: SoftVotes | None = None

    def __len__(self) -> int:
        return len(self.indices)

    def __repr__(self) -> str:
        d = self.draws
        return (
            f"Statistics({len(self)} of {d.dataset.inputs} inputs of {d.dataset.spec}, {self.num_classes} classes, "
            f"sigma {d.sigma:g}, {d.num_selection} + {d.num_estimation} draws, {d.votes} votes)"
        )

    @property
    def draws(self) -> Draws:
        """What defines the draws."""
        return self.manifest.draws

    @property
    def sigma(self) -> float:
        """Standard deviation of the noise, in [0, 1] pixel units."""
        return self.draws.sigma

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return self.draws.num_classes

    @property
    def estimation_draws(self) -> NDArray[np.int64]:
        """Estimation draws that each input took, shape (inputs,)."""
        return np.asarray(self.estimation_counts.sum(axis=1) + self.estimation_invalid + self.estimation_deferred)


def from_records(records: Sequence[InputRecord], manifest: Manifest) -> Statistics:
    """Statistics of the records, in order of their index."""
    rows = sorted(records, key=lambda record: record.index)
    classes = manifest.draws.num_classes

    def stack(name: str, dtype: type, width: tuple[int, ...] = ()) -> NDArray[Any]:
        return np.array([getattr(row, name) for row in rows], dtype=dtype).reshape(len(rows), *width)

    g = stack("accurate_probabilities", np.float32, (classes,)) if manifest.draws.accurate is not None else None
    return Statistics(
        selection_counts=stack("selection_counts", np.int64, (classes,)),
        estimation_counts=stack("estimation_counts", np.int64, (classes,)),
        selection_invalid=stack("selection_invalid", np.int64),
        estimation_invalid=stack("estimation_invalid", np.int64),
        labels=stack("label", np.int64),
        indices=stack("index", np.int64),
        accurate_probabilities=g,
        seconds=stack("seconds", np.float64),
        estimation_deferred=stack("estimation_deferred", np.int64),
        manifest=manifest,
        soft=stack_soft([row.soft for row in rows if row.soft is not None]),
    )


def read_statistics(*run_folders: str | Path) -> Statistics:
    """Statistics of one or several run folders of the same draws (parts of one run), merged, in order of index.

    Raises: RunError: not a run, a damaged shard, folders that disagree, or an input drawn twice with different votes.
    """
    if not run_folders:
        raise RunError("read_statistics needs at least one run folder, got none.")
    first = read_manifest(run_folders[0])
    records: list[InputRecord] = []
    for folder in run_folders:
        manifest = read_manifest(folder)
        refuse_disagreement(first.draws, manifest.draws, folder, parts=True)
        records += read_shards(Path(folder), manifest)
    return from_records(without_repeats(records, "the folders"), first)


def refuse_disagreement(stored: Draws, asked: Draws, folder: str | Path, *, parts: bool = False) -> None:
    """Raise RunError with both values where two descriptions of draws differ."""
    difference = stored.disagreement(asked, parts=parts)
    if difference is not None:
        raise RunError(f"{folder} disagrees on {difference}; use the run's setting or another --out.")


def shard_name(content: bytes, first: int, rows: int) -> str:
    """Name of a shard, which holds the sha256 of its bytes: no bit of it can change unnoticed."""
    return f"{first:08d}-{rows}-{hashlib.sha256(content).hexdigest()[:32]}.parquet"


def shard_rows(path: Path) -> int:
    """How many inputs a shard holds, as its name says; 0 where it says nothing."""
    _, rows, *_ = [*path.stem.split("-"), "", ""]
    return int(rows) if rows.isdecimal() else 0


def read_shards(folder: Path, manifest: Manifest) -> list[InputRecord]:
    """Every record of a run folder. Raises RunError where a shard is damaged, foreign, or not what the manifest says."""
    most = manifest.draws.dataset.inputs
    paths = sorted((folder / SHARDS).glob("*.parquet"))
    made = without_repeats([record for path in paths for record in read_shard(path, manifest)], str(folder))
    if len(made) > most:
        raise RunError(f"{folder} holds {len(made)} inputs, its manifest says {most}; rows were added to it.")
    return made


def read_shard(path: Path, manifest: Manifest) -> list[InputRecord]:
    """Records of one shard; raises as `read_shards`."""
    table = _read_table(path, manifest.draws, manifest.draws.dataset.inputs)
    return from_table(table, manifest.draws, f"shard {path}")


def _read_table(path: Path, draws: Draws, most: int) -> pa.Table:
    remedy = "delete that file and run the same command again: only its inputs are drawn anew."
    values = most * most_values(draws)
    try:
        content = read_whole(path, "shard", 16 * values + (1 << 20))
    except InvalidArgument as error:
        raise RunError(f"{error} Its manifest says {most} inputs; {remedy}") from None
    first, rows, *_ = [*path.stem.split("-"), "", ""]
    if not (first.isdecimal() and rows.isdecimal() and path.name == shard_name(content, int(first), int(rows))):
        raise RunError(f"shard {path} is damaged (its bytes are not those that were written); {remedy}")
    try:
        table = unpack_table(content, most_rows=most, most_values=values)
    except ValueError as error:
        raise RunError(f"shard {path} is damaged ({error}); {remedy}") from None
    if table.num_rows != int(rows):
        raise RunError(f"shard {path} must hold {rows} inputs, as its name says, got {table.num_rows}; {remedy}")
    return table


def without_repeats(records: Sequence[InputRecord], where: str) -> list[InputRecord]:
    """Each input once; the same input with the same votes is one observation, with other votes an error."""
    by_index: dict[int, InputRecord] = {}
    for record in records:
        kept = by_index.setdefault(record.index, record)
        if not same_votes(kept, record):
            raise RunError(
                f"input {record.index} was drawn twice with different votes in {where}; keep one of the shards."
            )
    return list(by_index.values())
