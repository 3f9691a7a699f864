"""`folder:DIR`: one sub-folder of images per class, as in ImageNet; decoded on access."""

import hashlib
import os
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import torch

from certmix.datasets.base import Labelled
from certmix.datasets.images import GRID_LEVELS, ImageReader, read_image
from certmix.errors import InvalidArgument
from certmix.files import read_whole

_SUFFIXES = (".jpg", ".jpeg", ".png", ".ppm", ".pgm", ".bmp", ".tif", ".tiff", ".webp")
_SPLITS = {"train", "val", "valid", "validation", "test"}


class FolderDataset(Labelled):
    """Images of class sub-folders, decoded on access: memory holds names and labels only. See `Dataset`.

    Classes are the sub-folders in order of name and images follow in order of path, so that indices are those of
    torchvision's ImageFolder. The fingerprint covers the bytes of the files and the reader's options, not the decoder:
    it reads every file of the subset once, checks its header and end, and decodes none.

    Args:
        folder: with a sub-folder per class.
        reader: how a file becomes an input; where its mode is "auto", the first image decides.
        classes: folder names in the model's order of classes; those present, sorted, where left out.
        spec: the text that loads it again.
        subset: how the inputs were chosen.
    Raises: InvalidArgument: no class folders, a class without images, or a first image that cannot be read.
    """

    grid_levels: int | None = GRID_LEVELS

    def __init__(
        self,
        folder: Path,
        reader: ImageReader,
        *,
        classes: list[str] | None = None,
        spec: str,
        subset: dict[str, object],
    ) -> None:
        self.classes = _class_names(folder, classes)
        self._folder, self._names = folder, list[str]()
        labels: list[int] = []
        for label, name in enumerate(self.classes):
            found = list(_images(folder, name))
            if not found and classes is None:
                raise InvalidArgument(
                    f"class folder {folder / name} must hold images ({', '.join(_SUFFIXES)}), got none."
                )
            self._names += found
            labels += [label] * len(found)
        if not self._names:
            raise InvalidArgument(f"{folder} must hold images of the classes listed, got none.")
        self._reader = reader.settle(folder / self._names[0])
        self.input_shape, self.num_classes = self._reader.shape, len(self.classes)
        self.labels = np.array(labels, dtype=np.int64)
        self.indices = np.arange(len(labels), dtype=np.int64)
        self.spec, self.subset = spec, dict(subset)

    def input_bytes(self, position: int) -> bytes:
        """The reader's options and the sha256 of one file, whose header and end are checked; nothing is decoded."""
        path = self._folder / self._names[position]
        content = read_image(path)
        self._reader.check(content, path)
        return self._reader.describe().encode() + hashlib.sha256(content).digest()

    def __getitem__(self, position: int) -> tuple[torch.Tensor, int]:
        return self._reader.read(self._folder / self._names[position]), int(self.labels[position])


def load_folder(
    root: str,
    split: str | None = None,
    *,
    mode: str = "auto",
    resize: int | None = None,
    crop: int | None = None,
    interpolation: str = "bilinear",
    classes: str | None = None,
    spec: str | None = None,
) -> FolderDataset:
    """Images of class sub-folders: ImageNet is `folder:ROOT,mode=rgb,resize=256,crop=224` with `--split val`.

    Args:
        root: folder with a sub-folder per class, or with a folder per split that holds them.
        split: sub-folder of `root` to read; `root` itself where left out.
        mode: "rgb" or "grey" converts every image; "auto" takes them as they are and refuses a mixture.
        resize: shorter side after resizing, as torchvision's Resize; images keep their size where left out.
        crop: side of the square cut from the middle, as torchvision's CenterCrop.
        interpolation: "bilinear" (antialiased), "bicubic", "lanczos" or "nearest".
        classes: text file with one folder name per line, in the model's order of classes.
        spec: the text that loads it again.
    Raises: InvalidArgument: a value out of range, a missing folder or file, or images that cannot be read.
    """
    folder = Path(root) / split if split else Path(root)
    if not folder.is_dir():
        remedy = f"choose --split among {_present(Path(root))}" if Path(root).is_dir() else "check the path"
        raise InvalidArgument(f"folder:DIR must be a folder, got {folder} (no such folder); {remedy}.")
    names = None
    if classes is not None:
        try:
            text = read_whole(classes, "classes file", 2**20).decode()
            names = [line.split()[0] for line in text.splitlines() if line.strip()]
        except UnicodeDecodeError:
            raise InvalidArgument(f"classes must be a text file of folder names, got {classes!r}.") from None
    reader = ImageReader(mode=mode, resize=resize, crop=crop, interpolation=interpolation)
    return FolderDataset(
        folder, reader, classes=names, spec=spec or f"folder:{root}", subset={"split": split} if split else {}
    )


def _present(root: Path) -> str:
    return ", ".join(sorted(entry.name for entry in root.iterdir() if entry.is_dir())[:8]) or "none (it is empty)"


def _class_names(folder: Path, wanted: list[str] | None) -> list[str]:
    present = sorted(entry.name for entry in os.scandir(folder) if entry.is_dir() and not entry.name.startswith("."))
    if not present:
        raise InvalidArgument(f"folder:DIR must hold one sub-folder of images per class, got none in {folder}.")
    if wanted is not None:
        if len(set(wanted)) != len(wanted) or not set(present) <= set(wanted):
            stray = sorted(set(present) - set(wanted))[:3]
            raise InvalidArgument(
                f"classes must name each folder of {folder} once, got none for {stray or 'a repeat'}."
            )
        return wanted
    if set(present) <= _SPLITS:
        raise InvalidArgument(f"{folder} holds splits, not classes; choose one with --split {'|'.join(present)}.")
    return present


def _images(folder: Path, name: str) -> Iterable[str]:
    """Paths of a class's images relative to the folder, in the order of torchvision's ImageFolder."""
    for root, _, files in sorted(os.walk(folder / name, followlinks=True)):
        for file in sorted(files):
            if file.lower().endswith(_SUFFIXES):
                yield os.path.relpath(os.path.join(root, file), folder)
