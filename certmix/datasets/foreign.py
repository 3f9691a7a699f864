"""`py:FILE.py:factory`, `torchvision:NAME` and `hf:NAME`: data sets of others, through `MappedDataset`."""

import contextlib
import importlib
import inspect
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from certmix.datasets.base import Dataset
from certmix.datasets.images import read_image
from certmix.datasets.mapped import MappedDataset
from certmix.datasets.own import as_dataset, classes_of, is_dataset
from certmix.errors import InvalidArgument
from certmix.input_range import InputRange
from certmix.specs import call_factory, factory_of_file, import_extra, in_one_line, need_trust

_IMAGE_COLUMNS = ("image", "img", "pixel_values", "inputs")
_LABEL_COLUMNS = ("label", "labels", "fine_label", "target")
_IMAGE_OPTIONS = ("mode", "resize", "crop", "interpolation")
# Classes of torchvision.datasets that run nothing of their files; `mnist:` and `folder:` read MNIST's kind and ImageNet.
_READ_ONLY = (
    *("CIFAR10", "CIFAR100", "Country211", "DTD", "EuroSAT", "FGVCAircraft", "FakeData", "Flowers102", "Food101"),
    *("GTSRB", "ImageFolder", "OxfordIIITPet", "RenderedSST2", "STL10", "SUN397", "SVHN", "StanfordCars", "USPS"),
)
_REFUSED = ("download", "loader", "is_valid_file", "transform", "target_transform", "transforms")


def load_python(
    reference: str, split: str | None, settings: dict[str, str], *, trust_model: bool = False, spec: str
) -> Dataset:
    """What the factory of a Python file returns: a certmix `Dataset`, a map-style data set, or (inputs, labels).

    Args:
        reference: `FILE.py:factory`.
        split: passed to the factory as `split` where given.
        settings: key=value options for the factory; `bounds=LOW/HIGH` is ours.
        trust_model: must be true, since the file runs.
        spec: the text that loads it again.
    Raises: InvalidArgument: no trust, no such factory, or another kind of result.
    """
    need_trust(spec, trust_model)
    settings = {**settings, "split": split} if split else dict(settings)
    bounds = InputRange.parse(settings.pop("bounds")) if "bounds" in settings else None
    made: Any = call_factory(factory_of_file(reference, spec, "data set"), settings, spec)
    subset: dict[str, object] = {"split": split} if split else {}
    if is_dataset(made):
        made.spec, made.subset = spec, subset  # what loads it again is the factory, whatever it began with
        return as_dataset(made, bounds=bounds)
    return as_dataset(made, spec=spec, bounds=bounds, subset=subset)


def load_torchvision(
    reference: str, split: str | None, settings: dict[str, str], *, trust_model: bool = False, spec: str
) -> MappedDataset:
    """A data set class of torchvision.datasets by name, without any download.

    Those that read images, text and arrays only, or pickles whose checksums torchvision knows, need no trust; others may
    run what their files hold (LSUNClass unpickles a cache). Images are converted here, so that no transform is taken.

    Args:
        reference: the class, e.g. "SVHN"; `root=DIR` and other arguments of it are options.
        split: becomes `split=...`, or `train=...` for classes that have that.
        settings: arguments of the class; mode, resize, crop and interpolation as for `folder:`.
        trust_model: allow other classes than those of the list.
        spec: the text that loads it again.
    Raises: InvalidArgument: torchvision is absent, no such class, a class or an option that is not allowed, or files
        that are not there.
    """
    for name in settings:
        if name in _REFUSED:
            raise InvalidArgument(f"options of {spec!r} must not be {', '.join(_REFUSED)}, got {name!r}.")
    if reference not in _READ_ONLY:
        need_trust(f"torchvision:{reference} (not among {', '.join(_READ_ONLY)})", trust_model)
    settings = dict(settings)
    module = import_extra("torchvision.datasets", "vision")
    kind = getattr(module, reference, None)
    if not isinstance(kind, type):
        raise InvalidArgument(f"torchvision:NAME must be a class of torchvision.datasets, got {reference!r}.")
    image = _image_options(settings)
    takes = inspect.signature(kind).parameters
    if split and "split" in takes:
        settings["split"] = split
    elif "train" in takes:
        if split not in (None, "train", "test"):
            raise InvalidArgument(f"split of torchvision:{reference} must be train or test, got {split!r}.")
        settings["train"] = "1" if split == "train" else "0"
    made: Any = in_one_line(lambda: call_factory(kind, settings, spec), spec)
    subset = {"split": split} if split else {}
    return MappedDataset(made, spec=spec, num_classes=classes_of(made), image=image, subset=subset)


def load_hugging_face(reference: str, split: str | None, settings: dict[str, str], *, spec: str) -> MappedDataset:
    """A data set of the `datasets` library from a folder (`save_to_disk`, Parquet or image files) or the local cache.

    Nothing is downloaded, and no script of a data set is run. Columns are found by name, or named: `image=img,label=y`.

    Args:
        reference: a folder, or `org/name[@revision]` that is in the cache.
        split: its split; "test" where left out.
        settings: `image`, `label` (columns), `config`, and mode, resize, crop, interpolation as for `folder:`.
        spec: the text that loads it again.
    Raises: InvalidArgument: the library is absent, nothing of that name is cached, no such split or column.
    """
    library, settings = import_extra("datasets", "hf"), dict(settings)
    image = _image_options(settings)
    columns = {name: settings.pop(name, None) for name in ("image", "label", "config")}
    if settings:
        raise InvalidArgument(
            f"options of {spec!r} must be among image, label, config, {', '.join(_IMAGE_OPTIONS)}, got {min(settings)!r}."
        )
    wanted = split or "test"
    made = in_one_line(lambda: _read_hugging_face(library, reference, wanted, columns["config"]), spec)
    picture = _column(made.column_names, columns["image"], _IMAGE_COLUMNS, spec)
    label = _column(made.column_names, columns["label"], _LABEL_COLUMNS, spec)
    classes = getattr(made.features[label], "num_classes", None)
    return MappedDataset(
        made,
        spec=spec,
        labels=np.asarray(made[label][:]),
        num_classes=classes,
        pair=lambda item: (item[picture], item[label]),
        image=image,
        raw=_encoded(library, made, picture),
        subset={"split": wanted},
    )


def _read_hugging_face(library: Any, reference: str, split: str, config: str | None) -> Any:
    if (Path(reference) / "dataset_dict.json").is_file() or (Path(reference) / "state.json").is_file():
        made = library.load_from_disk(reference)
        return made[split] if hasattr(made, "keys") else made
    name, _, revision = reference.partition("@")
    with _offline():
        return library.load_dataset(name, config, split=split, revision=revision or None)


def _encoded(library: Any, made: Any, column: str) -> Callable[[int], bytes] | None:
    """The encoded images of a column, without decoding them; None where it holds none."""
    if not isinstance(made.features[column], library.Image):
        return None
    undecoded = made.cast_column(column, library.Image(decode=False))

    def read(position: int) -> bytes:
        item = undecoded[position][column]
        return bytes(item["bytes"]) if item["bytes"] is not None else read_image(Path(item["path"]))

    return read


@contextlib.contextmanager
def _offline() -> Iterator[None]:
    """Keep the libraries of Hugging Face from asking their server, as HF_HUB_OFFLINE=1 set before import would."""
    places = [importlib.import_module(name) for name in ("datasets.config", "huggingface_hub.constants")]
    before: list[Any] = [vars(place)["HF_HUB_OFFLINE"] for place in places]
    try:
        for place in places:
            vars(place)["HF_HUB_OFFLINE"] = True
        yield
    finally:
        for place, value in zip(places, before, strict=True):
            vars(place)["HF_HUB_OFFLINE"] = value


def _image_options(settings: dict[str, Any]) -> dict[str, Any]:
    found = {name: settings.pop(name) for name in _IMAGE_OPTIONS if name in settings}
    for name in ("resize", "crop"):
        if name in found:
            try:
                found[name] = int(found[name])
            except ValueError:
                raise InvalidArgument(f"{name} must be an integer, got {found[name]!r}.") from None
    return found


def _column(present: list[str], wanted: str | None, usual: tuple[str, ...], spec: str) -> str:
    for name in (wanted,) if wanted else usual:
        if name in present:
            return name
    raise InvalidArgument(f"{spec} must have a column {wanted or ' or '.join(usual)}, got {', '.join(present)}.")
