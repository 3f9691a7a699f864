"""Attacks on the mixture against its weight (the paper's Figure 4): transferred from either model, and on the mixture."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from certmix.attacks.auto import auto_attack
from certmix.attacks.losses import get_loss
from certmix.attacks.model_attack import attack_model, is_fooled
from certmix.errors import InvalidArgument
from certmix.models import MixedClassifier

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
    accurate: nn.Module,
    robust: nn.Module,
    inputs: Tensor,
    labels: Tensor,
    *,
    mixing_weight: Sequence[float],
    norm: str,
    attack_radius: float,
    attacks: Sequence[str] = ("std", "rob", "mix"),
    steps: int = 20,
    restarts: int = 1,
    losses: Sequence[str] = ("cross-entropy", "margin"),
    hard_accurate: bool = False,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> MixtureSweep:
    """Accuracy of log((1 - a) g + a h) against a: clean, under attacks on g and on h, and on the mixture at that a.

    Source: Bai et al., arXiv:2301.12554, Section 5.1.1 and Figure 4 (STD, ROB and MIX attacks). Attacks on g and h go on
    to the largest loss, since they must transfer; attacks on the mixture stop where it is fooled. These are upper bounds
    on the mixture's robust accuracy: a stronger attack may lower them.
    Differs: the mixture is attacked with every loss in turn, since cross-entropy alone overrates it (by up to 8 points on
    digits: where g is sure, its term hides h's).

    Args:
        accurate, robust: g and h: inputs in [0, 1] -> logits.
        inputs, labels: shapes (inputs, ...) and (inputs,).
        mixing_weight: weights a in [0, 1].
        norm, attack_radius, steps, restarts: see `pgd`.
        attacks: among "std", "rob", "mix" and "auto" (needs the extra `attacks`).
        losses: of PGD; an input counts as right under "mix" where it withstands all; transferred attacks use the first.
        hard_accurate: mix g's class instead of its softmax; PGD then sees no gradient of g.
        seed: of the random starts.
        progress: called with (attacks done, in all).
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
    how: dict[str, Any] = {"norm": norm, "attack_radius": attack_radius}
    pgd_how: dict[str, Any] = {**how, "steps": steps, "restarts": restarts, "seed": seed}
    mixtures = [MixedClassifier(accurate, robust, weight, hard_accurate).eval() for weight in mixing_weight]
    moved = {"clean": inputs}
    for name, model in (("std", accurate), ("rob", robust)):
        if name in attacks:
            moved[name] = attack_model(model, inputs, labels, loss=losses[0], stop_at_success=False, **pgd_how).inputs
    right: dict[str, list[Tensor]] = {name: [] for name in ("clean", *attacks)}
    flags: list[str] = []
    for done, mixture in enumerate(mixtures):
        for name, points in moved.items():
            right[name].append(~is_fooled(mixture, points, labels))
        if "mix" in attacks:
            fooled = [attack_model(mixture, inputs, labels, loss=loss, **pgd_how).fooled for loss in losses]
            right["mix"].append(~torch.stack(fooled).any(dim=0))
        if "auto" in attacks:
            found, flagged = auto_attack(mixture, inputs, labels, seed=seed, **how)
            right["auto"].append(~found.fooled)
            flags += [f"weight {mixture.mixing_weight:g}: {flag}" for flag in flagged]
        if progress:
            progress(done + 1, len(mixtures))
    return MixtureSweep(
        mixing_weight=np.asarray(mixing_weight, dtype=np.float64),
        right={name: torch.stack(rows).cpu().numpy() for name, rows in right.items()},
        norm=norm,
        attack_radius=float(attack_radius),
        warnings=tuple(flags),
    )
