"""How a network is trained, whatever the method: optimiser, schedule, averaging, augmentation, precision."""

import math
from dataclasses import dataclass

import torch
from torch import nn
from torch.optim.lr_scheduler import LambdaLR, LRScheduler, OneCycleLR

from certmix.errors import InvalidArgument, check_choice, need_at_least

OPTIMIZERS = ("adamw", "sgd")
SCHEDULES = ("one-cycle", "cosine")
AUGMENTATIONS = ("none", "crop-flip")
PRECISIONS = ("fp32", "bf16")
# One cycle of SGD, after David Page's DAWNBench entries; AdamW has PyTorch's.
_SGD_CYCLE = {"pct_start": 0.2, "div_factor": 10.0, "final_div_factor": 1000.0, "cycle_momentum": False}


@dataclass(frozen=True)
class Recipe:
    """Settings of a training run; the same ones and the same data give the same weights on the same machine.

    Attributes:
        optimizer: "adamw", or "sgd" with Nesterov momentum .9.
        schedule: "one-cycle" (Smith and Topin 2017, arXiv:1708.07120) or "cosine" (Loshchilov and Hutter 2017).
        learning_rate: the largest one, > 0.
        weight_decay: >= 0.
        decay_vectors: decay norms' weights and biases too.
        epochs, batch_size: >= 1.
        averaging: most weight of the past in the exponential average of weights that is returned; 0 for none.
        augment: "none", or "crop-flip": shifts of up to 4 pixels and mirror images.
        precision: "fp32", or "bf16": forward passes under autocast, weights in float32.
        seed: of weights, order, augmentation, noise and attacks.
    Raises: InvalidArgument: a value out of range.
    """

    optimizer: str = "adamw"
    schedule: str = "one-cycle"
    learning_rate: float = 3e-3
    weight_decay: float = 1e-3
    decay_vectors: bool = True
    epochs: int = 40
    batch_size: int = 128
    averaging: float = 0.0
    augment: str = "none"
    precision: str = "fp32"
    seed: int = 0

    def __post_init__(self) -> None:
        for name, choices in (
            ("optimizer", OPTIMIZERS), ("schedule", SCHEDULES), ("augment", AUGMENTATIONS), ("precision", PRECISIONS),
        ):  # fmt: skip
            check_choice(name, getattr(self, name), choices)
        need_at_least(1, epochs=self.epochs, batch_size=self.batch_size)
        if not 0.0 < self.learning_rate < math.inf:
            raise InvalidArgument(f"learning_rate must be > 0 and finite, got {self.learning_rate}.")
        if not 0.0 <= self.weight_decay < math.inf:
            raise InvalidArgument(f"weight_decay must be >= 0 and finite, got {self.weight_decay}.")
        if not 0.0 <= self.averaging < 1.0:
            raise InvalidArgument(f"averaging must be in [0, 1), got {self.averaging}; 0 keeps the last weights.")


RECIPES = {
    "small": Recipe(),
    "images": Recipe(
        optimizer="sgd",
        learning_rate=0.15,
        weight_decay=5e-4,
        decay_vectors=False,
        averaging=0.999,
        augment="crop-flip",
        precision="bf16",
    ),
}


def make_optimizer(recipe: Recipe, model: nn.Module) -> torch.optim.Optimizer:
    """The recipe's optimiser of a model's parameters."""
    parameters = list(model.parameters())
    decayed = [each for each in parameters if recipe.decay_vectors or each.ndim > 1]
    plain = [each for each in parameters if not (recipe.decay_vectors or each.ndim > 1)]
    groups = [{"params": decayed, "weight_decay": recipe.weight_decay}]
    if plain:
        groups.append({"params": plain, "weight_decay": 0.0})
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(groups, lr=recipe.learning_rate, momentum=0.9, nesterov=True)
    return torch.optim.AdamW(groups, lr=recipe.learning_rate)


def make_schedule(recipe: Recipe, optimizer: torch.optim.Optimizer, steps: int) -> LRScheduler:
    """The recipe's learning rates over so many steps."""
    if recipe.schedule == "cosine":
        return LambdaLR(optimizer, lambda step: 0.5 * (1.0 + math.cos(math.pi * min(step / steps, 1.0))))
    cycle = _SGD_CYCLE if recipe.optimizer == "sgd" else {}
    return OneCycleLR(optimizer, recipe.learning_rate, total_steps=max(steps, 2), **cycle)  # type: ignore[arg-type]
