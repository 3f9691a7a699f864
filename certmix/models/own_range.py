"""Models of inputs in a range of their own, as models of [0, 1] inputs."""

import torch
from torch import nn

from certmix.datasets import Dataset
from certmix.datasets.base import bounds_of
from certmix.errors import InvalidArgument
from certmix.input_range import InputRange

_STATED = "certmix_range_stated"


class InRange(nn.Module):
    """A classifier of [0, 1] inputs from one of inputs in [low, high]; inputs of any shape.

    Args:
        model: takes inputs in the range.
        bounds: (low, high).
    """

    def __init__(self, model: nn.Module, bounds: InputRange | tuple[float, float]) -> None:
        super().__init__()
        self.model, self.bounds = model, InputRange.of(bounds)

    def extra_repr(self) -> str:
        """What fingerprints take in besides the model."""
        return f"low={self.bounds.low!r}, high={self.bounds.high!r}"

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Logits of [0, 1] inputs."""
        outputs: torch.Tensor = self.model(inputs * (self.bounds.high - self.bounds.low) + self.bounds.low)
        return outputs


def state_range(model: nn.Module, *, stated: bool) -> None:
    """Mark a model of [0, 1] inputs, or, where nobody stated that, one that may take another range."""
    vars(model)[_STATED] = stated


def in_range_of(model: nn.Module, dataset: Dataset) -> nn.Module:
    """The model for the [0, 1] inputs of a data set whose own range may be another.

    A module of your own takes your data as they are; what `load_model` or training made takes [0, 1] inputs, also inside
    another module, and what `load_model` made of a file of yours must say which it takes.

    Raises: InvalidArgument: a loaded model that does not say which range it takes, or takes another one.
    """
    bounds = bounds_of(dataset)
    if bounds is None:
        return model
    if isinstance(model, InRange) and model.bounds != bounds:
        raise InvalidArgument(f"bounds of model and data set must be one range, got {model.bounds} and {bounds}.")
    stated = [(part, vars(part)[_STATED]) for part in model.modules() if _STATED in vars(part)]
    if not stated:
        return model if isinstance(model, InRange) else InRange(model, bounds)
    for part in (part for part, said in stated if not said):
        raise InvalidArgument(
            f"{vars(part).get('certmix_spec')!r} must say which inputs it takes, since the data are in {bounds}: add "
            f"bounds={bounds.low:g}/{bounds.high:g} where it takes them as they are, or normalize=none where it takes [0, 1]."
        )
    return model
