"""A user's own data as a data set: a torch Dataset, or a pair of inputs and labels."""

from collections.abc import Mapping
from typing import Any, TypeGuard

import torch
from numpy.typing import ArrayLike

from certmix.datasets.base import Dataset
from certmix.datasets.in_memory import ArrayDataset
from certmix.datasets.mapped import MappedDataset, MapStyle
from certmix.errors import InvalidArgument
from certmix.input_range import InputRange

OwnData = Dataset | MapStyle | tuple[ArrayLike | torch.Tensor, ArrayLike | torch.Tensor]
_ATTRIBUTES = ("spec", "labels", "indices", "input_shape", "num_classes", "grid_levels", "fingerprint", "subset")


def as_dataset(
    data: OwnData,
    /,
    *,
    num_classes: int | None = None,
    grid_levels: int | None = None,
    bounds: InputRange | tuple[float, float] | None = None,
    spec: str | None = None,
    subset: Mapping[str, object] | None = None,
) -> Dataset:
    """Your own data, as `certmix.sample` takes them; a certmix data set is returned as it is.

    8-bit inputs (uint8 arrays and tensors, images of PIL) keep their grid, so that the noise is exact integers. Inputs in
    another range than [0, 1] need `bounds`; a module of your own keeps seeing that range.

    Args:
        data: a map-style torch `Dataset` of (image, label), or (inputs, labels), of shapes (inputs, *input_shape) and
            (inputs,).
        num_classes: number of classes; what the data set says, or the largest label + 1, where left out.
        grid_levels: G where float inputs (in [0, 1] units) are multiples of 1/G.
        bounds: (low, high) of float inputs.
        spec: the text that loads it again, for what a run records; the type's name where left out.
        subset: how the inputs were chosen, likewise.
    Raises: InvalidArgument: neither kind, or inputs or labels out of range.
    Example:
        >>> import numpy as np
        >>> as_dataset((np.zeros((2, 1, 4, 4), np.uint8), [0, 1]))
        ArrayDataset(2 inputs of array, shape (1, 4, 4), 2 classes, grid 1/255)
        >>> as_dataset(([[-1.0, 0.5], [1.0, 0.0]], [0, 1]), bounds=(-1, 1))[1][0]
        tensor([1.0000, 0.5000])
    """
    how: dict[str, Any] = {"grid_levels": grid_levels, "bounds": bounds, "subset": subset}
    if is_dataset(data):
        if how != dict.fromkeys(how) or num_classes is not None:
            raise InvalidArgument(
                f"num_classes, grid_levels and bounds are for your own data, got {data!r} beside them."
            )
        return data
    if isinstance(data, tuple) and len(data) == 2:
        return ArrayDataset(*data, spec=spec or "array", num_classes=num_classes, **how)
    if not hasattr(data, "__getitem__") or isinstance(data, (str, torch.Tensor, list, dict)):
        hint = f"; certmix.load_dataset({data!r}) reads a spec." if isinstance(data, str) else "."
        raise InvalidArgument(
            f"{spec or 'data'} must be a data set of (image, label), or (inputs, labels), got {type(data).__name__}{hint}"
        )
    own: Any = data
    return MappedDataset(own, spec=spec or type(data).__name__, num_classes=num_classes or classes_of(data), **how)


def is_dataset(data: object) -> TypeGuard[Dataset]:
    """Whether it is a certmix data set already."""
    return all(hasattr(data, name) for name in _ATTRIBUTES)


def classes_of(made: object) -> int | None:
    """How many classes a foreign data set says it has: fewer labels may occur in a part of it."""
    count = getattr(made, "num_classes", None)
    if isinstance(count, int):
        return count
    classes = getattr(made, "classes", None)
    return len(classes) if isinstance(classes, (list, tuple)) else None
