"""The precision that a model computes in: weights and inputs are cast, logits come back in float32."""

import copy

import torch
from torch import nn

from certmix.errors import InvalidArgument

PRECISIONS = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


class InPrecision(nn.Module):
    """A classifier that computes in another precision: float32 inputs -> the precision -> float32 logits.

    Noise is added before, in float32 or in integers; a rounded model is another base classifier, and is certified as such.

    Args:
        model: in float32; a copy of it is cast.
        precision: "fp32", "bf16" or "fp16".
    """

    def __init__(self, model: nn.Module, precision: str) -> None:
        super().__init__()
        self.precision, self._dtype = precision, PRECISIONS[precision]
        self.model = copy.deepcopy(model).to(self._dtype)

    def extra_repr(self) -> str:
        """The precision, which fingerprints take in."""
        return f"precision={self.precision}"

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Float32 logits of float32 inputs."""
        outputs: torch.Tensor = self.model(inputs.to(self._dtype))
        return outputs.float()


def to_precision(model: nn.Module, precision: str) -> nn.Module:
    """The model in a precision: itself for "fp32", else a cast copy inside `InPrecision`.

    Args:
        model: in float32.
        precision: "fp32", "bf16" or "fp16".
    Raises: InvalidArgument: another precision.
    Example:
        >>> to_precision(nn.Linear(2, 2), "bf16")(torch.zeros(1, 2)).dtype
        torch.float32
    """
    if precision not in PRECISIONS:
        raise InvalidArgument(f"precision must be one of {', '.join(PRECISIONS)}, got {precision!r}.")
    return model if precision == "fp32" else InPrecision(model, precision).train(model.training)
