"""`npz:FILE`: arrays `inputs` and `labels` of a NumPy archive."""

import zipfile
from pathlib import Path

import numpy as np

from certmix.datasets.in_memory import ArrayDataset
from certmix.errors import InvalidArgument


def load_npz(
    path: str,
    split: str | None = None,
    *,
    num_classes: int | None = None,
    grid_levels: int | None = None,
    spec: str | None = None,
) -> ArrayDataset:
    """Inputs (n, ...) and labels (n,) of a .npz file; uint8 inputs are divided by 255 and lie on that grid.

    Args:
        path: the file. No pickled object is ever loaded from it.
        split: reads `inputs_SPLIT` and `labels_SPLIT` where given.
        num_classes: number of classes; the largest label + 1 where left out.
        grid_levels: G where float inputs are multiples of 1/G.
        spec: the text that loads it again.
    Raises: InvalidArgument: no such file, no such array, not an archive, or values out of range.
    """
    names = tuple(f"{name}_{split}" if split else name for name in ("inputs", "labels"))
    if not Path(path).is_file():
        raise InvalidArgument(f"npz file must exist, got {path!r}; check the path.")
    try:
        with np.load(path, allow_pickle=False) as stored:
            arrays = {name: stored[name] for name in names if name in stored}
            held = ", ".join(stored.files)
    except (ValueError, OSError, zipfile.BadZipFile, AttributeError, TypeError) as error:
        raise InvalidArgument(f"{path} must be an .npz archive of plain arrays, got: {error}") from None
    for name in names:
        if name not in arrays:
            raise InvalidArgument(f"{path} must hold the array {name!r}, got {held or 'nothing'}.")
    inputs, labels = (arrays[name] for name in names)
    if inputs.dtype == np.uint8:
        inputs, grid_levels = inputs.astype(np.float32) / np.float32(255), 255
    elif inputs.dtype.kind not in "fiu":
        raise InvalidArgument(f"inputs of {path} must be numbers, got {inputs.dtype}.")
    return ArrayDataset(
        inputs,
        labels,
        spec=spec or f"npz:{path}",
        num_classes=num_classes,
        grid_levels=grid_levels,
        subset={"split": split} if split else {},
    )
