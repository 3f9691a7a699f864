"""A data set held in memory, checked once; every in-memory source makes one."""

from collections.abc import Mapping

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from certmix.datasets.base import Labelled
from certmix.errors import InvalidArgument
from certmix.input_range import InputRange

OTHER_RANGE = (
    "leave 8-bit images uint8 and normalisation to the model, or state the range of other inputs: bounds=(low, high) in "
    "Python, ,bounds=LOW/HIGH in a spec."
)


class ArrayDataset(Labelled):
    """Inputs and labels in memory. See `Dataset` for the attributes.

    Args:
        inputs: in [0, 1] or in `bounds`, shape (inputs, *input_shape); uint8 is divided by 255 and lies on that grid.
        labels: integers in [0, num_classes), shape (inputs,).
        spec: the text that loads it again.
        num_classes: number of classes; the largest label + 1 where left out.
        grid_levels: G where every value is a multiple of 1/G.
        bounds: (low, high) of float inputs in another range, which are mapped to [0, 1]; a module of your own keeps seeing
            its own range, see `certmix.models.own_range`.
        indices: stable positions, shape (inputs,); 0, 1, ... where left out.
        subset: how the inputs were chosen.
    Raises: InvalidArgument: the first input or label out of range, by its index.
    """

    def __init__(
        self,
        inputs: ArrayLike | torch.Tensor,
        labels: ArrayLike | torch.Tensor,
        *,
        spec: str = "array",
        num_classes: int | None = None,
        grid_levels: int | None = None,
        bounds: InputRange | tuple[float, float] | None = None,
        indices: ArrayLike | None = None,
        subset: Mapping[str, object] | None = None,
    ) -> None:
        values = as_array(inputs)
        self.bounds = None if bounds is None else InputRange.of(bounds)
        if values.dtype == np.uint8:
            grid_levels = eight_bit_levels(spec, grid_levels, self.bounds)
        self.inputs = torch.from_numpy(in_unit_range(values, self.bounds))
        self.labels = _integers("labels", as_array(labels))
        self.indices = np.arange(len(self.labels)) if indices is None else _integers("indices", indices)
        if self.inputs.ndim < 2 or not len(self.labels) == len(self.inputs) == len(self.indices):
            raise InvalidArgument(
                f"inputs, labels and indices must have one first dimension, got shapes {tuple(self.inputs.shape)}, "
                f"{self.labels.shape} and {self.indices.shape}."
            )
        if not len(self.labels):
            raise InvalidArgument(f"a data set must hold at least one input, got none from {spec}.")
        self.spec, self.grid_levels = spec, grid_levels
        self.num_classes = int(self.labels.max()) + 1 if num_classes is None else num_classes
        self.input_shape = tuple(self.inputs.shape[1:])
        self.subset: dict[str, object] = dict(subset or {})
        self._check()

    def _check(self) -> None:
        if len(np.unique(self.indices)) != len(self.indices):
            raise InvalidArgument(f"indices must be unique, got repeats in {self.spec}.")
        wrong = (self.labels < 0) | (self.labels >= self.num_classes)
        if wrong.any():
            raise InvalidArgument(
                f"labels must be in 0..{self.num_classes - 1}, got {self.labels[wrong][0]} at input "
                f"{self.indices[wrong][0]} of {self.spec}; check the number of classes."
            )
        flat = self.inputs.reshape(len(self.labels), -1)
        bad = ~((flat >= 0) & (flat <= 1)).all(dim=1).numpy()  # NaN fails both comparisons
        if bad.any():
            row = int(np.flatnonzero(bad)[0])
            value = float(flat[row][~((flat[row] >= 0) & (flat[row] <= 1))][0])
            own = value if self.bounds is None else self.bounds.low + value * (self.bounds.high - self.bounds.low)
            raise InvalidArgument(
                f"inputs must be in {self.bounds or '[0, 1]'}, got {own:g} at input {self.indices[row]} of {self.spec}; "
                f"{OTHER_RANGE}"
            )

    def __getitem__(self, position: int) -> tuple[torch.Tensor, int]:
        return self.inputs[position], int(self.labels[position])


def as_array(values: ArrayLike | torch.Tensor) -> NDArray[np.generic]:
    """Values as an array, those of a tensor of any device too."""
    return values.detach().cpu().numpy() if isinstance(values, torch.Tensor) else np.asarray(values)


def eight_bit_levels(spec: str, grid_levels: int | None, bounds: InputRange | None) -> int:
    """255, the grid of uint8 inputs. Raises InvalidArgument where another grid or range is asked for."""
    if bounds is not None or grid_levels not in (None, 255):
        raise InvalidArgument(
            f"uint8 inputs of {spec} are in 0..255, their grid; leave out bounds and grid_levels, got {bounds} and "
            f"{grid_levels}."
        )
    return 255


def in_unit_range(values: NDArray[np.generic], bounds: InputRange | None) -> NDArray[np.float32]:
    """Inputs as float32; in [0, 1] where they were in `bounds`, or are uint8. A copy where anything was converted."""
    if values.dtype == np.uint8:
        return values.astype(np.float32) / np.float32(255)
    if bounds is None:
        return np.asarray(values, dtype=np.float32)
    return ((values.astype(np.float64) - bounds.low) / (bounds.high - bounds.low)).astype(np.float32)


def _integers(name: str, values: ArrayLike) -> NDArray[np.int64]:
    array = np.asarray(values)
    whole = array.dtype.kind in "iu" or (
        array.dtype.kind == "f" and bool(np.isfinite(array).all() and (array == np.floor(array)).all())
    )
    if array.ndim != 1 or not whole:
        raise InvalidArgument(f"{name} must be integers, shape (inputs,), got {array.dtype} of shape {array.shape}.")
    return array.astype(np.int64)
