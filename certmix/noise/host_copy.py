"""Tensors between host and device, queued behind what the device has been given to do: nobody waits until one is read."""

from typing import Any

import torch
from numpy.typing import NDArray


class HostCopy:
    """A tensor on its way to the host. It must not be changed before it is read.

    Args:
        tensor: on any device; from a GPU it comes through pinned memory.
    """

    def __init__(self, tensor: torch.Tensor) -> None:
        queued = tensor.device.type == "cuda"
        self._there = tensor.to("cpu", non_blocking=queued)
        self._event: torch.cuda.Event | None = None
        if queued:
            self._event = torch.cuda.Event()  # type: ignore[no-untyped-call]
            self._event.record(torch.cuda.current_stream(tensor.device))

    def arrived(self) -> bool:
        """Whether reading it now waits for nothing. Copies of one stream arrive in order."""
        return self._event is None or bool(self._event.query())  # type: ignore[no-untyped-call]

    def numpy(self) -> NDArray[Any]:
        """Its values, once they are there."""
        if self._event is not None:
            self._event.synchronize()
        return self._there.numpy()


def to_device(tensor: torch.Tensor, device: torch.device) -> torch.Tensor:
    """A tensor of the host on a device, without waiting for the device."""
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)
