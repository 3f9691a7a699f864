"""Any map-style data set (torch, torchvision, Hugging Face, a user's own) as certmix's: read and checked on access."""

from collections.abc import Callable, Mapping
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from certmix.datasets.base import Labelled, value_bytes
from certmix.datasets.images import ImageReader
from certmix.datasets.in_memory import OTHER_RANGE, as_array, eight_bit_levels, in_unit_range
from certmix.errors import InvalidArgument
from certmix.input_range import InputRange
from certmix.specs import in_one_line


class MapStyle(Protocol):
    """What `torch.utils.data.Dataset` is: a length and items by position."""

    def __len__(self) -> int: ...

    def __getitem__(self, position: int) -> Any: ...


class MappedDataset(Labelled):
    """Items of a map-style data set, converted to inputs in [0, 1] on access. See `Dataset` for the attributes.

    Images of PIL and uint8 tensors or arrays (shape (channels, height, width)) are divided by 255 and lie on that grid;
    float tensors or arrays must be in [0, 1], or in `bounds`. The first item decides kind and shape, and the others must
    agree.

    Args:
        source: the data set.
        spec: the text that loads it again.
        labels: true classes, shape (inputs,); read from `source.targets` or `source.labels` where left out, else from
            the items, each of which is read once for it.
        num_classes: number of classes; the largest label + 1 where left out.
        grid_levels, bounds: of float inputs, as `ArrayDataset`.
        pair: takes an item apart into (image, label); items are such pairs where left out.
        image: options of `ImageReader` for PIL images.
        raw: the encoded bytes of an item by position, where they can be had without decoding it; for the fingerprint.
        subset: how the inputs were chosen.
    Raises: InvalidArgument: no items, labels that are no integers or out of range, or a first item of another kind.
    """

    def __init__(
        self,
        source: MapStyle,
        *,
        spec: str,
        labels: ArrayLike | None = None,
        num_classes: int | None = None,
        grid_levels: int | None = None,
        bounds: InputRange | tuple[float, float] | None = None,
        pair: Callable[[Any], tuple[Any, Any]] | None = None,
        image: Mapping[str, Any] | None = None,
        raw: Callable[[int], bytes] | None = None,
        subset: Mapping[str, object] | None = None,
    ) -> None:
        self._source, self._pair, self._raw, self.spec = source, pair or _as_pair, raw, spec
        try:
            count = len(source)
        except TypeError:
            raise InvalidArgument(
                f"{spec} must be a map-style data set with a length, got {type(source).__name__}; of a loader, give its "
                "data set."
            ) from None
        if not count:
            raise InvalidArgument(f"a data set must hold at least one input, got none from {spec}.")
        self._reader = ImageReader(**dict(image or {}))
        first = self._image(0)
        self.bounds = None if bounds is None else InputRange.of(bounds)
        self._eight_bit = _is_eight_bit(first)
        self.grid_levels = eight_bit_levels(spec, grid_levels, self.bounds) if self._eight_bit else grid_levels
        if isinstance(first, Image.Image):
            self._reader = self._reader.settle_on(first, f"0 of {spec}")
        elif image:
            raise InvalidArgument(f"{', '.join(image)} are for images of PIL, {spec} gives {type(first).__name__}.")
        self.labels = self._labels(labels, count)
        self.num_classes = int(self.labels.max()) + 1 if num_classes is None else num_classes
        wrong = np.flatnonzero((self.labels < 0) | (self.labels >= self.num_classes))
        if len(wrong):
            raise InvalidArgument(
                f"labels must be in 0..{self.num_classes - 1}, got {self.labels[wrong[0]]} at input {wrong[0]} of {spec}."
            )
        self.indices = np.arange(count, dtype=np.int64)
        self.subset: dict[str, object] = dict(subset or {})
        self.input_shape: tuple[int, ...] = ()
        self.input_shape = tuple(self._convert(first, 0).shape)

    def input_bytes(self, position: int) -> bytes:
        """The encoded bytes of an item and the reader's options; else its values."""
        if self._raw is None:
            return value_bytes(self[position][0])
        return self._reader.describe().encode() + self._raw(position)

    def __getitem__(self, position: int) -> tuple[torch.Tensor, int]:
        return self._convert(self._image(position), position), int(self.labels[position])

    def _image(self, position: int) -> Any:
        try:
            return self._pair(self._source[position])[0]
        except InvalidArgument:
            raise
        except Exception as error:  # whatever a foreign data set raises becomes one line
            raise InvalidArgument(
                f"input {position} of {self.spec} cannot be read: {type(error).__name__}: {error}"
            ) from error

    def _labels(self, labels: ArrayLike | None, count: int) -> NDArray[np.int64]:
        if labels is None:
            stated = [getattr(self._source, name, None) for name in ("targets", "labels")]
            labels = next((values for values in stated if values is not None and _are_labels(values, count)), None)
        if labels is None:
            labels = [self._pair(self._source[position])[1] for position in range(count)]
        if not _are_labels(labels, count):
            raise InvalidArgument(f"labels of {self.spec} must be {count} integers, got {str(labels)[:80]}.")
        return np.asarray(labels).astype(np.int64)

    def _convert(self, image: Any, position: int) -> torch.Tensor:
        where = f"input {position} of {self.spec}"
        if _is_eight_bit(image) != self._eight_bit:
            raise InvalidArgument(
                f"{where} must be of the first one's kind (8-bit or float), got {type(image).__name__}."
            )
        if isinstance(image, Image.Image):
            return self._reader.convert(image, f"{position} of {self.spec}")
        values = in_one_line(lambda: torch.from_numpy(in_unit_range(as_array(image), self.bounds)), where)
        if self.input_shape and tuple(values.shape) != self.input_shape:
            raise InvalidArgument(
                f"{where} must have shape {self.input_shape} as the first one, got {tuple(values.shape)}."
            )
        if not ((values >= 0) & (values <= 1)).all():
            low, high = float(values.min()), float(values.max())
            if self.bounds is not None:
                low, high = (self.bounds.low + value * (self.bounds.high - self.bounds.low) for value in (low, high))
            raise InvalidArgument(
                f"{where} must be in {self.bounds or '[0, 1]'}, got values in [{low:g}, {high:g}] (a Normalize "
                f"transform?); {OTHER_RANGE}"
            )
        return values


def _as_pair(item: Any) -> tuple[Any, Any]:
    image, label = item
    return image, label


def _are_labels(values: Any, count: int) -> bool:
    try:
        array = np.asarray(values)
    except ValueError:  # of several lengths
        return False
    return array.shape == (count,) and array.dtype.kind in "iu"


def _is_eight_bit(image: Any) -> bool:
    return isinstance(image, Image.Image) or getattr(image, "dtype", None) in (torch.uint8, np.dtype("uint8"))
