"""Confidence gaps of right and wrong predictions, clean and attacked (the paper's Table 1), as margins of Lemma 3.2."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from certmix.attacks.auto import auto_attack
from certmix.attacks.losses import margin
from certmix.attacks.model_attack import attack_model
from certmix.datasets import Dataset
from certmix.datasets.batches import batches
from certmix.errors import InvalidArgument, need_at_least
from certmix.models.memory import inputs_at_once
from certmix.models.placement import device_of
from certmix.tables import shapes_repr


@dataclass(frozen=True)
class ConfidenceGap:
    """Top-1 minus top-2 probability of a model's predictions on one kind of inputs.

    Attributes:
        data: "clean", "pgd" or "auto".
        accuracy: share of right predictions.
        right, wrong: gaps of right and of wrong predictions, shape (number of them,).
    """

    data: str
    accuracy: float
    right: NDArray[np.float64]
    wrong: NDArray[np.float64]

    __repr__ = shapes_repr

    def weight_needed(self, quantile: float = 0.5) -> float:
        """Lemma 3.2 read backwards: weight at which so large a share of the right predictions has the required margin.

        A margin m suffices at every weight a > 1 / (1 + m). On attacked inputs the gap is only an upper bound on the
        robust margin: this is an estimate, not a certificate.

        Args:
            quantile: share of the right predictions that may fall short, in [0, 1].
        Returns: a, in [1/2, 1]; 1 where no prediction is right.
        """
        return float(1.0 / (1.0 + np.quantile(self.right, quantile))) if len(self.right) else 1.0


def confidence_gaps(
    model: nn.Module,
    dataset: Dataset,
    *,
    norm: str,
    attack_radius: float,
    attacks: Sequence[str] = ("pgd",),
    steps: int = 20,
    restarts: int = 1,
    seed: int = 0,
    batch_size: int | None = None,
) -> list[ConfidenceGap]:
    """Gaps on clean and on attacked inputs. Source: Bai et al., arXiv:2301.12554, Table 1 and Section D.2.

    PGD minimises the margin of the probabilities and returns the smallest-margin point it met even where it fails; what
    AutoAttack cannot break is taken from that PGD, since AutoAttack returns such inputs unchanged.

    Args:
        model: inputs -> logits, on the device where the attack runs.
        dataset: inputs in [0, 1] with labels; read a batch at a time.
        norm, attack_radius, steps, restarts: see `pgd`.
        attacks: among "pgd" and "auto" (needs the extra `attacks`).
        seed: of the random starts; every batch has its own stream.
        batch_size: inputs attacked at once, >= 1; by default as `inputs_at_once` says.
    Returns: one ConfidenceGap per kind of inputs, clean first.
    Raises: InvalidArgument: an unknown attack, or a value out of range.
    """
    for name in attacks:
        if name not in ("pgd", "auto"):
            raise InvalidArgument(f"attack must be pgd or auto, got {name!r}.")
    need_at_least(1, restarts=restarts)
    size, device = inputs_at_once(dataset.input_shape, model, wanted=batch_size), device_of(model)
    found: dict[str, list[tuple[Tensor, Tensor]]] = {name: [] for name in ("clean", *attacks)}
    for number, (x, y) in enumerate(batches(dataset, size)):
        inputs, labels, stream = x.to(device), y.to(device), seed + 1_000_003 * number
        smallest = attack_model(
            model, inputs, labels, norm=norm, attack_radius=attack_radius, steps=steps, restarts=restarts,
            loss=probability_margin, stop_at_success=False, batch_size=len(inputs), seed=stream,
        ).inputs  # fmt: skip
        points = {"clean": inputs, "pgd": smallest}
        if "auto" in attacks:
            broken, _ = auto_attack(model, inputs, labels, norm=norm, attack_radius=attack_radius, seed=stream)
            unbroken = ~broken.fooled.view(-1, *[1] * (inputs.ndim - 1))
            points["auto"] = torch.where(unbroken, smallest, broken.inputs)
        for name, parts in found.items():
            parts.append(_gaps(model, points[name], labels))
    return [_gathered(name, parts) for name, parts in found.items()]


def probability_margin(logits: Tensor, labels: Tensor) -> Tensor:
    """Largest other probability minus the label's, shape (batch,): the loss whose maximum is the smallest margin."""
    return margin(functional.softmax(logits, dim=1), labels)


@torch.no_grad()
def _gaps(model: nn.Module, points: Tensor, labels: Tensor) -> tuple[Tensor, Tensor]:
    """Top-1 minus top-2 probability, and whether the class is the label, shape (batch,) each."""
    top = model(points).double().softmax(dim=1).topk(2, dim=1)
    return (top.values[:, 0] - top.values[:, 1]).cpu(), (top.indices[:, 0] == labels).cpu()


def _gathered(name: str, parts: list[tuple[Tensor, Tensor]]) -> ConfidenceGap:
    gap, right = (torch.cat(list(values)).numpy() for values in zip(*parts, strict=True))
    return ConfidenceGap(name, float(right.mean()), gap[right], gap[~right])
