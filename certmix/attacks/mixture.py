"""Attacks on the mixture against its weight (the paper's Figure 4): transferred from either model, and on the mixture."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from certmix.attacks.auto import auto_attack
from certmix.attacks.losses import get_loss
from certmix.attacks.model_attack import AttackResult, attack_model, is_fooled
from certmix.datasets import OwnData, as_dataset
from certmix.datasets.batches import batches
from certmix.errors import InvalidArgument, need_at_least
from certmix.models import MixedClassifier
from certmix.models.memory import inputs_at_once
from certmix.models.own_range import in_range_of
from certmix.models.placement import device_of
from certmix.tables import shapes_repr

ATTACKS = {
    "clean": "no attack",
    "std": "PGD on the accurate model, transferred",
    "rob": "PGD on the robust model, transferred",
    "mix": "PGD on the mixture",
    "auto": "AutoAttack on the mixture",
}


@dataclass(frozen=True)
class MixtureSweep:
    """What the mixture gets right under each attack, against its weight.

    Attributes:
        mixing_weight: shape (weights,).
        right: attack -> whether the mixture's class is the label, shape (weights, inputs), bool.
        norm, attack_radius: of every attack.
        warnings: what AutoAttack flagged, one line each (gradients that may be unreliable, ...).
    """

    mixing_weight: NDArray[np.float64]
    right: dict[str, NDArray[np.bool_]]
    norm: str
    attack_radius: float
    warnings: tuple[str, ...] = ()

    __repr__ = shapes_repr

    @property
    def num_inputs(self) -> int:
        """Number of inputs."""
        return int(self.right["clean"].shape[1])

    def accuracy(self, attack: str) -> NDArray[np.float64]:
        """Accuracy at each weight under one attack, shape (weights,); "worst" = under all of them at once."""
        if attack == "worst":
            return np.asarray(np.logical_and.reduce(list(self.right.values())).mean(axis=1))
        return np.asarray(self.right[attack].mean(axis=1))


def attack_mixture(
    dataset: OwnData,
    *,
    accurate: nn.Module,
    robust: nn.Module,
    mixing_weight: Sequence[float],
    norm: str,
    attack_radius: float,
    attacks: Sequence[str] = ("std", "rob", "mix"),
    steps: int = 20,
    restarts: int = 1,
    losses: Sequence[str] = ("cross-entropy", "margin"),
    accurate_vote: str = "class",
    seed: int = 0,
    batch_size: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> MixtureSweep:
    """Accuracy of log((1 - a) g + a h) against a: clean, under attacks on g and on h, and on the mixture at that a.

    Source: Bai et al., arXiv:2301.12554, Section 5.1.1 and Figure 4 (STD, ROB and MIX attacks). Attacks on g and h go on
    to the largest loss, since they must transfer; attacks on the mixture stop where it is fooled. These are upper bounds
    on the mixture's robust accuracy: a stronger attack may lower them.
    Differs: the mixture is attacked with every loss in turn, since cross-entropy alone overrates it (by up to 8 points on
    digits: where g is sure, its term hides h's).

    Args:
        dataset: inputs with labels, as `certmix.sample` takes them; read a batch at a time.
        accurate, robust: g and h: inputs -> logits, on the device where the attack runs.
        mixing_weight: weights a in [0, 1].
        norm, attack_radius, steps, restarts: see `pgd`.
        attacks: among "std", "rob", "mix" and "auto" (needs the extra `attacks`).
        losses: of PGD; an input counts as right under "mix" where it withstands all; transferred attacks use the first.
        accurate_vote: how g votes, "class" or "softmax"; PGD on the mixture climbs its softmax, which has gradients.
        seed: of the random starts; every batch has its own stream.
        batch_size: inputs attacked at once, >= 1; by default as `inputs_at_once` says.
        progress: called with (inputs done, in all).
    Returns: MixtureSweep.
    Raises: InvalidArgument: an unknown attack, or a value out of range.
    """
    for loss in losses:
        get_loss(loss)
    if not losses:
        raise InvalidArgument("losses must name at least one loss, got none.")
    for name in attacks:
        if name not in ATTACKS or name == "clean":
            raise InvalidArgument(f"attack must be one of {', '.join(list(ATTACKS)[1:])}, got {name!r}.")
    need_at_least(1, restarts=restarts)
    budget = _Budget(norm, attack_radius, steps, restarts, tuple(losses), seed)
    data = as_dataset(dataset)
    accurate, robust = in_range_of(accurate, data), in_range_of(robust, data)
    mixtures = [
        MixedClassifier(accurate=accurate, robust=robust, mixing_weight=weight, accurate_vote=accurate_vote).eval()
        for weight in mixing_weight
    ]
    size = inputs_at_once(data.input_shape, mixtures[0].softened(), wanted=batch_size)
    found: dict[str, list[Tensor]] = {name: [] for name in ("clean", *attacks)}
    flags: list[str] = []
    device = device_of(robust)
    for number, (inputs, labels) in enumerate(batches(data, size)):
        right, flagged = _attack_batch(mixtures, inputs.to(device), labels.to(device), attacks, budget.of_batch(number))
        flags += flagged
        for name, rows in right.items():
            found[name].append(rows.cpu())
        if progress:
            progress(min((number + 1) * size, len(data)), len(data))
    return MixtureSweep(
        mixing_weight=np.asarray(mixing_weight, dtype=np.float64),
        right={name: torch.cat(parts, dim=1).numpy() for name, parts in found.items()},
        norm=norm,
        attack_radius=float(attack_radius),
        warnings=tuple(dict.fromkeys(flags)),
    )


@dataclass(frozen=True)
class _Budget:
    norm: str
    attack_radius: float
    steps: int
    restarts: int
    losses: tuple[str, ...]
    seed: int

    def of_batch(self, number: int) -> "_Budget":
        return replace(self, seed=self.seed + 1_000_003 * number)

    def attack(
        self, model: nn.Module, inputs: Tensor, labels: Tensor, loss: str, judge: nn.Module | None = None
    ) -> AttackResult:
        """PGD: on the judge by way of the model, or to the model's largest loss where there is no judge."""
        return attack_model(
            model, inputs, labels, norm=self.norm, attack_radius=self.attack_radius, loss=loss, steps=self.steps,
            restarts=self.restarts, stop_at_success=judge is not None, judge=judge, batch_size=len(inputs), seed=self.seed,
        )  # fmt: skip


def _attack_batch(
    mixtures: Sequence[MixedClassifier], inputs: Tensor, labels: Tensor, attacks: Sequence[str], budget: _Budget
) -> tuple[dict[str, Tensor], list[str]]:
    """Whether each mixture is right under each attack, shape (weights, batch), and what AutoAttack flagged."""
    moved = {"clean": inputs}
    for name, model in (("std", mixtures[0].accurate), ("rob", mixtures[0].robust)):
        if name in attacks:
            moved[name] = budget.attack(model, inputs, labels, budget.losses[0]).inputs
    right: dict[str, list[Tensor]] = {name: [] for name in ("clean", *attacks)}
    flags: list[str] = []
    for mixture in mixtures:
        for name, points in moved.items():
            right[name].append(~is_fooled(mixture, points, labels))
        if "mix" in attacks:
            right["mix"].append(_withstands(mixture, inputs, labels, budget))
        if "auto" in attacks:
            found, flagged = auto_attack(
                mixture, inputs, labels, norm=budget.norm, attack_radius=budget.attack_radius, seed=budget.seed
            )
            right["auto"].append(~found.fooled)
            flags += [f"weight {mixture.mixing_weight:g}: {flag}" for flag in flagged]
    return {name: torch.stack(rows) for name, rows in right.items()}, flags


def _withstands(mixture: MixedClassifier, inputs: Tensor, labels: Tensor, budget: _Budget) -> Tensor:
    """Whether the mixture is right after PGD with every loss, shape (batch,); each is spent on what still holds."""
    right = ~is_fooled(mixture, inputs, labels)
    for loss in budget.losses:
        held = right.nonzero()[:, 0]
        if len(held):
            right[held] = ~budget.attack(mixture.softened(), inputs[held], labels[held], loss, mixture).fooled
    return right
