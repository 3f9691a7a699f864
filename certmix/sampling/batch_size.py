"""The batch size for a model: a short calibration, remembered on this machine."""

import contextlib
import json
import os
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from certmix.errors import CertmixError
from certmix.files import write_whole

_CANDIDATES = {"cpu": (16, 32, 64, 128, 256, 512, 1024, 2048), "cuda": (256, 512, 1024, 2048, 4096, 8192)}
_PASS_SECONDS = 1.0  # no larger batch is tried once a pass takes this long
_OVERHEAD = {"cpu": 2e-4, "cuda": 5e-4}  # seconds per pass around the model: small batches of small models pay it often
_GAIN = 0.97  # a larger batch must be this much faster per row to be worth its memory
_UNKNOWN = 100


@torch.inference_mode()
def calibrate_batch_size(
    model: torch.nn.Module, input_shape: Sequence[int], device: torch.device, *, key: str | None = None
) -> int:
    """The batch size with the least time per row, from a few passes of growing size on random inputs.

    Args:
        model: in eval mode on `device`, (batch, *input_shape) float32 -> logits.
        input_shape: of one input.
        device: where it runs.
        key: names the model and its settings; the result is then remembered in the user's cache folder.
    Returns: rows per pass. A size that leaves less than a tenth of a GPU's memory, or does not fit, ends the search. 100
        where the model does not take such inputs at all: who runs it next will say so.
    """
    place = f"{key} {tuple(input_shape)} {_describe(device)} {torch.get_num_threads()}"
    known = _read_cache()
    if key is not None and place in known:
        return known[place]
    best, least = 0, float("inf")
    for size in _CANDIDATES["cuda" if device.type == "cuda" else "cpu"]:
        try:
            taken = _pass_seconds(model, torch.rand(size, *input_shape, device=device)) + _OVERHEAD[device.type]
            crowded = _crowded(device)
        except torch.cuda.OutOfMemoryError:
            crowded = True
        except (RuntimeError, TypeError, ValueError, IndexError):
            return _UNKNOWN
        if crowded:
            torch.cuda.empty_cache()
            break
        if taken / size < (_GAIN * least if best else least):
            best, least = size, taken / size
        if taken > _PASS_SECONDS or taken / size > 1.3 * least:
            break
    chosen = best or 1
    if key is not None:
        _write_cache({**known, place: chosen})
    return chosen


def _pass_seconds(model: torch.nn.Module, inputs: torch.Tensor) -> float:
    best = float("inf")
    for attempt in range(3):
        started = time.perf_counter()
        model(inputs)
        if inputs.device.type == "cuda":
            torch.cuda.synchronize(inputs.device)
        taken = time.perf_counter() - started
        best = min(best, taken) if attempt else best  # the first one warms up
        if taken > _PASS_SECONDS:
            return min(best, taken)
    return best


def _crowded(device: torch.device) -> bool:
    """Whether a pass left less than a tenth of the GPU's memory free: torch keeps what the pass had allocated at most."""
    if device.type != "cuda":
        return False
    free, total = torch.cuda.mem_get_info(device)
    return free < total / 10


def _describe(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu"


def _cache_file() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "certmix" / "batch_sizes.json"


def _read_cache() -> dict[str, int]:
    try:
        stored = json.loads(_cache_file().read_text())
        return {str(name): int(size) for name, size in stored.items() if int(size) > 0}
    except (OSError, ValueError, AttributeError, TypeError):
        return {}


def _write_cache(sizes: dict[str, int]) -> None:
    """Remember, where the folder can be written; calibrating again is cheap."""
    with contextlib.suppress(CertmixError, OSError):
        write_whole(_cache_file(), json.dumps(sizes, indent=1), force=True)
