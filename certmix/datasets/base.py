"""What every data set is: inputs in [0, 1] with labels, stable indices and a content fingerprint."""

import hashlib
import math
from collections.abc import Sequence
from functools import cached_property
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from certmix.input_range import InputRange


class Dataset(Protocol):
    """Labelled inputs in [0, 1]; the type that `certmix.sample` takes. Inputs are read one at a time.

    Attributes:
        spec: the text that loads it again, e.g. "digits,split=test".
        labels: true classes, shape (inputs,), int64, known without reading any input.
        indices: stable positions in the whole split, shape (inputs,), int64; a subset keeps them.
        input_shape: shape of one input, e.g. (1, 8, 8).
        num_classes: number of classes.
        grid_levels: G where every input value is a multiple of 1/G (255 for 8-bit images, 16 for digits); else None.
        fingerprint: hex sha256 of the content of this subset (indices, labels, inputs; see `input_bytes`).
        subset: how it was chosen, e.g. {"split": "test", "skip": 1, "max": 300}; recorded in every manifest.
    """

    spec: str
    labels: NDArray[np.int64]
    indices: NDArray[np.int64]
    input_shape: tuple[int, ...]
    num_classes: int
    grid_levels: int | None
    subset: dict[str, object]

    @property
    def fingerprint(self) -> str:
        """Hex sha256 of the content."""
        ...

    def __len__(self) -> int: ...

    def __getitem__(self, position: int) -> tuple[torch.Tensor, int]:
        """Input (float32, shape `input_shape`, in [0, 1]) and label at a position in 0..len-1."""
        ...


def spread_order(count: int) -> NDArray[np.int64]:
    """All of 0..count-1, shape (count,), such that the first ones, however many, lie evenly over the whole.

    By the fractional parts of multiples of the golden ratio. Data are often sorted by class; what is done in this order is
    representative wherever it stops.
    """
    return np.argsort(np.arange(count) * ((math.sqrt(5) - 1) / 2) % 1.0, kind="stable")


def bounds_of(dataset: Dataset) -> InputRange | None:
    """The range that a data set's inputs had before they were mapped to [0, 1]; None where that was [0, 1].

    A data set of another range has an attribute `bounds`.
    """
    return getattr(dataset, "bounds", None)


def input_bytes(dataset: Dataset, position: int) -> bytes:
    """What stands for one input in a fingerprint: its float32 values, or what the data set's own `input_bytes` returns.

    A data set of encoded images defines that method, so that a fingerprint need not decode them.
    """
    own = getattr(dataset, "input_bytes", None)
    return value_bytes(dataset[position][0]) if own is None else bytes(own(position))


def value_bytes(values: torch.Tensor) -> bytes:
    """The values of a tensor as little-endian float32."""
    return np.ascontiguousarray(values.numpy().astype("<f4")).tobytes()


def content_fingerprint(dataset: Dataset) -> str:
    """Hex sha256 of indices, labels, shape, classes and `input_bytes` of the inputs, read one at a time."""
    digest = hashlib.sha256(repr((tuple(dataset.input_shape), dataset.num_classes)).encode())
    for integers in (dataset.indices, dataset.labels):
        digest.update(np.ascontiguousarray(integers.astype("<i8")).tobytes())
    for position in range(len(dataset)):
        digest.update(input_bytes(dataset, position))
    return digest.hexdigest()


class Labelled(Dataset):
    """What data sets have in common once their inputs can be read one at a time; see `Dataset` for the attributes."""

    def __repr__(self) -> str:
        grid = "" if self.grid_levels is None else f", grid 1/{self.grid_levels}"
        bounds = "" if bounds_of(self) is None else f", from {bounds_of(self)}"
        return (
            f"{type(self).__name__}({len(self)} inputs of {self.spec}, shape {self.input_shape}, "
            f"{self.num_classes} classes{grid}{bounds})"
        )

    @cached_property
    def fingerprint(self) -> str:
        """Hex sha256 of the content: every input is read, or what stands for it in `input_bytes`."""
        return content_fingerprint(self)

    def __len__(self) -> int:
        return len(self.labels)


class Subset(Labelled):
    """Some inputs of a data set, with their stable indices; nothing is copied. See `Dataset` for the attributes.

    Args:
        dataset: the whole.
        positions: which of its inputs, in 0..len-1.
        subset: how they were chosen, recorded in every manifest.
    """

    def __init__(self, dataset: Dataset, positions: Sequence[int] | NDArray[np.int64], **subset: object) -> None:
        self._whole, self._positions = dataset, np.asarray(positions, dtype=np.int64)
        self.spec, self.input_shape, self.num_classes = dataset.spec, dataset.input_shape, dataset.num_classes
        self.grid_levels, self.bounds = dataset.grid_levels, bounds_of(dataset)
        self.labels, self.indices = dataset.labels[self._positions], dataset.indices[self._positions]
        self.subset: dict[str, object] = {**dataset.subset, **subset}

    def input_bytes(self, position: int) -> bytes:
        """See `input_bytes`."""
        return input_bytes(self._whole, int(self._positions[position]))

    def __getitem__(self, position: int) -> tuple[torch.Tensor, int]:
        return self._whole[int(self._positions[position])]
