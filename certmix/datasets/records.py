"""Images in files of fixed-size records (CIFAR's binary files, MNIST's IDX, 8-bit .npz), read one at a time."""

import math
import os
import tempfile
import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from certmix.datasets.base import Labelled
from certmix.errors import InvalidArgument
from certmix.files import read_at

GRID_LEVELS = 255
_UNPACKED = 256 * 2**20  # bytes that any compressed file may unpack to
_RATIO = 100  # and times its own size: images rarely shrink tenfold


@dataclass(frozen=True)
class RecordFile:
    """Where the images of one file lie.

    Attributes:
        name: for errors.
        descriptor: an open file; the data set closes it.
        start: byte of the first image.
        stride: bytes from one image to the next.
        count: images.
    """

    name: str
    descriptor: int
    start: int
    stride: int
    count: int


def most_unpacked(packed: int) -> int:
    """Bytes that a compressed file of so many bytes may unpack to; more is a bomb rather than images."""
    return max(_UNPACKED, _RATIO * packed)


def unpack(read: Callable[[int], bytes], most: int, name: str) -> int:
    """A descriptor of a temporary file with all that a decompressing reader gives, asked for some bytes at a time.

    Raises: InvalidArgument: more than `most` bytes.
    """
    with tempfile.TemporaryFile() as plain:
        while content := read(1 << 20):
            if plain.tell() + len(content) > most:
                raise InvalidArgument(f"{name} must unpack to at most {most:,} bytes, got more.")
            plain.write(content)
        plain.flush()
        return os.dup(plain.fileno())


class RecordDataset(Labelled):
    """8-bit images read from disk on access: memory holds labels only. See `Dataset` for the attributes.

    Args:
        files: where the images are, in order.
        labels: true classes of all of them, shape (inputs,).
        spec: the text that loads it again.
        input_shape: (channels, height, width), the order of the bytes of a record.
        num_classes: number of classes.
        subset: how the inputs were chosen.
    Raises: InvalidArgument: a label out of range, by its index.
    """

    grid_levels: int | None = GRID_LEVELS

    def __init__(
        self,
        files: Sequence[RecordFile],
        labels: NDArray[np.int64],
        *,
        spec: str,
        input_shape: tuple[int, ...],
        num_classes: int,
        subset: Mapping[str, object],
    ) -> None:
        self._files, self._ends = list(files), np.cumsum([file.count for file in files])
        for file in files:
            weakref.finalize(self, os.close, file.descriptor)
        if not len(labels) or not math.prod(input_shape):
            raise InvalidArgument(
                f"a data set must hold at least one input, got {len(labels)} of {input_shape} from {spec}."
            )
        self.spec, self.labels, self.input_shape, self.num_classes = spec, labels, input_shape, num_classes
        self.indices = np.arange(len(labels), dtype=np.int64)
        self.subset: dict[str, object] = dict(subset)
        wrong = np.flatnonzero((labels < 0) | (labels >= num_classes))
        if len(wrong):
            raise InvalidArgument(
                f"labels of {spec} must be in 0..{num_classes - 1}, got {labels[wrong[0]]} at input {wrong[0]}; "
                "is this file of that format?"
            )

    def _read(self, position: int) -> bytes:
        number = int(np.searchsorted(self._ends, position, side="right"))
        file = self._files[number]
        row = position - (int(self._ends[number - 1]) if number else 0)
        size = math.prod(self.input_shape)
        content = read_at(file.descriptor, size, file.start + row * file.stride)
        if len(content) != size:
            raise InvalidArgument(f"{file.name} is truncated: it ends inside image {row}; download it again.")
        return content

    def __getitem__(self, position: int) -> tuple[torch.Tensor, int]:
        if not 0 <= position < len(self):
            raise IndexError(f"position must be in 0..{len(self) - 1}, got {position}")
        pixels = np.frombuffer(self._read(position), dtype=np.uint8)
        values = pixels.astype(np.float32) / np.float32(GRID_LEVELS)
        return torch.from_numpy(values).reshape(self.input_shape), int(self.labels[position])
