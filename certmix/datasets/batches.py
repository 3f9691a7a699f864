"""Data sets as tensors, and attacks on a model in chunks of rows."""

from collections.abc import Callable

import torch
from torch import Tensor

from certmix.datasets import Dataset


def stack(dataset: Dataset) -> tuple[Tensor, Tensor]:
    """All inputs, shape (inputs, ...), and labels, shape (inputs,), of a data set."""
    return torch.stack([dataset[i][0] for i in range(len(dataset))]), torch.as_tensor(dataset.labels)


def in_chunks(function: Callable[[Tensor], Tensor], inputs: Tensor, size: int = 1000) -> Tensor:
    """A function of inputs, without gradients, on at most `size` rows at a time."""
    with torch.no_grad():
        return torch.cat([function(rows) for rows in torch.split(inputs, size)])
