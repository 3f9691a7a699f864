"""Epochs of training, and checkpoints to go on from: one safetensors file, no pickles, written whole or not at all."""

import json
import math
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Generic, TypeVar

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn
from torch.optim.lr_scheduler import LRScheduler

from certmix.errors import RunError
from certmix.files import write_whole
from certmix.json_fields import first_difference


@dataclass(frozen=True)
class Epoch:
    """What one epoch showed; each kind of training adds its own.

    Attributes:
        epoch: counted from 1.
        loss: mean over the training batches.
    """

    epoch: int
    loss: float


Report = TypeVar("Report", bound=Epoch)


@dataclass
class TrainingState(Generic[Report]):
    """All that changes while training: the next epoch depends on nothing else.

    Attributes:
        report: the kind of report that an epoch gives.
        model: is trained.
        average: its average; None for none.
        optimizer, schedule: of the model.
        generators: of all that is drawn, by a name of each.
        history: of the epochs so far.
        best: state of the best epoch's weights; empty without a validation part.
    """

    report: type[Report]
    model: nn.Module
    average: nn.Module | None
    optimizer: torch.optim.Optimizer
    schedule: LRScheduler
    generators: Mapping[str, torch.Generator]
    history: list[Report] = field(default_factory=list)
    best: dict[str, Tensor] = field(default_factory=dict)

    @property
    def result(self) -> nn.Module:
        """The model to judge and to keep: the average where there is one."""
        return self.average or self.model


def train_epochs(
    state: TrainingState[Report],
    epochs: int,
    one: Callable[[], Report],
    *,
    purpose: Mapping[str, object],
    checkpoint: str | Path | None = None,
    checkpoint_seconds: float = 0.0,
    each_epoch: Callable[[Report], None] | None = None,
) -> None:
    """Train the epochs that are still missing, each by `one`, after going on from the checkpoint where there is one.

    Args:
        state: as it starts; as it is after the last epoch in the end.
        epochs: in all.
        one: trains one epoch.
        purpose: everything that a checkpoint must agree with.
        checkpoint, checkpoint_seconds, each_epoch: see `certmix.training.loop.fit`.
    Raises: RunError: a checkpoint that is damaged or another run's, or a loss that is not finite.
        FileError: a checkpoint that cannot be written.
    """
    path = Path(checkpoint) if checkpoint else None
    if path and path.exists():
        _read(path, state, purpose)
    written = time.monotonic()
    while len(state.history) < epochs:
        report = one()
        if not math.isfinite(report.loss):
            raise RunError(
                f"the loss must stay finite, got {report.loss} in epoch {report.epoch}; lower the learning rate."
            )
        state.history.append(report)
        if path and time.monotonic() - written >= checkpoint_seconds:
            _write(path, state, purpose)
            written = time.monotonic()
        if each_epoch:
            each_epoch(report)


def _write(path: Path, state: TrainingState[Report], purpose: Mapping[str, object]) -> None:
    tensors = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in _tensors(state)}
    own = {
        "purpose": purpose,
        "history": [asdict(report) for report in state.history],
        "groups": state.optimizer.state_dict()["param_groups"],
        "schedule": state.schedule.state_dict(),
    }
    write_whole(path, save(tensors, metadata={"certmix": json.dumps(own)}), force=True)


def _read(path: Path, state: TrainingState[Report], purpose: Mapping[str, object]) -> None:
    try:
        with safe_open(path, framework="pt") as handle:
            own = json.loads(handle.metadata()["certmix"])
            tensors = {name: handle.get_tensor(name) for name in handle.keys()}  # noqa: SIM118  (no mapping)
        difference = first_difference(own["purpose"], purpose)
        if difference is not None:
            raise RunError(f"{path} disagrees on {difference}; use the run's setting or another --out, or delete it.")
        _restore(state, tensors, own["groups"])
        state.schedule.load_state_dict(own["schedule"])
        state.history[:] = [state.report(**report) for report in own["history"]]
    except (SafetensorError, OSError, KeyError, TypeError, ValueError, RuntimeError) as error:
        if isinstance(error, RunError):
            raise
        raise RunError(f"checkpoint {path} is damaged ({str(error)[:80]!r}); delete it to start again.") from None


def _tensors(state: TrainingState[Report]) -> Iterator[tuple[str, Tensor]]:
    for part, tensors in (
        ("model", state.model.state_dict()),
        ("average", state.average.state_dict() if state.average else {}),
        ("best", state.best),
    ):
        yield from ((f"{part}.{name}", tensor) for name, tensor in tensors.items())
    for number, values in state.optimizer.state_dict()["state"].items():
        for name, value in values.items():
            yield f"optimizer.{number}.{name}", torch.as_tensor(value)
    for name, generator in state.generators.items():
        yield f"generator.{name}", generator.get_state()


def _restore(state: TrainingState[Report], tensors: Mapping[str, Tensor], groups: list[dict[str, object]]) -> None:
    def part(prefix: str) -> dict[str, Tensor]:
        return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}

    state.model.load_state_dict(part("model."))
    if state.average:
        state.average.load_state_dict(part("average."))
    parameters = [each for group in state.optimizer.param_groups for each in group["params"]]
    moments: dict[int, dict[str, Tensor]] = {}
    for name, value in part("optimizer.").items():
        number, _, key = name.partition(".")
        like = parameters[int(number)]
        # In the parameter's layout, as it was: sums over another one could differ in their last bit.
        moments.setdefault(int(number), {})[key] = (
            torch.empty_like(like).copy_(value) if value.shape == like.shape and key != "step" else value
        )
    state.optimizer.load_state_dict({"state": moments, "param_groups": groups})
    device = next(state.model.parameters()).device
    state.best = {name: value.to(device) for name, value in part("best.").items()}
    for name, generator in state.generators.items():
        generator.set_state(tensors[f"generator.{name}"])
