"""Data sets in the real file formats, with seeded random images."""

import gzip
import struct
from pathlib import Path

import numpy as np
from PIL import Image


def write_cifar10(folder: Path, count: int = 300, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """test_batch.bin and five training batches; returns the test images (n, 3, 32, 32) and labels."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    for name in ["test_batch.bin", *(f"data_batch_{part}.bin" for part in range(5, 0, -1))]:
        labels = rng.integers(0, 10, count, dtype=np.uint8)
        images = rng.integers(0, 256, (count, 3, 32, 32), dtype=np.uint8)
        (folder / name).write_bytes(np.concatenate([labels[:, None], images.reshape(count, -1)], axis=1).tobytes())
        if name == "test_batch.bin":
            test = images, labels
    return test


def write_cifar100(folder: Path, count: int = 50) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """test.bin; returns images, coarse and fine labels."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(1)
    coarse, fine = rng.integers(0, 20, count, dtype=np.uint8), rng.integers(0, 100, count, dtype=np.uint8)
    images = rng.integers(0, 256, (count, 3, 32, 32), dtype=np.uint8)
    records = np.concatenate([coarse[:, None], fine[:, None], images.reshape(count, -1)], axis=1)
    (folder / "test.bin").write_bytes(records.tobytes())
    return images, coarse, fine


def write_mnist(
    folder: Path, count: int = 40, *, packed: bool = False, side: int = 28
) -> tuple[np.ndarray, np.ndarray]:
    """t10k files in IDX format; returns images (n, side, side) and labels."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(2)
    images = rng.integers(0, 256, (count, side, side), dtype=np.uint8)
    labels = rng.integers(0, 10, count, dtype=np.uint8)
    for name, array in (("t10k-images-idx3-ubyte", images), ("t10k-labels-idx1-ubyte", labels)):
        content = struct.pack(f">BBBB{array.ndim}I", 0, 0, 8, array.ndim, *array.shape) + array.tobytes()
        if packed:
            (folder / f"{name}.gz").write_bytes(gzip.compress(content))
        else:
            (folder / name).write_bytes(content)
    return images, labels


def write_folder(
    folder: Path, classes: int = 3, per_class: int = 4, *, side: int = 16, mode: str = "RGB", suffix: str = "jpg"
) -> None:
    """Class sub-folders n00, n01, ... of random images."""
    rng = np.random.default_rng(3)
    for label in range(classes):
        (folder / f"n{label:02d}").mkdir(parents=True, exist_ok=True)
        for number in range(per_class):
            shape = (side, side) if mode == "L" else (side, side, 3)
            image = Image.fromarray(rng.integers(0, 256, shape, dtype=np.uint8))
            image.save(folder / f"n{label:02d}" / f"{number:04d}.{suffix}")
