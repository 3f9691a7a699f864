"""Data sets as tensors: the one place that reads many inputs at a time."""

from collections.abc import Iterator

import torch
from torch import Tensor

from certmix.datasets.base import Dataset
from certmix.errors import InvalidArgument


def batches(dataset: Dataset, size: int = 256) -> Iterator[tuple[Tensor, Tensor]]:
    """(inputs, labels) of at most `size` inputs at a time, in the data set's order: memory holds one batch.

    Args:
        dataset: any.
        size: most inputs in a batch, >= 1.
    Yields: float32 inputs, shape (batch, *input_shape), and int64 labels, shape (batch,).
    """
    for start in range(0, len(dataset), size):
        yield _rows(dataset, range(start, min(start + size, len(dataset))))


def stack(dataset: Dataset) -> tuple[Tensor, Tensor]:
    """All inputs, float32, shape (inputs, *input_shape), and labels, int64, shape (inputs,), held in memory.

    Raises: InvalidArgument: a data set that does not fit into memory.
    """
    return _rows(dataset, range(len(dataset)))


def _rows(dataset: Dataset, positions: range) -> tuple[Tensor, Tensor]:
    shape = (len(positions), *dataset.input_shape)
    try:
        inputs = torch.empty(shape)
    except (RuntimeError, MemoryError):
        raise InvalidArgument(
            f"{shape} inputs of {dataset.spec} must fit into memory, but do not; use --max."
        ) from None
    for row, position in enumerate(positions):
        one = dataset[position][0]
        if one.shape != inputs.shape[1:]:  # assignment would broadcast it
            raise InvalidArgument(
                f"input {dataset.indices[position]} of {dataset.spec} must have shape {shape[1:]}, got {tuple(one.shape)}."
            )
        inputs[row] = one
    return inputs, torch.as_tensor(dataset.labels[positions.start : positions.stop])
