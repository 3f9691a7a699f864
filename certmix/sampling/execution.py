"""How draws are made: what may cost time or memory, but may not change a result."""

from dataclasses import dataclass, field

from certmix.errors import InvalidArgument
from certmix.sampling.ranks import ProcessGroup


@dataclass(frozen=True)
class Execution:
    """Where and in which portions draws are made.

    Attributes:
        device: "auto" (a GPU where there is one), "cpu", "cuda" or "cuda:N".
        batch_size: draws per forward pass; the last pass is padded, so that every pass has one shape. None takes the
            stored run's, or the fastest of a short calibration that is remembered on this machine.
        exact_batch: keep that shape even where the whole run has fewer draws, to replay a part of a run.
        compile: run the robust model through torch.compile (CUDA graphs on a GPU); recorded.
        flush_seconds: a killed process loses at most this much sampling.
        shard: (I, N): draw every N-th input from the I-th on; folders of one seed are merged by `read_statistics`.
        group: processes that fill one run folder together, of `certmix.sampling.ranks.join_group`.
    Raises: InvalidArgument: a value out of range.
    """

    device: str = "auto"
    batch_size: int | None = None
    exact_batch: bool = False
    compile: bool = False
    flush_seconds: float = 10.0
    shard: tuple[int, int] = (0, 1)
    group: ProcessGroup = field(default_factory=ProcessGroup)

    def __post_init__(self) -> None:
        if self.batch_size is not None and not 1 <= self.batch_size <= 10**7:
            raise InvalidArgument(
                f"batch_size must be in [1, 10,000,000], got {self.batch_size}; leave it out to calibrate."
            )
        number, total = self.shard
        if not 0 <= number < total:
            raise InvalidArgument(f"shard must be (I, N) with 0 <= I < N, got {self.shard}.")
