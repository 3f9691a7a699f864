"""Where a model runs."""

import torch

from certmix.errors import InvalidArgument


def choose_device(name: str | torch.device) -> torch.device:
    """The device of a name; "auto" is a GPU where there is one. Raises InvalidArgument where torch cannot use it."""
    if str(name) == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise InvalidArgument(f"device must be auto, cpu, cuda or cuda:N, got {name!r}.") from None
    if device.type not in ("cpu", "cuda"):
        raise InvalidArgument(f"device must be auto, cpu, cuda or cuda:N, got {name!r}.")
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if device.type == "cuda" and (device.index or 0) >= count:
        raise InvalidArgument(f"device {name!r} needs a GPU that torch can use, and there are {count}; use cpu.")
    return device


def compile_model(model: torch.nn.Module, device: torch.device) -> torch.nn.Module:
    """The classifier compiled by torch.compile for one shape of batch; on a GPU its kernels run as one CUDA graph.

    Only the model is compiled, never the noise. Compiling takes seconds to minutes, and on the CPU a C++ compiler.
    """
    mode = "reduce-overhead" if device.type == "cuda" else "default"
    compiled: torch.nn.Module = torch.compile(model, mode=mode, dynamic=False)  # type: ignore[assignment]
    return compiled
