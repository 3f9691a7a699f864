"""Normalisation goes inside the model, and is never guessed: (x - mean) / std per channel of inputs in [0, 1]."""

import math
from dataclasses import dataclass

from torch import nn

from certmix.errors import InvalidArgument
from certmix.input_range import InputRange
from certmix.models.architectures import Normalized
from certmix.models.own_range import InRange

OPTIONS = ("mean", "std", "normalize", "bounds")
HOW_TO_SAY = (
    "mean=M/M/M,std=S/S/S, normalize=cifar10 or imagenet, normalize=none where the model takes inputs in [0, 1], or "
    "bounds=LOW/HIGH where it takes those"
)


@dataclass(frozen=True)
class Normalisation:
    """Per-channel mean and standard deviation that a model was trained with, in [0, 1] pixel units."""

    mean: tuple[float, ...]
    std: tuple[float, ...]


KNOWN = {
    "cifar10": Normalisation(
        (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)
    ),  # locuslab/smoothing, code/datasets.py
    "cifar10-pixels": Normalisation(
        (0.4914, 0.4822, 0.4465), (0.2470, 0.2435, 0.2616)
    ),  # over all pixels, where the line above is the mean over images
    "imagenet": Normalisation((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
    "half": Normalisation((0.5,), (0.5,)),  # inputs in [-1, 1]
}


@dataclass(frozen=True)
class Loaded:
    """What a model source gives.

    Attributes:
        model: the module.
        normalisation: what it says about its inputs: `Normalisation`, "inside" (it takes [0, 1] inputs), "own" (it takes
            them as whoever wrote it wants them, [0, 1] unless the data have another range), or "unknown".
    """

    model: nn.Module
    normalisation: Normalisation | str


def chosen(options: dict[str, str], spec: str) -> Normalisation | InputRange | str | None:
    """The normalisation that options ask for: "inside" for none, None where they say nothing.

    Args:
        options: of mean, std, normalize and bounds.
        spec: for errors.
    Raises: InvalidArgument: mean without std, two ways at once, or values that are none.
    """
    if ("mean" in options) != ("std" in options):
        raise InvalidArgument(f"mean and std must be given together, got only one in {spec!r}.")
    if len({"mean", "normalize", "bounds"} & set(options)) > 1:
        raise InvalidArgument(f"give mean and std, or normalize, or bounds, not both, in {spec!r}.")
    if "bounds" in options:
        return InputRange.parse(options["bounds"])
    if "normalize" in options:
        name = options["normalize"]
        if name != "none" and name not in KNOWN:
            raise InvalidArgument(f"normalize must be none, {', '.join(KNOWN)}, or mean=...,std=..., got {name!r}.")
        return KNOWN.get(name, "inside")
    if "mean" not in options:
        return None
    mean, std = (_numbers(name, options[name]) for name in ("mean", "std"))
    if len(mean) != len(std) or min(std) <= 0 or not all(map(math.isfinite, mean + std)):
        raise InvalidArgument(
            f"mean and std must be as many finite numbers, with std > 0, got {options['mean']} and {options['std']}."
        )
    return Normalisation(mean, std)


def normalised(loaded: Loaded, options: dict[str, str], spec: str) -> nn.Module:
    """The loaded model for inputs in [0, 1], as the options say, or else as its source does.

    Raises: InvalidArgument: neither says.
    """
    wanted = chosen(options, spec)
    if wanted is None:
        wanted = loaded.normalisation
    if wanted == "unknown":
        raise InvalidArgument(f"{spec!r} does not say how its inputs are normalised: add {HOW_TO_SAY}.")
    if isinstance(wanted, InputRange):
        return InRange(loaded.model, wanted)
    if isinstance(wanted, str):
        return loaded.model
    return Normalized(loaded.model, list(wanted.mean), list(wanted.std))


def _numbers(name: str, text: str) -> tuple[float, ...]:
    try:
        return tuple(float(part) for part in text.split("/"))
    except ValueError:
        raise InvalidArgument(
            f"{name} must be numbers separated by /, got {text!r}; for example 0.49/0.48/0.45."
        ) from None
