"""`cifar10:ROOT` and `cifar100:ROOT`: the binary version, a label or two and 3,072 bytes per image.

Source: A. Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009; www.cs.toronto.edu/~kriz/cifar.html.
"""

from pathlib import Path

import numpy as np

from certmix.datasets.records import RecordDataset, RecordFile
from certmix.errors import InvalidArgument
from certmix.files import open_regular

_PIXELS = 3 * 32 * 32
_CIFAR10 = {"test": ["test_batch.bin"], "train": [f"data_batch_{part}.bin" for part in range(1, 6)]}
_CIFAR100 = {"test": ["test.bin"], "train": ["train.bin"]}
_FOLDERS = {"cifar10": "cifar-10-batches-bin", "cifar100": "cifar-100-binary"}
_PICKLES = {
    "cifar10": ("cifar-10-batches-py", ("data_batch_1", "test_batch"), "cifar-10-binary.tar.gz"),
    "cifar100": ("cifar-100-python", ("train", "test"), "cifar-100-binary.tar.gz"),
}


def load_cifar10(root: str, split: str | None = None, *, spec: str | None = None) -> RecordDataset:
    """10 classes, images of shape (3, 32, 32), read from disk on access; 10,000 test and 50,000 training images.

    Args:
        root: folder that holds test_batch.bin, or holds cifar-10-batches-bin.
        split: "test" (default) or "train".
        spec: the text that loads it again.
    Raises: InvalidArgument: a missing or truncated file, or the pickled version, with the remedy.
    """
    return _load("cifar10", root, split, spec or f"cifar10:{root}", _CIFAR10, label_bytes=1, label=0, num_classes=10)


def load_cifar100(
    root: str, split: str | None = None, *, labels: str = "fine", spec: str | None = None
) -> RecordDataset:
    """100 classes ("fine") or 20 superclasses ("coarse"), images of shape (3, 32, 32), read from disk on access.

    Args:
        root: folder that holds test.bin, or holds cifar-100-binary.
        split: "test" (default) or "train".
        labels: "fine" or "coarse".
        spec: the text that loads it again.
    Raises: InvalidArgument: as `load_cifar10`, or other labels.
    """
    if labels not in ("fine", "coarse"):
        raise InvalidArgument(f"labels of cifar100 must be fine or coarse, got {labels!r}.")
    place, classes = (1, 100) if labels == "fine" else (0, 20)
    spec = spec or f"cifar100:{root},labels={labels}"
    return _load("cifar100", root, split, spec, _CIFAR100, label_bytes=2, label=place, num_classes=classes)


def _load(
    name: str,
    root: str,
    split: str | None,
    spec: str,
    files: dict[str, list[str]],
    *,
    label_bytes: int,
    label: int,
    num_classes: int,
) -> RecordDataset:
    split = split or "test"
    if split not in files:
        raise InvalidArgument(f"split of {name} must be train or test, got {split!r}.")
    folder = _find_folder(name, Path(root), files[split][0])
    stride = label_bytes + _PIXELS
    opened, labels = [], []
    for file in files[split]:
        path = folder / file
        if not path.is_file():
            raise InvalidArgument(f"{name} must be complete, got no {file} in {folder}; unpack the archive again.")
        count, rest = divmod(path.stat().st_size, stride)
        if rest or not count:
            raise InvalidArgument(
                f"{path} must hold records of {stride} bytes, got {count} and {rest} bytes more; "
                "it is truncated or of another format: download it again."
            )
        labels.append(np.array(np.memmap(path, dtype=np.uint8, mode="r", shape=(count, stride))[:, label]))
        descriptor = open_regular(path, name)
        opened.append(RecordFile(str(path), descriptor, start=label_bytes, stride=stride, count=count))
    return RecordDataset(
        opened,
        np.concatenate(labels).astype(np.int64),
        spec=spec,
        input_shape=(3, 32, 32),
        num_classes=num_classes,
        subset={"split": split},
    )


def _conversion(name: str, folder: Path, file: str) -> str:
    """The command that makes an .npz of the pickled version's files, and the spec that reads it."""
    split = "test" if file.startswith("test") else "train"
    parts, labels = [split], "fine_labels"
    if name == "cifar10":
        parts, labels = [Path(binary).stem for binary in _CIFAR10[split]], "labels"
    code = (
        f"import pathlib, pickle, numpy as np; d = [pickle.loads(pathlib.Path(f).read_bytes(), encoding='bytes') for f in "
        f"{[str(folder / part) for part in parts]}]; np.savez('{name}-{split}.npz', inputs=np.concatenate([p[b'data'] for "
        f"p in d]).reshape(-1, 3, 32, 32), labels=np.concatenate([p[b'{labels}'] for p in d]))"
    )
    return f'python -c "{code}", and use npz:{name}-{split}.npz.'


def _find_folder(name: str, root: Path, file: str) -> Path:
    for folder in (root, root / _FOLDERS[name]):
        if (folder / file).is_file():
            return folder
    pickled, pickles, archive = _PICKLES[name]
    for folder in (root, root / pickled):
        if any((folder / stem).is_file() for stem in pickles):
            raise InvalidArgument(
                f"{folder} holds the python-pickle version of {name}, which could run code when loaded; "
                f"get the binary version ({archive}) and name the folder it unpacks to, or, if you trust these files, "
                f"convert them, {_conversion(name, folder, file)}"
            )
    what = "no such folder" if not root.is_dir() else f"a folder without {file}"
    raise InvalidArgument(f"{name}:ROOT must be a folder that holds {file} or {_FOLDERS[name]}, got {root} ({what}).")
