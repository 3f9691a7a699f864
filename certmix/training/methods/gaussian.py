"""Gaussian augmentation: cross-entropy on noisy inputs. Source: Cohen et al. 2019, arXiv:1902.02918, Section 3.3."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from certmix.errors import InvalidArgument


@dataclass(frozen=True)
class Gaussian:
    """Fresh N(0, sigma^2) noise in every step, which comes before the network and is not clipped; sigma 0 is clean training.

    Attributes:
        sigma: standard deviation of the noise, >= 0, in [0, 1] pixel units.
    Raises: InvalidArgument: a value out of range.
    """

    sigma: float = 0.0

    def __post_init__(self) -> None:
        check_at_least(0.0, sigma=self.sigma)

    def loss(self, model: nn.Module, inputs: Tensor, labels: Tensor, epochs_done: float) -> tuple[Tensor, Tensor]:
        """Mean cross-entropy of one noisy copy."""
        logits = model(add_noise(inputs, self.sigma))
        return functional.cross_entropy(logits, labels), logits


def add_noise(inputs: Tensor, sigma: float) -> Tensor:
    """inputs + N(0, sigma^2) from torch's global generator of the inputs' device."""
    return inputs + sigma * torch.randn(inputs.shape, device=inputs.device)


def copies_of(values: Tensor, copies: int) -> Tensor:
    """Rows repeated as a whole, shape (copies * batch, ...): one copy after the other."""
    return values.repeat(copies, *[1] * (values.ndim - 1))


def check_at_least(low: float, **values: float) -> None:
    """Raise InvalidArgument, by its name, where a value is below `low`, or not finite."""
    for name, value in values.items():
        if not low <= value < float("inf"):
            raise InvalidArgument(f"{name} must be >= {low:g} and finite, got {value}.")


def check_noisy(sigma: float, method: str) -> None:
    """Raise InvalidArgument where a method that needs noise has none."""
    if not 0.0 < sigma < float("inf"):
        raise InvalidArgument(f"sigma of method {method} must be > 0 and finite (pixel units), got {sigma}.")
