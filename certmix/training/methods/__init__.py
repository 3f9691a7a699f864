"""Training methods by name, a file each: what one batch of inputs in [0, 1] costs."""

from collections.abc import Callable
from dataclasses import fields
from typing import Protocol

import torch
from torch import Tensor, nn

from certmix.errors import InvalidArgument, check_choice
from certmix.training.methods.adversarial import Adversarial
from certmix.training.methods.consistency import Consistency
from certmix.training.methods.gaussian import Gaussian
from certmix.training.methods.smoothadv import SmoothAdv
from certmix.training.methods.splitting import Splitting

__all__ = [
    "METHODS",
    "Adversarial",
    "Consistency",
    "Gaussian",
    "Method",
    "SmoothAdv",
    "Splitting",
    "make_method",
    "noisy",
]


class Method(Protocol):
    """A frozen dataclass of settings with a loss; `sigma` is the noise that validation adds."""

    @property
    def sigma(self) -> float:
        """Standard deviation of the noise in training, >= 0, pixel units; Lambda of splitting noise."""
        ...

    def loss(self, model: nn.Module, inputs: Tensor, labels: Tensor, epochs_done: float) -> tuple[Tensor, Tensor]:
        """The loss of one batch, with its noise and attacks drawn from torch's global generator.

        Args:
            model: inputs -> float32 logits, in training mode, and so again afterwards.
            inputs, labels: shapes (batch, ...) and (batch,).
            epochs_done: epochs so far, a fraction inside one; for warm-ups.
        Returns: the loss, a scalar, and the logits behind it, shape (copies * batch, classes), one copy after the other.
        """
        ...


METHODS: dict[str, Callable[..., Method]] = {
    "gaussian": Gaussian,
    "consistency": Consistency,
    "smoothadv": SmoothAdv,
    "adversarial": Adversarial,
    "splitting": Splitting,
}


def noisy(method: Method, inputs: Tensor, generator: torch.Generator) -> Tensor:
    """Inputs under the noise of a method, drawn anew from a generator of their device."""
    if isinstance(method, Splitting):
        return method.split(inputs, generator)
    return inputs + method.sigma * torch.randn(inputs.shape, generator=generator, device=inputs.device)


def make_method(name: str, **settings: float | str) -> Method:
    """The method of a name. Raises InvalidArgument for another name, a setting that it does not have, or one it needs."""
    known = [field.name for field in fields(METHODS[check_choice("method", name, tuple(METHODS))])]  # type: ignore[arg-type]
    for setting in settings:
        if setting not in known:
            raise InvalidArgument(f"method {name} takes {', '.join(known)}, got {setting}; leave it out.")
    if "attack_radius" in known and "attack_radius" not in settings:
        raise InvalidArgument(f"method {name} needs attack_radius (pixel units), got none; see --attack-radius.")
    return METHODS[name](**settings)
