"""Checkpoints of a mixing network's training: one safetensors file, no pickles, written whole or not at all."""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from certmix.errors import RunError
from certmix.files import write_whole
from certmix.json_fields import first_difference


@dataclass
class TrainingState:
    """All that changes while training: the next epoch depends on nothing else.

    Attributes:
        network: the mixing network.
        optimizer: its optimiser.
        generator: of order and attacks.
        average: running average of the network's state.
    """

    network: torch.nn.Module
    optimizer: torch.optim.Optimizer
    generator: torch.Generator
    average: dict[str, Tensor]


def write_checkpoint(path: str | Path, state: TrainingState, purpose: Mapping[str, object], epochs_done: int) -> None:
    """Write the state after an epoch. Raises FileError where the file cannot be written."""
    tensors = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in _tensors(state)}
    content = save(tensors, metadata={"certmix": json.dumps({"purpose": purpose, "epochs_done": epochs_done})})
    write_whole(path, content, force=True)


def read_checkpoint(path: str | Path, state: TrainingState, purpose: Mapping[str, object]) -> int:
    """Put a checkpoint into the state; returns the epochs it has done, 0 where there is no file.

    Raises: RunError: a damaged file, or one of other settings, data or base models (both values are named).
    """
    path = Path(path)
    if not path.exists():
        return 0
    try:
        with safe_open(path, framework="pt") as handle:
            stored = json.loads(handle.metadata()["certmix"])
            tensors = {name: handle.get_tensor(name) for name in handle.keys()}  # noqa: SIM118  (no mapping)
        difference = first_difference(stored["purpose"], purpose)
        if difference is not None:
            raise RunError(f"{path} disagrees on {difference}; use the run's setting or another --out.")
        _restore(state, tensors)
        return int(stored["epochs_done"])
    except (SafetensorError, OSError, KeyError, TypeError, ValueError) as error:
        raise RunError(f"checkpoint {path} is damaged ({str(error)[:80]!r}); delete it to start again.") from None


def _tensors(state: TrainingState) -> Iterator[tuple[str, Tensor]]:
    for name, tensor in state.network.state_dict().items():
        yield f"network.{name}", tensor
    for name, tensor in state.average.items():
        yield f"average.{name}", tensor
    for number, values in state.optimizer.state_dict()["state"].items():
        for name, value in values.items():
            yield f"optimizer.{number}.{name}", torch.as_tensor(value)
    yield "generator", state.generator.get_state()


def _restore(state: TrainingState, tensors: Mapping[str, Tensor]) -> None:
    device = next(state.network.parameters()).device

    def part(prefix: str) -> dict[str, Tensor]:
        return {k.removeprefix(prefix): v.to(device) for k, v in tensors.items() if k.startswith(prefix)}

    state.network.load_state_dict(part("network."))
    state.average.update(part("average."))
    moments: dict[int, dict[str, Tensor]] = {}
    for name, value in part("optimizer.").items():
        number, _, key = name.partition(".")
        moments.setdefault(int(number), {})[key] = value.cpu() if key == "step" else value
    own = state.optimizer.state_dict()
    state.optimizer.load_state_dict({"state": moments, "param_groups": own["param_groups"]})
    state.generator.set_state(tensors["generator"])
