"""Data sets by spec: inputs in [0, 1] with labels, stable indices and a content fingerprint."""

import os
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from certmix.datasets.base import Dataset, Subset
from certmix.datasets.cifar import load_cifar10, load_cifar100
from certmix.datasets.digits import load_digits
from certmix.datasets.in_memory import ArrayDataset
from certmix.datasets.mnist import load_mnist
from certmix.datasets.npz import load_npz
from certmix.datasets.own import OwnData, as_dataset
from certmix.errors import InvalidArgument
from certmix.input_range import InputRange
from certmix.specs import parse_spec, refuse_unknown

__all__ = ["ArrayDataset", "Dataset", "OwnData", "Subset", "as_dataset", "load_dataset"]

SOURCES = ("digits", "cifar10", "cifar100", "mnist", "folder", "npz", "py", "torchvision", "hf")
_MOST_CLASSES = 100_000


def load_dataset(
    spec: str,
    /,
    *,
    split: str | None = None,
    skip: int = 1,
    max: int | None = None,
    indices: str | None = None,
    trust_model: bool = False,
) -> Dataset:
    """The data set of a spec, or a part of it. Images are read from disk when they are asked for.

    Specs: `digits` (built in), `cifar10:ROOT`, `cifar100:ROOT[,labels=coarse]` (binary version), `mnist:ROOT` (IDX),
    `folder:DIR[,mode=rgb|grey][,resize=256][,crop=224][,interpolation=bilinear][,classes=FILE]`,
    `npz:FILE[,num_classes=C][,grid_levels=G][,bounds=LOW/HIGH]`,
    `torchvision:CLASS[,root=DIR]`, `hf:NAME[,image=COLUMN][,label=COLUMN]` (local or cached),
    `py:FILE.py:factory[,bounds=LOW/HIGH]`. What you hold in Python goes through `certmix.as_dataset` instead.

    Args:
        spec: see above.
        split: "train" or "test" where the source has both.
        skip: take every skip-th input.
        max: take at most so many, after `skip`.
        indices: take just these stable indices, as text: "3,14,15".
        trust_model: allow sources that run code: `py:`, and classes of torchvision that may. Give it to no spec that a
            run's manifest or another file names.
    Raises: InvalidArgument: an unknown source, a missing file, values out of range, or an empty choice.
    Example:
        >>> data = load_dataset("digits", max=300)
        >>> len(data), data.input_shape, data.num_classes
        (300, (1, 8, 8), 10)
    """
    whole = _load_whole(spec, split, trust_model)
    if not 2 <= whole.num_classes <= _MOST_CLASSES:
        raise InvalidArgument(
            f"a data set must have 2 to {_MOST_CLASSES:,} classes, got {whole.num_classes} in {spec}; is num_classes right?"
        )
    return part_of(whole, skip=skip, max=max, indices=indices)


def part_of(whole: Dataset, *, skip: int = 1, max: int | None = None, indices: str | None = None) -> Dataset:
    """Some inputs of a data set; arguments and errors as `load_dataset`."""
    if skip == 1 and max is None and indices is None:
        return whole
    return Subset(whole, _positions(whole, skip, max, indices), skip=skip, max=max, indices=indices)


def _positions(whole: Dataset, skip: int, max: int | None, indices: str | None) -> NDArray[np.int64]:
    for name, value in (("skip", skip), ("max", max)):
        if value is not None and value < 1:
            raise InvalidArgument(f"{name} must be >= 1, got {value}.")
    if indices is None:
        return np.arange(len(whole))[::skip][:max]
    if skip != 1 or max is not None:
        raise InvalidArgument(
            f"indices choose the inputs themselves, got skip {skip} and max {max} beside them; drop one."
        )
    wanted = [_integer("indices", part) for part in indices.split(",")]
    place = {int(index): row for row, index in enumerate(whole.indices)}
    seen: set[int] = set()
    for index in wanted:
        if index not in place:
            split = whole.subset.get("split", "default")
            raise InvalidArgument(f"indices must be positions of {whole.spec} ({split} split), got {index}.")
        if index in seen:
            raise InvalidArgument(f"indices must name each input once, got {index} twice.")
        seen.add(index)
    return np.array([place[index] for index in wanted])


def _load_whole(spec: str, split: str | None, trust_model: bool) -> Dataset:
    source, reference, options = parse_spec(spec, SOURCES, "data set")
    reference = os.path.expanduser(reference)  # a shell leaves the ~ of cifar10:~/data alone
    if source == "digits":
        return load_digits(split, **_read(options, spec))
    if source == "npz":
        how = _read(options, spec, num_classes=_integer, grid_levels=_integer, bounds=_range)
        return load_npz(reference, split, spec=spec, **how)
    if source == "cifar10":
        return load_cifar10(reference, split, spec=spec, **_read(options, spec))
    if source == "cifar100":
        return load_cifar100(reference, split, spec=spec, **_read(options, spec, labels=_text))
    if source == "mnist":
        return load_mnist(reference, split, spec=spec, **_read(options, spec, num_classes=_integer))
    if source == "folder":
        from certmix.datasets.folder import load_folder

        known = {"mode": _text, "resize": _integer, "crop": _integer, "interpolation": _text, "classes": _text}
        return load_folder(reference, split, spec=spec, **_read(options, spec, **known))
    from certmix.datasets import foreign

    if source == "torchvision":
        return foreign.load_torchvision(reference, split, options, trust_model=trust_model, spec=spec)
    if source == "hf":
        return foreign.load_hugging_face(reference, split, options, spec=spec)
    return foreign.load_python(reference, split, options, trust_model=trust_model, spec=spec)


def _read(options: dict[str, str], spec: str, **known: Callable[[str, str], object]) -> dict[str, Any]:
    """The options of a spec as values. Raises InvalidArgument for one that is none of the known."""
    refuse_unknown(options, known, spec)
    return {name: known[name](name, text) for name, text in options.items()}


def _text(name: str, text: str) -> str:
    return text


def _range(name: str, text: str) -> InputRange:
    return InputRange.parse(text)


def _integer(name: str, text: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise InvalidArgument(f"{name} must be an integer, got {text!r}.") from None
