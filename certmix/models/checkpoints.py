"""Weights from files, without running anything: safetensors, and `.pt` files by PyTorch's restricted unpickler only."""

import contextlib
import pickle
import re
import warnings
import zipfile
from collections.abc import Mapping
from typing import Any

import torch
from safetensors import SafetensorError, safe_open

from certmix.errors import InvalidArgument
from certmix.files import blame_machine, open_regular

CHECKPOINT_SUFFIXES = (".pt", ".pth", ".ckpt", ".bin", ".tar")
_STATE_NAMES = ("state_dict", "model_state_dict", "model", "net", "params")
State = dict[str, torch.Tensor]


def read_state(path: str) -> tuple[State, dict[str, Any]]:
    """Tensors of a weights file by name, and what else it says (metadata, or a checkpoint's other entries).

    Guarantee: nothing in the file is executed: safetensors hold no code, and other files are read with
    `weights_only=True`, with no fallback.

    Args:
        path: a `.safetensors` file, or a checkpoint that `torch.save` wrote (a state dict, or a dictionary with one).
    Raises: InvalidArgument: no such file, an HTML page, a file with code in it (its names are listed), or no weights.
    """
    refuse_foreign_file(path)
    return _read_safetensors(path) if path.endswith(".safetensors") else _read_checkpoint(path)


def refuse_foreign_file(path: str) -> None:
    """Raise InvalidArgument where a model file is missing, empty, or an HTML page."""
    with open(open_regular(path, "model file"), "rb") as handle:
        start = handle.read(512)
    if start.lstrip().lower().startswith((b"<!doctype", b"<html")):
        kind = "a safetensors file" if path.endswith(".safetensors") else "a model file"
        raise InvalidArgument(f"{path} must be {kind}, got an HTML page (a failed download?); download it again.")
    if start.startswith(b"version https://git-lfs"):
        raise InvalidArgument(
            f"{path} must be a model file, got a Git LFS pointer; fetch the file itself (git lfs pull)."
        )
    if not start:
        raise InvalidArgument(f"{path} must be a model file, got an empty one; download it again.")


def fit_state(model: torch.nn.Module, state: Mapping[str, torch.Tensor], path: str) -> None:
    """Load weights into a model, strictly; prefixes that all names share ("module.", "model.", ...) are taken off.

    Args:
        model: takes the weights.
        state: tensors by name.
        path: where they come from, for the error.
    Raises: InvalidArgument: a missing or unexpected name, or another shape, by name.
    """
    wanted, fitting = set(model.state_dict()), dict(state)
    while set(fitting) != wanted:
        shorter = _without_common_prefix(fitting)
        if shorter is None:
            break
        fitting = shorter
    # Old checkpoints lack batch norm's counters of steps, which evaluation does not use.
    needed = {name for name in wanted if not name.endswith("num_batches_tracked")}
    if not (needed <= set(fitting) <= wanted):
        fitting = dict(state)
    try:
        model.load_state_dict(fitting)
    except RuntimeError as error:
        reason = "; ".join(line.strip() for line in str(error).splitlines()[1:3])
        raise InvalidArgument(f"weights of {path} must fit the architecture, got {reason[:300]}") from None


def _without_common_prefix(state: Mapping[str, torch.Tensor]) -> State | None:
    firsts = {name.partition(".")[0] for name in state}
    if len(firsts) != 1 or any("." not in name for name in state):
        return None
    return {name.partition(".")[2]: tensor for name, tensor in state.items()}


def _read_safetensors(path: str) -> tuple[State, dict[str, Any]]:
    try:
        with safe_open(path, framework="pt") as handle:
            state = {name: handle.get_tensor(name) for name in handle.keys()}  # noqa: SIM118  (no mapping)
            return state, dict(handle.metadata() or {})
    except (SafetensorError, OSError, RuntimeError, MemoryError, UnicodeError) as error:
        blame_machine(error, path)
        raise InvalidArgument(f"{path} must be a safetensors file, got {_short(error)}.") from None


def _read_checkpoint(path: str) -> tuple[State, dict[str, Any]]:
    if _is_torchscript(path):
        raise InvalidArgument(
            f"{path} is a TorchScript archive, which holds code; save its state_dict(), or export it and use pt2:FILE."
        )
    try:
        with warnings.catch_warnings():  # about pickle protocols: what does not load is an error anyway
            warnings.simplefilter("ignore", UserWarning)
            content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        names = _offending(path, str(error))
        if names:
            raise InvalidArgument(
                f"{path} holds objects that could run code ({', '.join(names)}), so it was not loaded and nothing ran; "
                "where you trust it, load it yourself and save only model.state_dict()."
            ) from None
        raise InvalidArgument(f"{path} must be a checkpoint of tensors, got: {_short(error)}") from None
    except (RuntimeError, EOFError, OSError, ValueError, KeyError, AttributeError, TypeError, MemoryError) as error:
        blame_machine(error, path)
        raise InvalidArgument(f"{path} must be a whole checkpoint of torch.save, got: {_short(error)}") from None
    if not isinstance(content, Mapping):
        raise InvalidArgument(f"{path} must hold a state dict, got {type(content).__name__}.")
    for name in _STATE_NAMES:
        if isinstance(content.get(name), Mapping):
            others = {key: value for key, value in content.items() if key != name}
            return _only_tensors(content[name], path), others
    return _only_tensors(content, path), {}


def _only_tensors(state: Mapping[str, Any], path: str) -> State:
    tensors = {str(name): value for name, value in state.items() if isinstance(value, torch.Tensor)}
    if not tensors or len(tensors) != len(state):
        kept = ", ".join(str(name) for name in list(state)[:5]) or "nothing"
        raise InvalidArgument(f"{path} must hold a state dict (under state_dict or model, or itself), got: {kept}.")
    return tensors


def _is_torchscript(path: str) -> bool:
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as archive:
        return any(name.endswith("/constants.pkl") for name in archive.namelist())


def _offending(path: str, message: str) -> list[str]:
    """Names that the file would have imported."""
    names: list[str] = []
    with contextlib.suppress(Exception):  # of a damaged file, or one in the format before PyTorch 1.6
        names = list(torch.serialization.get_unsafe_globals_in_checkpoint(path))
    return sorted(set(names) or set(re.findall(r"GLOBAL ([\w.]+)", message)))[:5]


def _short(error: Exception) -> str:
    lines = [line for line in str(error).splitlines() if line.strip()]
    return lines[0][:200] if lines else type(error).__name__
