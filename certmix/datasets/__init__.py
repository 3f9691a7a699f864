"""Data sets by spec: inputs in [0, 1] with labels, stable indices and a content fingerprint."""

import numpy as np

from certmix.datasets.base import Dataset, Subset
from certmix.datasets.digits import load_digits
from certmix.datasets.in_memory import ArrayDataset
from certmix.datasets.npz import load_npz
from certmix.errors import InvalidArgument
from certmix.specs import parse_spec, refuse_unknown

__all__ = ["ArrayDataset", "Dataset", "Subset", "load_dataset"]

SOURCES = ("digits", "npz")


def load_dataset(
    spec: str,
    *,
    split: str | None = None,
    skip: int = 1,
    max: int | None = None,
    indices: str | None = None,
) -> Dataset:
    """The data set of a spec, or a part of it.

    Args:
        spec: "digits" (built in), or "npz:FILE[,num_classes=C][,grid_levels=G]".
        split: "train" or "test" where the source has both.
        skip: take every skip-th input.
        max: take at most so many, after `skip`.
        indices: take just these stable indices, as text: "3,14,15".
    Raises: InvalidArgument: an unknown source, a missing file, values out of range, or an empty choice.
    Example:
        >>> data = load_dataset("digits", max=300)
        >>> len(data), data.input_shape, data.num_classes
        (300, (1, 8, 8), 10)
    """
    source, reference, options = parse_spec(spec, SOURCES, "data set")
    if source == "digits":
        refuse_unknown(options, (), spec)
        whole = load_digits(split)
    else:
        refuse_unknown(options, ("num_classes", "grid_levels"), spec)
        whole = load_npz(reference, split, **{name: _integer(name, text) for name, text in options.items()})
    for name, value in (("skip", skip), ("max", max)):
        if value is not None and value < 1:
            raise InvalidArgument(f"{name} must be >= 1, got {value}.")
    positions = np.arange(len(whole))[::skip][:max]
    if indices is not None:
        wanted = [_integer("indices", part) for part in indices.split(",")]
        place = {int(index): row for row, index in enumerate(whole.indices)}
        for index in wanted:
            if index not in place:
                raise InvalidArgument(f"indices must be positions of {spec} ({split or 'default'} split), got {index}.")
        positions = np.array([place[index] for index in wanted])
    if skip == 1 and max is None and indices is None:
        return whole
    return Subset(whole, positions, skip=skip, max=max, indices=indices)


def _integer(name: str, text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise InvalidArgument(f"{name} must be an integer, got {text!r}.") from None
