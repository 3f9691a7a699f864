"""`npz:FILE`: arrays `inputs` and `labels` of a NumPy archive; 8-bit inputs are read from disk one at a time."""

import math
import os
import struct
import zipfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from certmix.datasets.base import Dataset
from certmix.datasets.in_memory import ArrayDataset, eight_bit_levels
from certmix.datasets.records import RecordDataset, RecordFile, most_unpacked, unpack
from certmix.errors import CertmixError, InvalidArgument
from certmix.files import blame_machine, open_regular, read_at
from certmix.input_range import InputRange

_LOCAL_HEADER = 30  # bytes of a zip member's own header before its name
_READERS = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}


def load_npz(
    path: str,
    split: str | None = None,
    *,
    num_classes: int | None = None,
    grid_levels: int | None = None,
    bounds: InputRange | None = None,
    spec: str | None = None,
) -> Dataset:
    """Inputs (n, ...) and labels (n,) of a .npz file; uint8 inputs are divided by 255 and lie on that grid.

    Memory holds float inputs; of uint8 inputs labels only.

    Args:
        path: the file. No pickled object is ever loaded from it.
        split: reads `inputs_SPLIT` and `labels_SPLIT` where given.
        num_classes: number of classes; the largest label + 1 where left out.
        grid_levels: G where float inputs are multiples of 1/G.
        bounds: range of float inputs, which are mapped to [0, 1].
        spec: the text that loads it again.
    Raises: InvalidArgument: no such file, no such array, not an archive, or values out of range.
    """
    wanted, truth = (f"{name}_{split}" if split else name for name in ("inputs", "labels"))
    spec, subset = spec or f"npz:{path}", {"split": split} if split else {}
    try:
        with open(open_regular(path, "npz file"), "rb") as handle, zipfile.ZipFile(handle) as archive:
            inputs, labels = (_find(archive, name, path) for name in (wanted, truth))
            answers = _read(archive, labels)
            if inputs.in_rows and inputs.dtype == np.uint8:
                eight_bit_levels(spec, grid_levels, bounds)
                file = _record_file(archive, inputs, handle.fileno(), path)
                return _stream(file, answers, inputs.shape[1:], num_classes, spec, subset)
            values = _read(archive, inputs)
    except CertmixError:
        raise
    except Exception as error:  # zipfile, its decompressors and NumPy raise whatever a damaged file leads them to
        blame_machine(error, path)
        raise InvalidArgument(f"{path} must be an .npz archive of plain arrays, got: {error}") from None
    if values.dtype.kind not in "fiu":
        raise InvalidArgument(f"inputs of {path} must be numbers, got {values.dtype}.")
    how: dict[str, Any] = {"num_classes": num_classes, "grid_levels": grid_levels, "bounds": bounds}
    return ArrayDataset(values, answers, spec=spec, subset=subset, **how)


@dataclass(frozen=True)
class _Member:
    """An array of the archive as its header describes it, which fits its size.

    Attributes:
        entry: where it lies in the archive.
        shape, dtype: of the array.
        in_rows: whether its inputs follow each other (C order).
        start: bytes of the header.
    """

    entry: zipfile.ZipInfo
    shape: tuple[int, ...]
    dtype: np.dtype[np.generic]
    in_rows: bool
    start: int


def _find(archive: zipfile.ZipFile, name: str, path: str) -> _Member:
    if f"{name}.npy" not in archive.namelist():
        held = ", ".join(each.removesuffix(".npy") for each in archive.namelist()[:8]) or "nothing"
        raise InvalidArgument(f"{path} must hold the array {name!r}, got {held}.")
    entry = archive.getinfo(f"{name}.npy")
    with archive.open(entry) as member:
        shape, fortran_order, dtype = _READERS[np.lib.format.read_magic(member)](member)
        start = member.tell()
    needed = start + math.prod(shape) * dtype.itemsize
    if dtype.hasobject or min(shape, default=0) < 0 or entry.file_size != needed:
        raise InvalidArgument(
            f"{path} must be an .npz archive of plain arrays, got {name!r} of {dtype}, shape {shape}, in {entry.file_size} "
            f"bytes, where it needs {needed}."
        )
    most = most_unpacked(Path(path).stat().st_size)
    if entry.file_size > most:
        raise InvalidArgument(f"{name!r} of {path} must unpack to at most {most:,} bytes, got {entry.file_size:,}.")
    return _Member(entry, shape, dtype, not fortran_order and len(shape) > 1, start)


def _read(archive: zipfile.ZipFile, array: _Member) -> NDArray[np.generic]:
    with archive.open(array.entry) as member:
        values: NDArray[np.generic] = np.lib.format.read_array(member, allow_pickle=False)
        member.read()  # to the end, where the archive's checksum is compared
    return values


def _stream(
    file: RecordFile,
    labels: NDArray[np.generic],
    shape: tuple[int, ...],
    num_classes: int | None,
    spec: str,
    subset: dict[str, str],
) -> RecordDataset:
    if labels.shape != (file.count,) or labels.dtype.kind not in "iu":
        os.close(file.descriptor)
        raise InvalidArgument(
            f"labels of {spec} must be integers, one for each of {file.count} inputs, got {labels.dtype} of shape "
            f"{labels.shape}."
        )
    truth = labels.astype(np.int64)
    classes = int(truth.max(initial=0)) + 1 if num_classes is None else num_classes
    return RecordDataset([file], truth, spec=spec, input_shape=shape, num_classes=classes, subset=subset)


def _record_file(archive: zipfile.ZipFile, array: _Member, descriptor: int, path: str) -> RecordFile:
    """Where the rows of an array lie: in the archive itself, or, where that is compressed, in a temporary file."""
    entry, start = array.entry, array.start
    with archive.open(entry) as member:
        if entry.compress_type == zipfile.ZIP_STORED:
            while member.read(1 << 20):  # to the end, where the archive's checksum is compared
                pass
            lengths = read_at(descriptor, 4, entry.header_offset + _LOCAL_HEADER - 4)
            start += entry.header_offset + _LOCAL_HEADER + sum(struct.unpack("<HH", lengths))
            rows = os.dup(descriptor)
        else:
            rows = unpack(member.read, entry.file_size, path)
    return RecordFile(path, rows, start=start, stride=math.prod(array.shape[1:]), count=array.shape[0])
