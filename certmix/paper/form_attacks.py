"""Attacked against clean accuracy of the eight mixing forms (the paper's Figures 1 and 8)."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from certmix.attacks.model_attack import attack_model, is_fooled
from certmix.errors import InvalidArgument
from certmix.models import MixedClassifier
from certmix.paper.forms import FACTORS, SCALES, MixingForm

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
    accurate: nn.Module,
    robust: nn.Module,
    inputs: Tensor,
    labels: Tensor,
    *,
    norm: str,
    attack_radius: float,
    num_gammas: int = 12,
    forms: Sequence[tuple[str, str]] | None = None,
    steps: int = 20,
    losses: Sequence[str] = ("cross-entropy", "margin"),
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> list[FormCurve]:
    """Every form attacked by PGD through its exact gradients, at gammas that lead evenly from g to h.

    Source: Bai et al., arXiv:2301.12554, Figures 1 and 8. Factors differ by orders of magnitude, and so do useful gammas:
    each form gets those at which it sides with h on equal steps of the points, clean and attacked, where g and h differ.
    Differs: gradient factors can hide gradients from PGD, which then overrates their forms: every form must also withstand
    what fools g, h and Eq. 5 at five weights.

    Args:
        accurate, robust: g and h, inputs -> logits.
        inputs, labels: shapes (inputs, ...) and (inputs,).
        norm, attack_radius, steps: see `pgd`; gradients of the factors are measured in the dual norm.
        num_gammas: points per curve, >= 2; the first is g alone, the last h alone.
        forms: pairs (factor, on); all eight by default.
        losses: an input counts as right where it withstands PGD with every one of them, and the transferred attacks.
        seed: of the random starts.
        progress: called with (curves done, in all).
    Returns: one FormCurve per form.
    Raises: InvalidArgument: a value out of range.
    """
    if num_gammas < 2:
        raise InvalidArgument(f"num_gammas must be >= 2, got {num_gammas}.")
    how: dict[str, Any] = {"norm": norm, "attack_radius": attack_radius, "steps": steps, "seed": seed}
    sources = [accurate, robust, *(MixedClassifier(accurate, robust, weight).eval() for weight in TRANSFER_WEIGHTS)]
    moved = [attack_model(model, inputs, labels, stop_at_success=False, **how).inputs for model in sources]
    chosen = [(factor, on) for on in SCALES for factor in FACTORS] if forms is None else list(forms)
    curves = []
    for done, (factor, on) in enumerate(chosen):
        form = MixingForm(accurate, robust, 1.0, factor=factor, on=on, norm=norm).eval()
        gammas = _even_gammas(form, torch.cat([inputs, *moved[:2]]), num_gammas)
        clean, attacked = [], []
        for gamma in gammas:
            form.gamma = gamma
            holds = torch.arange(len(inputs))[~is_fooled(form, inputs, labels).cpu()]
            clean.append(len(holds) / len(inputs))
            for points in moved:
                holds = holds[~is_fooled(form, points[holds], labels[holds]).cpu()] if len(holds) else holds
            for loss in losses:
                if len(holds):
                    found = attack_model(form, inputs[holds], labels[holds], loss=loss, **how)
                    holds = holds[~found.fooled.cpu()]
            attacked.append(len(holds) / len(inputs))
        curves.append(FormCurve(factor, on, np.array(gammas), np.array(clean), np.array(attacked)))
        if progress:
            progress(done + 1, len(chosen))
    return curves


def _even_gammas(form: MixingForm, points: Tensor, count: int) -> list[float]:
    """0, inf, and between them gammas at which the form sides with h on even shares of the points that g and h contest."""
    with torch.no_grad():
        ratio = form.factors(points)
        g, h = form.values(form.accurate, points), form.values(form.robust, points)
        contested = g.argmax(dim=1) != h.argmax(dim=1)
        ratio, g, h = ratio[contested], g[contested], h[contested]
        share = []
        for gamma in _GAMMAS:
            weight = gamma * ratio / (1.0 + gamma * ratio)
            mixed = (1.0 - weight) * g + weight * h
            share.append(float((mixed.argmax(dim=1) == h.argmax(dim=1)).double().mean()))
    rising = np.maximum.accumulate(np.nan_to_num(share))
    wanted = np.linspace(0.0, 1.0, count)[1:-1]
    return [0.0, *_GAMMAS[np.searchsorted(rising, wanted).clip(max=len(_GAMMAS) - 1)].tolist(), float("inf")]
