"""`mnist:ROOT`: images and labels in IDX files, gzip-compressed or not (MNIST, Fashion-MNIST, KMNIST, EMNIST).

Source: Y. LeCun, C. Cortes and C. Burges, the MNIST database; the format is described at yann.lecun.com/exdb/mnist.
"""

import gzip
import math
import os
import zlib
from pathlib import Path

import numpy as np

from certmix.datasets.records import RecordDataset, RecordFile, most_unpacked, unpack
from certmix.errors import InvalidArgument
from certmix.files import blame_machine, open_regular, read_at

_STEMS = {"test": "t10k", "train": "train"}
_UNSIGNED_BYTE = 0x08


def load_mnist(root: str, split: str | None = None, *, num_classes: int = 10, spec: str | None = None) -> RecordDataset:
    """Grey images of shape (1, height, width), read from disk on access; compressed files go to a temporary file first.

    Args:
        root: folder that holds t10k-images-idx3-ubyte and t10k-labels-idx1-ubyte (or train-...), with or without .gz;
            the layout of torchvision (ROOT/MNIST/raw) is found too.
        split: "test" (default) or "train".
        num_classes: number of classes.
        spec: the text that loads it again.
    Raises: InvalidArgument: a missing, truncated or foreign file, by its name.
    """
    split = split or "test"
    if split not in _STEMS:
        raise InvalidArgument(f"split of mnist must be train or test, got {split!r}.")
    image_path = _find(Path(root), f"{_STEMS[split]}-images", "idx3-ubyte")
    label_path = _find(Path(root), f"{_STEMS[split]}-labels", "idx1-ubyte")
    label_descriptor = _open(label_path)
    try:
        (count,), start = _header(label_descriptor, label_path, dimensions=1)
        labels = np.frombuffer(read_at(label_descriptor, count, start), dtype=np.uint8).astype(np.int64)
    finally:
        os.close(label_descriptor)
    descriptor = _open(image_path)
    (images, height, width), start = _header(descriptor, image_path, dimensions=3)
    if images != count:
        os.close(descriptor)
        raise InvalidArgument(f"{image_path} and {label_path} must hold as many items, got {images} and {count}.")
    file = RecordFile(str(image_path), descriptor, start=start, stride=height * width, count=images)
    return RecordDataset(
        [file],
        labels,
        spec=spec or f"mnist:{root}",
        input_shape=(1, height, width),
        num_classes=num_classes,
        subset={"split": split},
    )


def _find(root: Path, stem: str, kind: str) -> Path:
    folders = [root, *(folder for folder in sorted(root.glob("*/raw")) if folder.is_dir())]
    for folder in folders:
        for name in (f"{stem}-{kind}", f"{stem}.{kind}"):
            for path in (folder / name, folder / f"{name}.gz"):
                if path.is_file():
                    return path
    what = "no such folder" if not root.is_dir() else "a folder without it"
    raise InvalidArgument(f"mnist:ROOT must be a folder that holds {stem}-{kind}[.gz], got {root} ({what}).")


def _open(path: Path) -> int:
    """A descriptor of the file's content, uncompressed."""
    descriptor = open_regular(path, "IDX file")
    if path.suffix != ".gz":
        return descriptor
    try:
        with open(descriptor, "rb") as handle, gzip.open(handle) as packed:
            return unpack(packed.read, most_unpacked(os.fstat(descriptor).st_size), str(path))
    except (OSError, EOFError, zlib.error) as error:
        blame_machine(error, str(path))
        raise InvalidArgument(f"{path} must be a whole gzip file, got: {error}; download it again.") from None


def _header(descriptor: int, path: Path, *, dimensions: int) -> tuple[tuple[int, ...], int]:
    """(sizes of the array, byte where it starts), after a check that it is all there."""
    start = 4 + 4 * dimensions
    head = read_at(descriptor, start, 0)
    if len(head) < start or head[:4] != bytes([0, 0, _UNSIGNED_BYTE, dimensions]):
        raise InvalidArgument(
            f"{path} must be an IDX file of bytes with {dimensions} dimension(s), got one that starts {head[:4].hex()!r}."
        )
    sizes = tuple(int(size) for size in np.frombuffer(head, dtype=">u4", offset=4))
    needed, found = start + math.prod(sizes), os.fstat(descriptor).st_size
    if found < needed:
        raise InvalidArgument(f"{path} is truncated: {found} of {needed} bytes; download it again.")
    return sizes, start
