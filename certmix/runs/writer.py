"""Writing a run folder: one writer at a time, whole files only, nothing outside the folder."""

import contextlib
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from certmix.errors import CertmixError, FileError, NoiseError, RunError
from certmix.files import read_whole, write_whole
from certmix.parquet import pack_table, unpack_table
from certmix.runs.manifest import MANIFEST, Manifest, read_manifest
from certmix.runs.records import (
    InputRecord,
    PartialRecord,
    most_values,
    partials_from_table,
    partials_to_table,
    to_table,
)
from certmix.runs.store import (
    SHARDS,
    read_shard,
    read_shards,
    refuse_disagreement,
    shard_name,
    shard_rows,
    without_repeats,
)

PARTIAL = "partial-{}.parquet"
_MOST_PENDING = 500  # records held in memory


class RunWriter:
    """Writes the records of one run folder; the only writer while it is open.

    A shard is written to a temporary file, synced and renamed, so that a killed process leaves whole shards only.

    Args:
        folder: the run folder; created when absent.
        manifest: what this process would draw; must agree with the folder's draws.
        flush_seconds: at most this much sampling is held in memory.
        rank: of several processes that write the run together. Rank 0 opens it and must come first; the others do not
            read what is stored, and only add shards.
        patience: seconds to wait for another writer to end.
    Raises: RunError: the folder is no run, in use, damaged, or from other settings (both values are named).
    """

    def __init__(
        self,
        folder: str | Path,
        manifest: Manifest,
        *,
        flush_seconds: float = 10.0,
        rank: int = 0,
        patience: float = 0.0,
    ) -> None:
        self.folder, self.manifest, self.rank = Path(folder), manifest, rank
        self._flush_seconds = flush_seconds
        self._pending: list[InputRecord] = []
        self._last_flush = time.monotonic()
        self._lock: int | None = None
        self.done: set[int] = set()  # indices of the inputs that need no more draws
        if rank:
            return
        with _writing(self.folder):
            (self.folder / SHARDS).mkdir(parents=True, exist_ok=True)
            if (self.folder / SHARDS).is_symlink():
                raise RunError(
                    f"{self.folder / SHARDS} must be a folder of the run, but is a link; choose another --out."
                )
            self._lock = _lock(self.folder, patience)
            try:
                self._open_manifest()
                self.done = {record.index for record in read_shards(self.folder, self.manifest)}
                for leftover in (self.folder / SHARDS).glob(".writing-*"):
                    leftover.unlink()
            except BaseException:
                os.close(self._lock)
                raise

    def _open_manifest(self) -> None:
        if (self.folder / MANIFEST).exists():
            stored = read_manifest(self.folder)
            refuse_disagreement(stored.draws, self.manifest.draws, self.folder)
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

    def flush(self) -> Path | None:
        """Write what is pending as one shard; returns its path."""
        self._last_flush = time.monotonic()
        if not self._pending:
            return None
        content = pack_table(to_table(self._pending, self.manifest.draws), checksums=True)
        name = shard_name(content, self._pending[0].index, len(self._pending))
        with _writing(self.folder):
            write_whole(self.folder / SHARDS / name, content, force=True)
        self._pending = []
        return self.folder / SHARDS / name

    def save_if_due(self, states: Callable[[], Sequence[PartialRecord]]) -> None:
        """Store finished and unfinished inputs when `flush_seconds` have passed: long inputs lose no more than that."""
        if time.monotonic() - self._last_flush >= self._flush_seconds:
            self.flush()
            self.save_partial(states())

    def save_partial(self, states: Sequence[PartialRecord]) -> None:
        """Store the draws of inputs that are under way, in place of those stored before."""
        content = pack_table(partials_to_table(states, self.manifest.draws), checksums=True)
        with _writing(self.folder):
            write_whole(self.folder / PARTIAL.format(self.rank), content, force=True)

    def read_partial(self) -> dict[int, PartialRecord]:
        """Draws of unfinished inputs by any rank, by index. A damaged or foreign file is as good as none."""
        found: dict[int, PartialRecord] = {}
        draws = self.manifest.draws
        most = draws.dataset.inputs * most_values(draws)
        for path in self.folder.glob(PARTIAL.format("*")):
            try:
                content = read_whole(path, "draws of unfinished inputs", 16 * most + (1 << 20))
                table = unpack_table(content, most_rows=draws.dataset.inputs, most_values=most)
                for state in partials_from_table(table, draws, str(path)):
                    if state.index not in found or found[state.index].draws < state.draws:
                        found[state.index] = state
            except (CertmixError, ValueError):
                continue
        return found

    def drop_partial(self) -> None:
        """Nothing is under way any more."""
        for path in self.folder.glob(PARTIAL.format("*")):
            path.unlink(missing_ok=True)

    def merge_shards(self) -> None:
        """Put small shards together, into ones of 500 inputs and up, when all is drawn and no other rank writes any more."""
        waiting: list[Path] = []
        inputs = 0
        for path in sorted((self.folder / SHARDS).glob("*.parquet")):
            rows = shard_rows(path)
            if rows < _MOST_PENDING:
                waiting, inputs = [*waiting, path], inputs + rows
            if inputs >= _MOST_PENDING:
                self._merge(waiting)
                waiting, inputs = [], 0
        self._merge(waiting)

    def _merge(self, paths: Sequence[Path]) -> None:
        """One shard is written before the others go: what a kill leaves twice is one observation."""
        if len(paths) < 2:
            return
        records = [record for path in paths for record in read_shard(path, self.manifest)]
        self._pending = sorted(without_repeats(records, str(self.folder)), key=lambda record: record.index)
        merged = self.flush()
        for path in paths:
            if path != merged:
                path.unlink()

    def record_audit(self, summary: Mapping[str, object]) -> None:
        """Append a summary of the noise audit to the manifest."""
        self.manifest = self.manifest.with_audit(summary)
        with _writing(self.folder):
            self._write_manifest()

    def _write_manifest(self) -> None:
        write_whole(self.folder / MANIFEST, json.dumps(self.manifest.to_json(), indent=2) + "\n", force=True)

    def __enter__(self) -> "RunWriter":
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        """Keep what was drawn (but not draws that failed the noise audit) and release the folder."""
        try:
            if not isinstance(error, NoiseError):
                self.flush()
        finally:
            if self._lock is not None:
                os.close(self._lock)


def _lock(folder: Path, patience: float) -> int:
    """An open handle that holds the folder's lock; a link in its place is not followed, and nothing is truncated."""
    try:
        import fcntl
    except ImportError:  # Windows
        raise RunError(
            f"{folder} cannot be written here: a run needs the file locks of Linux or macOS; runs can be read anywhere."
        ) from None

    handle = os.open(folder / ".lock", os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
    until = time.monotonic() + patience
    while True:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            if time.monotonic() < until:
                time.sleep(0.1)
                continue
            os.close(handle)
            raise RunError(
                f"{folder} is being written by another process; wait for it or choose another --out."
            ) from None
        return handle


@contextlib.contextmanager
def _writing(folder: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, FileError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise RunError(
            f"cannot write {folder} ({reason}); stored draws are kept, free space or choose another --out."
        ) from None
