"""Attacked against clean accuracy of the eight mixing forms (the paper's Figures 1 and 8)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from certmix.attacks.model_attack import AttackResult, attack_model, is_fooled
from certmix.datasets import Dataset
from certmix.datasets.batches import batches
from certmix.errors import need_at_least
from certmix.models import MixedClassifier
from certmix.models.memory import inputs_at_once
from certmix.models.placement import device_of
from certmix.paper.forms import FACTORS, SCALES, MixingForm
from certmix.tables import shapes_repr

TRANSFER_WEIGHTS = (0.5, 0.6, 0.7, 0.8, 0.9)
_GAMMAS = np.logspace(-8.0, 12.0, 401)


@dataclass(frozen=True)
class FormCurve:
    """Clean and attacked accuracy of one mixing form against gamma.

    Attributes:
        factor, on: the form; see `MixingForm`.
        gamma: from 0 (g alone) to inf (h alone), shape (gammas,).
        clean, attacked: accuracies, shape (gammas,).
    """

    factor: str
    on: str
    gamma: NDArray[np.float64]
    clean: NDArray[np.float64]
    attacked: NDArray[np.float64]

    __repr__ = shapes_repr

    @property
    def name(self) -> str:
        """As in tables and figures."""
        return f"{self.factor} on {self.on}"

    def attacked_at(self, clean: float) -> float:
        """Best attacked accuracy at clean accuracy of at least `clean`, linear between the curve's best points; else 0."""
        best = np.array([self.attacked[self.clean >= level].max() for level in self.clean])
        order = np.lexsort((-best, self.clean))
        return float(np.interp(clean, self.clean[order], best[order], right=0.0)) if clean <= self.clean.max() else 0.0

    def score(self, low: float, high: float) -> float:
        """Mean of `attacked_at` over clean accuracies between two levels: the area under the trade-off curve."""
        return float(np.mean([self.attacked_at(level) for level in np.linspace(low, high, 101)]))


def compare_mixing_forms(
    dataset: Dataset,
    *,
    accurate: nn.Module,
    robust: nn.Module,
    norm: str,
    attack_radius: float,
    num_gammas: int = 12,
    forms: Sequence[tuple[str, str]] | None = None,
    steps: int = 20,
    losses: Sequence[str] = ("cross-entropy", "margin"),
    seed: int = 0,
    batch_size: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> list[FormCurve]:
    """Every form attacked by PGD through its exact gradients, at gammas that lead evenly from g to h.

    Source: Bai et al., arXiv:2301.12554, Figures 1 and 8. Factors differ by orders of magnitude, and so do useful gammas:
    each form gets those at which it sides with h on equal steps of the points, clean and attacked, where g and h differ.
    Differs: gradient factors can hide gradients from PGD, which then overrates their forms: every form must also withstand
    what fools g, h and Eq. 5 at five weights.

    Args:
        dataset: inputs in [0, 1] with labels; read a batch at a time, once to choose gammas and once to attack.
        accurate, robust: g and h, inputs -> logits, on the device where the attack runs.
        norm, attack_radius, steps: see `pgd`; gradients of the factors are measured in the dual norm.
        num_gammas: points per curve, >= 2; the first is g alone, the last h alone.
        forms: pairs (factor, on); all eight by default.
        losses: an input counts as right where it withstands PGD with every one of them, and the transferred attacks.
        seed: of the random starts; every batch has its own stream.
        batch_size: inputs attacked at once, >= 1; by default as `inputs_at_once` says.
        progress: called with (inputs done, in all), both passes counted.
    Returns: one FormCurve per form.
    Raises: InvalidArgument: a value out of range.
    """
    need_at_least(2, num_gammas=num_gammas)
    chosen = [(factor, on) for on in SCALES for factor in FACTORS] if forms is None else list(forms)
    made = [
        MixingForm(accurate=accurate, robust=robust, gamma=1.0, factor=factor, on=on, norm=norm).eval()
        for factor, on in chosen
    ]
    size = min(inputs_at_once(dataset.input_shape, form, wanted=batch_size) for form in made)
    how = _How(norm, attack_radius, steps, tuple(losses))
    contests: list[list[Contest]] = [[] for _ in made]
    done, total, device = 0, 2 * len(dataset), device_of(robust)
    for number, (x, y) in enumerate(batches(dataset, size)):
        inputs, labels = x.to(device), y.to(device)
        points = torch.cat([inputs, *how.moved([accurate, robust], inputs, labels, seed + 1_000_003 * number)])
        for form, found in zip(made, contests, strict=True):
            found.append(_contest(form, points))
        done = _told(progress, done + len(labels), total)
    gammas = [_even_gammas(found, num_gammas) for found in contests]
    mixtures = [
        MixedClassifier(accurate=accurate, robust=robust, mixing_weight=weight, accurate_vote="softmax").eval()
        for weight in TRANSFER_WEIGHTS
    ]
    right = np.zeros((2, len(made), num_gammas))
    for number, (x, y) in enumerate(batches(dataset, size)):
        inputs, labels, stream = x.to(device), y.to(device), seed + 1_000_003 * number
        moved = how.moved([accurate, robust, *mixtures], inputs, labels, stream)
        for row, (form, values) in enumerate(zip(made, gammas, strict=True)):
            for column, form.gamma in enumerate(values):
                right[:, row, column] += how.right(form, inputs, labels, moved, stream)
        done = _told(progress, done + len(labels), total)
    clean, attacked = right / len(dataset)
    return [
        FormCurve(factor, on, np.array(values), clean[row], attacked[row])
        for row, ((factor, on), values) in enumerate(zip(chosen, gammas, strict=True))
    ]


Contest = tuple[Tensor, Tensor, Tensor]  # ratio, g and h where the classes of g and h differ, (points, classes) each


@dataclass(frozen=True)
class _How:
    norm: str
    attack_radius: float
    steps: int
    losses: tuple[str, ...]

    def attack(
        self, model: nn.Module, inputs: Tensor, labels: Tensor, seed: int, loss: str, *, stop: bool
    ) -> AttackResult:
        return attack_model(
            model, inputs, labels, norm=self.norm, attack_radius=self.attack_radius, steps=self.steps, seed=seed,
            loss=loss, stop_at_success=stop, batch_size=len(inputs),
        )  # fmt: skip

    def moved(self, models: Sequence[nn.Module], inputs: Tensor, labels: Tensor, seed: int) -> list[Tensor]:
        """What fools each model most."""
        return [self.attack(model, inputs, labels, seed, "cross-entropy", stop=False).inputs for model in models]

    def right(
        self, form: MixingForm, inputs: Tensor, labels: Tensor, moved: Sequence[Tensor], seed: int
    ) -> tuple[int, int]:
        """How many inputs the form gets right, clean and under every attack."""
        holds = (~is_fooled(form, inputs, labels)).nonzero()[:, 0]
        clean = len(holds)
        for points in moved:
            holds = holds[~is_fooled(form, points[holds], labels[holds])] if len(holds) else holds
        for loss in self.losses:
            if len(holds):
                holds = holds[~self.attack(form, inputs[holds], labels[holds], seed, loss, stop=True).fooled]
        return clean, len(holds)


@torch.no_grad()
def _contest(form: MixingForm, points: Tensor) -> Contest:
    ratio = form.factors(points)
    g, h = form.values(form.accurate, points), form.values(form.robust, points)
    contested = g.argmax(dim=1) != h.argmax(dim=1)
    return ratio[contested].cpu(), g[contested].cpu(), h[contested].cpu()


def _even_gammas(contests: Sequence[Contest], count: int) -> list[float]:
    """0, inf, and between them gammas at which the form sides with h on even shares of the points that g and h contest."""
    ratio, g, h = (torch.cat(list(parts)) for parts in zip(*contests, strict=True))
    share = []
    for gamma in _GAMMAS:
        weight = gamma * ratio / (1.0 + gamma * ratio)
        mixed = (1.0 - weight) * g + weight * h
        share.append(float((mixed.argmax(dim=1) == h.argmax(dim=1)).double().mean()))
    rising = np.maximum.accumulate(np.nan_to_num(share))
    wanted = np.linspace(0.0, 1.0, count)[1:-1]
    return [0.0, *_GAMMAS[np.searchsorted(rising, wanted).clip(max=len(_GAMMAS) - 1)].tolist(), float("inf")]


def _told(progress: Callable[[int, int], None] | None, done: int, total: int) -> int:
    if progress:
        progress(done, total)
    return done
