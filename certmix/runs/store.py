"""Statistics: what was drawn. A run folder holds manifest.json and immutable Parquet shards, one row per input.

What is inferred (bounds, certificates, curves) is derived from it and never stored as if it had been observed.
"""

import contextlib
import fcntl
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from certmix.errors import NoiseError, RunError
from certmix.intervals.histograms import SoftVotes, unpack
from certmix.runs.records import (
    InputRecord,
    PartialRecord,
    check_record,
    from_table,
    partials_from_table,
    partials_to_table,
    to_table,
)

SCHEMA_VERSION = 1
_MOST_PENDING = 500  # records held in memory
MANIFEST, SHARDS, PARTIAL = "manifest.json", "shards", "partial-{}.parquet"


@dataclass(frozen=True)
class Statistics:
    """Votes of a Gaussian-smoothed classifier, and everything that defines how they were drawn.

    Attributes:
        selection_counts: votes per class that choose the prediction, shape (inputs, classes), int64.
        estimation_counts: fresh votes that bound its probability, shape (inputs, classes), int64.
        selection_invalid, estimation_invalid: draws whose output was not finite, shape (inputs,), int64.
        labels, indices: true classes and stable positions in the data set, shape (inputs,), int64.
        sigma: standard deviation of the noise, in [0, 1] pixel units.
        accurate_probabilities: softmax of the accurate model at the clean input, shape (inputs, classes); or None.
        seconds: sampling time of each input, shape (inputs,), float64.
        manifest: what defines the draws (`manifest["draws"]`) and where they were made.
        soft: histograms of the class probabilities; None for hard votes only.
    """

    selection_counts: NDArray[np.int64]
    estimation_counts: NDArray[np.int64]
    selection_invalid: NDArray[np.int64]
    estimation_invalid: NDArray[np.int64]
    labels: NDArray[np.int64]
    indices: NDArray[np.int64]
    sigma: float
    accurate_probabilities: NDArray[np.float32] | None
    seconds: NDArray[np.float64]
    manifest: Mapping[str, Any]
    soft: SoftVotes | None = None

    def __len__(self) -> int:
        return len(self.indices)

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return int(self.estimation_counts.shape[1])

    @property
    def num_selection(self) -> int:
        """Selection draws per input."""
        return int(self.manifest["draws"]["num_selection"])

    @property
    def num_estimation(self) -> int:
        """Estimation draws per input; at most so many where sampling may stop early."""
        return int(self.manifest["draws"]["num_estimation"])


def from_records(records: Sequence[InputRecord], manifest: Mapping[str, Any]) -> Statistics:
    """Statistics of the records, in order of their index."""
    rows = sorted(records, key=lambda record: record.index)
    classes = int(manifest["draws"]["num_classes"])

    def stack(name: str, dtype: type, width: tuple[int, ...] = ()) -> NDArray[Any]:
        return np.array([getattr(row, name) for row in rows], dtype=dtype).reshape(len(rows), *width)

    with_accurate = manifest["draws"]["accurate"] is not None
    return Statistics(
        selection_counts=stack("selection_counts", np.int64, (classes,)),
        estimation_counts=stack("estimation_counts", np.int64, (classes,)),
        selection_invalid=stack("selection_invalid", np.int64),
        estimation_invalid=stack("estimation_invalid", np.int64),
        labels=stack("label", np.int64),
        indices=stack("index", np.int64),
        sigma=float(manifest["draws"]["sigma"]),
        accurate_probabilities=stack("accurate_probabilities", np.float32, (classes,)) if with_accurate else None,
        seconds=stack("seconds", np.float64),
        manifest=manifest,
        soft=_soft_votes(rows) if manifest["draws"].get("votes", "hard") != "hard" else None,
    )


def _soft_votes(rows: Sequence[InputRecord]) -> SoftVotes | None:
    found = [row.soft for row in rows if row.soft is not None]
    if not found:
        return None
    top, rivals, packed = zip(*found, strict=True)
    return unpack(np.array(top, dtype=np.int64), np.stack(rivals), np.stack(packed))


class RunWriter:
    """Writes the records of one run folder; the only writer while it is open.

    A shard is written to a temporary file, synced and renamed, so that a killed process leaves whole shards only.

    Args:
        folder: the run folder; created when absent.
        manifest: what this process would draw; must agree with the folder's manifest in everything under "draws".
        flush_seconds: at most this much sampling is held in memory.
        rank: of several processes that write the run together. Rank 0 opens it and must come first; the others do not
            read what is stored, and only add shards.
        patience: seconds to wait for another writer to end.
    Raises: RunError: the folder is no run, in use, damaged, or from other settings (both values are named).
    """

    def __init__(
        self,
        folder: str | Path,
        manifest: Mapping[str, Any],
        *,
        flush_seconds: float = 10.0,
        rank: int = 0,
        patience: float = 0.0,
    ) -> None:
        self.folder, self.manifest, self.rank = Path(folder), manifest, rank
        self._flush_seconds = flush_seconds
        self._pending: list[InputRecord] = []
        self._last_flush = time.monotonic()
        self._lock: TextIO | None = None
        self.done: set[int] = set()  # indices of the inputs that need no more draws
        if rank:
            return
        with _writing(self.folder):
            (self.folder / SHARDS).mkdir(parents=True, exist_ok=True)
            self._lock = _lock(self.folder, patience)
            try:
                self._open_manifest()
                self.done = {record.index for record in _read_shards(self.folder, self.manifest)}
                for leftover in (self.folder / SHARDS).glob(".writing-*"):
                    leftover.unlink()
            except BaseException:
                self._lock.close()
                raise

    def _open_manifest(self) -> None:
        if (self.folder / MANIFEST).exists():
            stored = read_manifest(self.folder)
            refuse_disagreement(stored["draws"], self.manifest["draws"], self.folder)
            self.manifest = stored
        elif any((self.folder / SHARDS).glob("*.parquet")):
            raise RunError(
                f"{self.folder} holds shards but no {MANIFEST}; choose another --out or restore the manifest."
            )
        else:
            self._write_manifest()

    def add(self, record: InputRecord) -> None:
        """Take one input's record; writes a shard when enough time has passed."""
        self.done.add(record.index)
        self._pending.append(record)
        if len(self._pending) >= _MOST_PENDING or time.monotonic() - self._last_flush >= self._flush_seconds:
            self.flush()

    def flush(self) -> None:
        """Write what is pending as one shard."""
        self._last_flush = time.monotonic()
        if not self._pending:
            return
        first, last = self._pending[0].index, self._pending[-1].index
        stamp = f"{time.time_ns():x}-{os.getpid():x}-{self.rank}"
        with _writing(self.folder):
            sink = pa.BufferOutputStream()
            pq.write_table(
                to_table(self._pending, str(self.manifest["draws"]["seed"])),
                sink,
                compression="zstd",
                write_page_checksum=True,
            )
            path = self.folder / SHARDS / f"{first:08d}-{last:08d}-{stamp}.parquet"
            _write_atomically(path, sink.getvalue().to_pybytes())
        self._pending = []

    def save_if_due(self, states: Callable[[], Sequence[PartialRecord]]) -> None:
        """Store finished and unfinished inputs when `flush_seconds` have passed: long inputs lose no more than that."""
        if time.monotonic() - self._last_flush >= self._flush_seconds:
            self.flush()
            self.save_partial(states())

    def save_partial(self, states: Sequence[PartialRecord]) -> None:
        """Store the draws of inputs that are under way, in place of those stored before."""
        sink = pa.BufferOutputStream()
        table = partials_to_table(states, str(self.manifest["draws"]["seed"]))
        pq.write_table(table, sink, compression="zstd", write_page_checksum=True)
        with _writing(self.folder):
            _write_atomically(self.folder / PARTIAL.format(self.rank), sink.getvalue().to_pybytes())

    def read_partial(self) -> dict[int, PartialRecord]:
        """Draws of unfinished inputs by any rank, by index. A damaged or foreign file is as good as none."""
        found: dict[int, PartialRecord] = {}
        for path in self.folder.glob(PARTIAL.format("*")):
            try:
                table = pq.read_table(path, page_checksum_verification=True)
                if (table.schema.metadata or {}).get(b"certmix_seed") == str(self.manifest["draws"]["seed"]).encode():
                    for state in partials_from_table(table):
                        if state.index not in found or found[state.index].draws < state.draws:
                            found[state.index] = state
            except (pa.ArrowException, OSError, KeyError, TypeError, ValueError):
                continue
        return found

    def drop_partial(self) -> None:
        """Nothing is under way any more."""
        for path in self.folder.glob(PARTIAL.format("*")):
            path.unlink(missing_ok=True)

    def record_audit(self, summary: Mapping[str, object]) -> None:
        """Append a summary of the noise audit to the manifest."""
        self.manifest = {**self.manifest, "audits": [*self.manifest.get("audits", []), summary]}
        with _writing(self.folder):
            self._write_manifest()

    def _write_manifest(self) -> None:
        _write_atomically(self.folder / MANIFEST, json.dumps(self.manifest, indent=2).encode() + b"\n")

    def __enter__(self) -> "RunWriter":
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        """Keep what was drawn (but not draws that failed the noise audit) and release the folder."""
        try:
            if not isinstance(error, NoiseError):
                self.flush()
        finally:
            if self._lock is not None:
                self._lock.close()


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
        refuse_disagreement(first["draws"], manifest["draws"], Path(folder), ignore=("dataset.subset",))
        records += _read_shards(Path(folder), manifest)
    return from_records(_without_repeats(records, "the folders"), first)


def read_manifest(folder: str | Path) -> dict[str, Any]:
    """The manifest of a run folder. Raises RunError where the folder is no run or the manifest is damaged."""
    path = Path(folder) / MANIFEST
    if not path.is_file():
        kind = "a file" if Path(folder).is_file() else "a folder without manifest.json"
        what = kind if Path(folder).exists() else "missing"
        raise RunError(f"{folder} is not a run folder ({what}); name a folder that `certmix certify --out` wrote.")
    try:
        manifest = json.loads(path.read_text())
        version = manifest["schema_version"]
        manifest["draws"]["sigma"]
    except (ValueError, KeyError, TypeError, UnicodeDecodeError) as error:
        raise RunError(f"{path} is damaged ({error!r}); restore it from a copy.") from None
    if version != SCHEMA_VERSION:
        raise RunError(f"{path} has schema version {version}, this certmix reads {SCHEMA_VERSION}.")
    return dict(manifest)


def refuse_disagreement(
    stored: Mapping[str, Any], asked: Mapping[str, Any], folder: Path, *, ignore: Sequence[str] = ()
) -> None:
    """Raise RunError with both values where two descriptions of draws differ."""
    left, right = dict(_flatten(stored)), dict(_flatten(asked))
    for key in {**left, **right}:
        if key not in ignore and left.get(key) != right.get(key):
            raise RunError(
                f"{folder} disagrees on {key}: the run has {left.get(key)!r}, asked for is {right.get(key)!r}; "
                "use the run's setting or another --out."
            )


def _flatten(tree: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in tree.items():
        if isinstance(value, Mapping) and prefix + key != "dataset.subset":
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def _read_shards(folder: Path, manifest: Mapping[str, Any]) -> list[InputRecord]:
    records: list[InputRecord] = []
    for path in sorted((folder / SHARDS).glob("*.parquet")):
        try:
            table = pq.read_table(path, page_checksum_verification=True)
            rows = from_table(table)
        except (pa.ArrowException, OSError, KeyError, TypeError, ValueError) as error:
            raise RunError(
                f"shard {path} is damaged ({str(error).splitlines()[0][:120]}); "
                "delete that file and run the same command again: only its inputs are drawn anew."
            ) from None
        if (table.schema.metadata or {}).get(b"certmix_seed") != str(manifest["draws"]["seed"]).encode():
            raise RunError(f"shard {path} belongs to another run (its seed differs); remove it from this folder.")
        for row in rows:
            check_record(row, manifest["draws"], path)
        records += rows
    return _without_repeats(records, str(folder))


def _without_repeats(records: Sequence[InputRecord], where: str) -> list[InputRecord]:
    """Each input once; the same input with the same votes is one observation, with other votes an error."""
    by_index: dict[int, InputRecord] = {}
    for record in records:
        kept = by_index.setdefault(record.index, record)
        if not np.array_equal(kept.estimation_counts, record.estimation_counts):
            raise RunError(
                f"input {record.index} was drawn twice with different votes in {where}; keep one of the shards."
            )
    return list(by_index.values())


def _lock(folder: Path, patience: float) -> TextIO:
    handle = (folder / ".lock").open("w")
    until = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            if time.monotonic() < until:
                time.sleep(0.1)
                continue
            handle.close()
            raise RunError(
                f"{folder} is being written by another process; wait for it or choose another --out."
            ) from None
        return handle


@contextlib.contextmanager
def _writing(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise RunError(
            f"cannot write {folder} ({error.strerror}); stored draws are kept, free space or choose another --out."
        ) from None


def _write_atomically(path: Path, content: bytes) -> None:
    """Write content so that `path` is either absent (or old) or whole, also after a power cut."""
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=".writing-")
    try:
        with os.fdopen(descriptor, "wb") as handle:
            handle.write(content)
            handle.flush()
            os.fsync(handle.fileno())
        os.chmod(temporary, 0o644)
        os.replace(temporary, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        raise
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)
