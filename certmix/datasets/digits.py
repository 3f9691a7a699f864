"""`digits`: the 1,797 real 8x8 images of handwritten digits of the UCI repository, built in."""

from importlib import resources

import numpy as np

from certmix.datasets.in_memory import ArrayDataset
from certmix.errors import InvalidArgument

GRID_LEVELS = 16


def load_digits(split: str | None = None) -> ArrayDataset:
    """Grey images of shape (1, 8, 8), values k/16, 10 classes.

    Source: E. Alpaydin and C. Kaynak, Optical Recognition of Handwritten Digits, UCI Machine Learning Repository, 1998,
    CC BY 4.0, in the selection that scikit-learn distributes. Split: every third image (0, 3, 6, ...) is test (599), the
    rest training (1,198); it is fixed, and neighbouring images come from the same writers, so it is an easy split.

    Args:
        split: "train", "test" or "all"; test where left out.
    Example:
        >>> len(load_digits("test")), len(load_digits("train"))
        (599, 1198)
    """
    split = split or "test"
    if split not in ("train", "test", "all"):
        raise InvalidArgument(f"split of digits must be train, test or all, got {split!r}.")
    with resources.files("certmix.datasets").joinpath("digits.npz").open("rb") as handle:
        stored = np.load(handle, allow_pickle=False)
        images, labels = stored["images"], stored["labels"]
    rows = np.arange(len(labels))
    chosen = {"all": rows >= 0, "test": rows % 3 == 0, "train": rows % 3 != 0}[split]
    inputs = images[chosen].astype(np.float32)[:, None] / GRID_LEVELS
    return ArrayDataset(
        inputs,
        labels[chosen],
        spec="digits",
        num_classes=10,
        grid_levels=GRID_LEVELS,
        indices=rows[chosen],
        subset={"split": split},
    )
