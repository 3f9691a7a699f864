"""Many processes on one run: ranks started by torchrun claim inputs from its key-value store, so uneven inputs balance.

Rank 0 opens the run folder and decides what is missing; every rank writes shards of its own. Nothing else is shared: what
an input's draws are depends on its address alone, and a rank that dies loses no more than it had not stored.
"""

import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from certmix.errors import InvalidArgument

_WAIT = timedelta(hours=24)  # for a rank that opens a large run; torchrun ends everyone where one dies
_POLL_SECONDS = 0.5


@dataclass
class ProcessGroup:
    """The processes that sample one run together.

    Attributes:
        rank: of this process; 0 leads.
        size: number of processes.
        store: torchrun's key-value store; None for a single process.
        prefix: of keys; differs between torchrun's restarts.
    """

    rank: int = 0
    size: int = 1
    store: Any = None
    prefix: str = "certmix"
    _done: int = 0

    @property
    def leads(self) -> bool:
        """Whether this process opens the run and reports."""
        return self.rank == 0

    def share(self, name: str, make: Callable[[], Any]) -> Any:
        """What rank 0 makes, for every rank; a value that JSON can hold."""
        if self.store is None:
            return make()
        key = f"{self.prefix}/{name}"
        if self.leads:
            value = make()
            self.store.set(key, json.dumps(value))
            return value
        self.store.wait([key], _WAIT)
        return json.loads(self.store.get(key))

    def claim(self, positions: list[int]) -> Iterator[int]:
        """Those of the positions that fall to this process: blocks are claimed as they are needed."""
        if self.store is None:
            yield from positions
            return
        block = max(1, len(positions) // (16 * self.size))
        while True:
            stop = self.store.add(f"{self.prefix}/claimed", block)
            if stop - block >= len(positions):
                return
            yield from positions[stop - block : stop]

    def count_done(self, number: int) -> int:
        """Add finished inputs; returns how many all ranks have finished."""
        if self.store is None:
            self._done += number
            return self._done
        return int(self.store.add(f"{self.prefix}/done", number))

    def finish(self, report: dict[str, Any] | None, waiting: Callable[[int], None]) -> list[dict[str, Any]]:
        """Wait for every rank on rank 0; returns their reports (rank 0 only).

        Args:
            report: of this rank; None where it has none.
            waiting: called on rank 0 with the number of inputs done, now and then.
        """
        if self.store is None:
            return [] if report is None else [report]
        self.store.set(f"{self.prefix}/report/{self.rank}", json.dumps(report))
        self.store.add(f"{self.prefix}/finished", 1)
        if not self.leads:
            return []
        while self.store.add(f"{self.prefix}/finished", 0) < self.size:
            waiting(self.count_done(0))
            time.sleep(_POLL_SECONDS)
        waiting(self.count_done(0))
        made = [json.loads(self.store.get(f"{self.prefix}/report/{rank}")) for rank in range(self.size)]
        return [entry for entry in made if entry is not None]


def join_group() -> ProcessGroup:
    """The group that torchrun describes in the environment; a single process where there is none.

    Raises: InvalidArgument: an environment that is not torchrun's.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1 or "TORCHELASTIC_RUN_ID" not in os.environ:
        return ProcessGroup()
    from torch.distributed.rendezvous import rendezvous

    try:
        store, rank, size = next(rendezvous("env://"))
    except (ValueError, RuntimeError) as error:
        raise InvalidArgument(f"torchrun's environment must be complete, got: {str(error).splitlines()[0]}") from None
    _exit_with_parent()
    restart = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    return ProcessGroup(rank, size, store, f"certmix/{os.environ['TORCHELASTIC_RUN_ID']}/{restart}")


def local_device(name: str) -> str:
    """A GPU of its own for each rank of a machine where "auto" or "cuda" is asked for."""
    import torch

    if name in ("auto", "cuda") and "LOCAL_RANK" in os.environ and torch.cuda.is_available():
        return f"cuda:{int(os.environ['LOCAL_RANK']) % torch.cuda.device_count()}"
    return name


def parse_shard(text: str) -> tuple[int, int]:
    """(I, N) of "I/N", 0 <= I < N. Raises InvalidArgument otherwise."""
    number, _, total = text.partition("/")
    if not (number.isdecimal() and total.isdecimal() and int(number) < int(total)):
        raise InvalidArgument(f"--shard must be I/N with 0 <= I < N, got {text!r}; for example 0/8 to 7/8.")
    return int(number), int(total)


def _exit_with_parent() -> None:
    """End this process when its launcher is gone: torchrun's workers would compute on."""
    parent = os.getppid()

    def watch() -> None:
        while os.getppid() == parent:
            time.sleep(1.0)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
