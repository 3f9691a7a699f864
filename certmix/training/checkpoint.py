"""Checkpoints of a training run: one safetensors file, no pickles, written whole or not at all."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor, nn
from torch.optim.lr_scheduler import LRScheduler

from certmix.errors import RunError
from certmix.files import write_whole
from certmix.json_fields import first_difference


@dataclass(frozen=True)
class EpochReport:
    """What one epoch showed.

    Attributes:
        epoch: counted from 1.
        loss: mean over the training batches.
        accuracy: share of the training inputs right, as the method changed them, range [0, 1].
        clean, noisy: accuracy on the validation part without and with the training noise; None where there is none.
    """

    epoch: int
    loss: float
    accuracy: float
    clean: float | None = None
    noisy: float | None = None

    @property
    def score(self) -> float | None:
        """What the best epoch is chosen by: the noisy accuracy where there is noise, else the clean one."""
        return self.clean if self.noisy is None else self.noisy


@dataclass
class TrainingState:
    """All that changes while training, beside torch's global generators: the next epoch depends on nothing else.

    Attributes:
        model: is trained.
        average: its average; None for none.
        optimizer, schedule: of the model.
        history: of the epochs so far.
        best: state of the best epoch's weights; empty without a validation part.
    """

    model: nn.Module
    average: nn.Module | None
    optimizer: torch.optim.Optimizer
    schedule: LRScheduler
    history: list[EpochReport] = field(default_factory=list)
    best: dict[str, Tensor] = field(default_factory=dict)

    @property
    def result(self) -> nn.Module:
        """The model to judge and to keep: the average where there is one."""
        return self.average or self.model


def write_checkpoint(path: Path, state: TrainingState, purpose: Mapping[str, object]) -> None:
    """Write the state between two epochs. Raises FileError where the file cannot be written."""
    tensors = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in _tensors(state)}
    own = {
        "purpose": purpose,
        "history": [asdict(report) for report in state.history],
        "groups": state.optimizer.state_dict()["param_groups"],
        "schedule": state.schedule.state_dict(),
    }
    write_whole(path, save(tensors, metadata={"certmix": json.dumps(own)}), force=True)


def read_checkpoint(path: Path, state: TrainingState, purpose: Mapping[str, object]) -> None:
    """Put a checkpoint into the state and into torch's global generators.

    Raises: RunError: a damaged file, or one of other settings, data or first weights (both values are named).
    """
    try:
        with safe_open(path, framework="pt") as handle:
            own = json.loads(handle.metadata()["certmix"])
            tensors = {name: handle.get_tensor(name) for name in handle.keys()}  # noqa: SIM118  (no mapping)
        difference = first_difference(own["purpose"], purpose)
        if difference is not None:
            raise RunError(f"{path} disagrees on {difference}; use the run's setting or another --out, or delete it.")
        _restore(state, tensors, own["groups"])
        state.schedule.load_state_dict(own["schedule"])
        state.history[:] = [EpochReport(**report) for report in own["history"]]
    except (SafetensorError, OSError, KeyError, TypeError, ValueError, RuntimeError) as error:
        if isinstance(error, RunError):
            raise
        raise RunError(f"checkpoint {path} is damaged ({str(error)[:80]!r}); delete it to start again.") from None


def _tensors(state: TrainingState) -> Iterator[tuple[str, Tensor]]:
    for part, tensors in (
        ("model", state.model.state_dict()),
        ("average", state.average.state_dict() if state.average else {}),
        ("best", state.best),
    ):
        yield from ((f"{part}.{name}", tensor) for name, tensor in tensors.items())
    for number, values in state.optimizer.state_dict()["state"].items():
        for name, value in values.items():
            yield f"optimizer.{number}.{name}", torch.as_tensor(value)
    yield "generator.cpu", torch.get_rng_state()
    device = next(state.model.parameters()).device
    if device.type == "cuda":
        yield "generator.cuda", torch.cuda.get_rng_state(device)


def _restore(state: TrainingState, tensors: Mapping[str, Tensor], groups: list[dict[str, object]]) -> None:
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
    torch.set_rng_state(tensors["generator.cpu"])
    if device.type == "cuda":
        torch.cuda.set_rng_state(tensors["generator.cuda"], device)
