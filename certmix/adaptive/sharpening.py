"""MixedNUTS: h's logits are normalised, clamped and raised to a power before mixing, so that h is surer where it is right.

Source: Bai, Zhou, Patel and Sojoudi 2024, MixedNUTS, arXiv:2402.02263, Section 4.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from certmix.adaptive.attacks import AttackBudget
from certmix.adaptive.calibration import fixed_mixture
from certmix.attacks.losses import cross_entropy
from certmix.attacks.pgd import pgd
from certmix.clean_accuracy import alone_on_top, clean_accuracy
from certmix.datasets import Dataset
from certmix.datasets.batches import batches
from certmix.errors import InvalidArgument
from certmix.models import MixedClassifier
from certmix.models.memory import inputs_at_once
from certmix.models.placement import device_of


@dataclass(frozen=True)
class Sharpening:
    """s |v|^p sign(v), v = GELU(logits of mean 0 and variance 1, plus c). The class stays where v > 0.

    Attributes:
        scale: s > 0.
        exponent: p >= 1.
        bias: c.
    """

    scale: float
    exponent: float
    bias: float

    def __call__(self, logits: Tensor) -> Tensor:
        """Logits of shape (batch, classes), the same shape."""
        values = functional.gelu(functional.layer_norm(logits, logits.shape[-1:]) + self.bias)
        return self.scale * values.abs().pow(self.exponent) * values.sign()


class Sharpened(nn.Module):
    """A classifier with sharpened logits."""

    def __init__(self, model: nn.Module, sharpening: Sharpening) -> None:
        super().__init__()
        self.model, self.sharpening = model, sharpening
        self.train(model.training)

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits of shape (batch, classes)."""
        return self.sharpening(self.model(inputs))


CHOICES = tuple(
    Sharpening(*values)
    for values in itertools.product(
        (0.5, 1.0, 2.0, 5.0, 10.0), (1.0, 2.0, 3.0, 4.0, 6.0), (-1.5, -1.1, -0.7, -0.3, 0.0)
    )
)


def sharpened_mixture(
    *,
    accurate: nn.Module,
    robust: nn.Module,
    validation: Dataset,
    target: float,
    budget: AttackBudget,
    choices: Sequence[Sharpening] = CHOICES,
    batch_size: int | None = None,
) -> MixedClassifier:
    """The mixture of a fixed weight and a sharpened h, both chosen for a clean accuracy on the validation inputs.

    Of the choices, each with the largest weight a that keeps the accuracy, the one is taken whose h, attacked by PGD, is
    still right by a margin of probability above (1 - a) / a on the most inputs: there g cannot change the class.
    Differs: g keeps its softmax, and h is attacked by PGD on its cross-entropy in place of AutoAttack's smallest margins.

    Args:
        accurate, robust: g and h, logits.
        validation: inputs that nothing was trained on, and that are not reported.
        target: clean accuracy, in [0, 1].
        budget: of the attack on h.
        choices: to choose among.
        batch_size: inputs evaluated at once.
    Raises: InvalidArgument: no choice reaches the target.
    """
    g, clean, attacked = _logits(accurate, robust, validation, budget, batch_size)
    labels, votes = validation.labels, g.softmax(dim=1).numpy()
    best, most = None, -1.0
    for choice in choices:
        try:
            weight = clean_accuracy(votes, choice(clean).softmax(dim=1).numpy(), labels).best(target)
        except InvalidArgument:
            continue
        shares = choice(attacked).softmax(dim=1)
        first, second = shares.topk(2, dim=1).values.numpy().T
        holds = alone_on_top(shares.numpy(), labels) & (weight * (first - second) > 1.0 - weight)
        if holds.mean() > most:
            best, most = choice, float(holds.mean())
    if best is None:
        raise InvalidArgument(f"target clean accuracy must be one that some sharpening reaches, got {target:.4f}.")
    return fixed_mixture(
        accurate=accurate, robust=Sharpened(robust, best), validation=validation, target=target, batch_size=batch_size
    )


def _logits(
    accurate: nn.Module, robust: nn.Module, dataset: Dataset, budget: AttackBudget, batch_size: int | None
) -> tuple[Tensor, Tensor, Tensor]:
    """Logits of g, of h, and of h at inputs attacked against it, float64, shape (inputs, classes) each."""
    size, device = inputs_at_once(dataset.input_shape, accurate, robust, wanted=batch_size), device_of(robust)
    parts = []
    for inputs, labels in batches(dataset, size):
        x, y = inputs.to(device), labels.to(device)
        moved = pgd(
            lambda points, y=y: cross_entropy(robust(points), y),  # type: ignore[misc]
            x, norm=budget.norm, attack_radius=budget.attack_radius, steps=budget.steps, random_start=False,
        ).inputs  # fmt: skip
        with torch.no_grad():
            parts.append([values.double().cpu() for values in (accurate(x), robust(x), robust(moved))])
    g, clean, attacked = (torch.cat(values) for values in zip(*parts, strict=True))
    return g, clean, attacked
