"""Training inputs by row: 8-bit images are held as bytes, others are read when their batch comes; never all as floats."""

import math

import torch
from torch import Tensor
from torch.nn import functional

from certmix.datasets import Dataset
from certmix.datasets.batches import batches

MOST_HELD = 2**31  # bytes of a data set that are held; a larger one is read batch by batch
_SHIFT = 4  # pixels


class TrainingInputs:
    """Inputs and labels of a data set by row, on a device.

    Inputs on a grid of at most 255 levels are read once and held as one byte a value, on the device: CIFAR-10 takes
    154 MB, a quarter of its floats. What a batch gets is bit for bit what the data set gives.

    Args:
        dataset: inputs in [0, 1].
        device: where batches are wanted.
        most_held: bytes that may be held.
    """

    def __init__(self, dataset: Dataset, device: torch.device, most_held: int = MOST_HELD) -> None:
        self._dataset, self._device = dataset, device
        self._labels = torch.as_tensor(dataset.labels, device=device)
        self._levels = dataset.grid_levels or 0
        fits = 0 < self._levels <= 255 and len(dataset) * math.prod(dataset.input_shape) <= most_held
        self.held = self._hold() if fits else None

    def __len__(self) -> int:
        return len(self._labels)

    def take(self, rows: Tensor) -> tuple[Tensor, Tensor]:
        """(float32 inputs, labels) of some rows, shapes (rows, *input_shape) and (rows,)."""
        if self.held is None:
            inputs = torch.stack([self._dataset[int(row)][0] for row in rows]).to(self._device)
        else:
            inputs = self.held[rows.to(self._device)].float() / self._levels
        return inputs, self._labels[rows.to(self._device)]

    def _hold(self) -> Tensor | None:
        held = torch.empty((len(self._dataset), *self._dataset.input_shape), dtype=torch.uint8)
        start = 0
        for inputs, _ in batches(self._dataset):
            codes = (inputs * self._levels).round().to(torch.uint8)
            if not torch.equal(codes.float() / self._levels, inputs):
                return None  # values that only nearly lie on the grid
            held[start : start + len(codes)] = codes
            start += len(codes)
        return held.to(self._device)


def crop_and_flip(images: Tensor) -> Tensor:
    """Images shifted by up to 4 pixels, edges mirrored, and half of them mirrored left to right; shape as before.

    Source: He et al. 2016, arXiv:1512.03385, Section 4.2. Draws from torch's global generator of the images' device.
    """
    batch, channels, height, width = images.shape

    def counting(size: int) -> Tensor:
        return torch.arange(size, device=images.device)

    def shifts() -> Tensor:
        return torch.randint(0, 2 * _SHIFT + 1, (batch, 1), device=images.device)

    rows, columns = shifts() + counting(height), shifts() + counting(width)
    mirrored = torch.rand((batch, 1), device=images.device) < 0.5
    columns = torch.where(mirrored, columns.flip(1), columns)
    padded = functional.pad(images, (_SHIFT,) * 4, mode="reflect")
    which = counting(batch)[:, None, None, None], counting(channels)[None, :, None, None]
    return padded[(*which, rows[:, None, :, None], columns[:, None, None, :])]
