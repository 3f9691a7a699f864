"""`npz:FILE`: arrays `inputs` and `labels` of a NumPy archive; 8-bit inputs are read from disk one at a time."""

import os
import shutil
import struct
import tempfile
import zipfile
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from certmix.datasets.base import Dataset
from certmix.datasets.in_memory import ArrayDataset
from certmix.datasets.records import RecordDataset, RecordFile
from certmix.errors import InvalidArgument

_LOCAL_HEADER = 30  # bytes of a zip member's own header before its name
_UNREADABLE = (ValueError, OSError, zipfile.BadZipFile, AttributeError, TypeError, EOFError, KeyError, struct.error)


def load_npz(
    path: str,
    split: str | None = None,
    *,
    num_classes: int | None = None,
    grid_levels: int | None = None,
    spec: str | None = None,
) -> Dataset:
    """Inputs (n, ...) and labels (n,) of a .npz file; uint8 inputs are divided by 255 and lie on that grid.

    Memory holds float inputs; of uint8 inputs labels only.

    Args:
        path: the file. No pickled object is ever loaded from it.
        split: reads `inputs_SPLIT` and `labels_SPLIT` where given.
        num_classes: number of classes; the largest label + 1 where left out.
        grid_levels: G where float inputs are multiples of 1/G.
        spec: the text that loads it again.
    Raises: InvalidArgument: no such file, no such array, not an archive, or values out of range.
    """
    wanted, truth = (f"{name}_{split}" if split else name for name in ("inputs", "labels"))
    if not Path(path).is_file():
        raise InvalidArgument(f"npz file must exist, got {path!r}; check the path.")
    spec, subset = spec or f"npz:{path}", {"split": split} if split else {}
    try:
        with np.load(path, allow_pickle=False) as stored:
            for name in (wanted, truth):
                if name not in stored:
                    held = ", ".join(stored.files) or "nothing"
                    raise InvalidArgument(f"{path} must hold the array {name!r}, got {held}.")
            labels = stored[truth]
            shape, dtype, start = _header(path, wanted)
            inputs = None if dtype == np.uint8 and start is not None else stored[wanted]
        if inputs is None:
            file = _record_file(path, wanted, shape, start or 0)
    except InvalidArgument:
        raise
    except _UNREADABLE as error:
        raise InvalidArgument(f"{path} must be an .npz archive of plain arrays, got: {error}") from None
    if inputs is None:
        return _stream(file, labels, shape[1:], num_classes, spec, subset)
    if inputs.dtype == np.uint8:
        inputs, grid_levels = inputs.astype(np.float32) / np.float32(255), 255
    elif inputs.dtype.kind not in "fiu":
        raise InvalidArgument(f"inputs of {path} must be numbers, got {inputs.dtype}.")
    return ArrayDataset(inputs, labels, spec=spec, num_classes=num_classes, grid_levels=grid_levels, subset=subset)


def _stream(
    file: RecordFile,
    labels: NDArray[np.generic],
    shape: tuple[int, ...],
    num_classes: int | None,
    spec: str,
    subset: dict[str, str],
) -> RecordDataset:
    if labels.shape != (file.count,) or labels.dtype.kind not in "iu" or not file.count:
        os.close(file.descriptor)
        raise InvalidArgument(
            f"labels of {spec} must be integers, one for each of {file.count} inputs (at least one), got {labels.dtype} "
            f"of shape {labels.shape}."
        )
    truth = labels.astype(np.int64)
    classes = int(truth.max()) + 1 if num_classes is None else num_classes
    return RecordDataset([file], truth, spec=spec, input_shape=shape, num_classes=classes, subset=subset)


def _header(path: str, name: str) -> tuple[tuple[int, ...], np.dtype[np.generic], int | None]:
    """Shape, type and start of an array inside its member; no start where its rows do not follow each other."""
    with zipfile.ZipFile(path) as archive, archive.open(f"{name}.npy") as member:
        version = np.lib.format.read_magic(member)
        if version not in ((1, 0), (2, 0)):
            return (), np.dtype(object), None
        read = np.lib.format.read_array_header_1_0 if version == (1, 0) else np.lib.format.read_array_header_2_0
        shape, fortran_order, dtype = read(member)
        return shape, dtype, None if fortran_order or len(shape) < 2 else member.tell()


def _record_file(path: str, name: str, shape: tuple[int, ...], start: int) -> RecordFile:
    """Where the rows of an array lie: in the archive itself, or, where that is compressed, in a temporary file."""
    with zipfile.ZipFile(path) as archive:
        entry = archive.getinfo(f"{name}.npy")
        with tempfile.TemporaryFile() as plain, archive.open(entry) as member:
            stored = entry.compress_type == zipfile.ZIP_STORED
            with open(os.devnull, "wb") as nowhere:  # reading to the end checks the archive's checksum
                shutil.copyfileobj(member, nowhere if stored else plain, 1 << 20)
            plain.flush()
            descriptor = os.open(path, os.O_RDONLY) if stored else os.dup(plain.fileno())
    if stored:
        lengths = os.pread(descriptor, 4, entry.header_offset + _LOCAL_HEADER - 4)
        start += entry.header_offset + _LOCAL_HEADER + sum(struct.unpack("<HH", lengths))
    return RecordFile(path, descriptor, start=start, stride=int(np.prod(shape[1:])), count=shape[0])
