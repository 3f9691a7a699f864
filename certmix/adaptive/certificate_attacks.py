"""Attack D on an adaptive mixture of a smoothed model, inside its certificates at a_min: no success is allowed."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from certmix.adaptive.attacks import AttackBudget, attack_adaptive, check_setting
from certmix.adaptive.mixture import AdaptiveMixture
from certmix.adaptive.smoothed import SmoothedAdaptiveMixture
from certmix.attacks.certificates import CertificateAttack, attack_inside
from certmix.attacks.judge import Floats, Judge, Stakes
from certmix.datasets import Dataset
from certmix.models.memory import inputs_at_once
from certmix.rules import LinearRule, Rule


def attack_adaptive_certificates(
    mixture: AdaptiveMixture,
    dataset: Dataset,
    prediction: ArrayLike,
    radius: ArrayLike,
    *,
    sigma: float,
    grid_levels: int | None = None,
    setting: str = "D",
    share_of_radius: float = 0.99,
    strong_steps: int = 50,
    restarts: int = 1,
    draws: int = 16,
    votes: int = 10_000,
    significance: float = 1e-6,
    seed: int = 0,
    batch_size: int | None = None,
) -> CertificateAttack:
    """Attack the mixture at a(x) inside every certified l2 ball, gradients averaged over noise, judged by fresh votes.

    The attack sees the mean softmax of h on fixed noise draws, g, and a(x); the judge counts votes of h, as certificates
    do, and takes g and a(x) as they are at the attacked point.

    Args:
        mixture: g, h (the base that is smoothed) and a(x), with the floor that was certified.
        dataset: the certified inputs.
        prediction: certified classes, shape (inputs,).
        radius: certified radii, shape (inputs,), pixel units; 0 = nothing to attack.
        sigma: standard deviation of the noise.
        grid_levels: of integer noise; see `count_votes`.
        setting: "A", "B", "C" or "D".
        share_of_radius: attacks go to this share of it, in (0, 1).
        strong_steps, restarts: of each APGD run, >= 1.
        draws: noise draws of the attacked stand-in, >= 1.
        votes: fresh draws that judge a point, >= 1.
        significance: of a broken certificate; see `Judge`.
        seed: of starts and noise.
        batch_size: inputs attacked at once, >= 1; by default as `inputs_at_once` says.
    Raises: InvalidArgument: shapes that do not fit, or a value out of range.
    """
    check_setting(setting)
    budget = AttackBudget("l2", 0.0, strong_steps=strong_steps, restarts=restarts)
    stand_in = SmoothedAdaptiveMixture(mixture, sigma=sigma, draws=draws, hard=False, seed=seed).eval()
    generator = torch.Generator(mixture.calibration.device).manual_seed(seed)
    judge = Judge(mixture.robust, sigma, grid_levels, votes, significance, generator)
    attacker = _AgainstGate(mixture, stand_in, setting, budget, generator)
    return attack_inside(
        attacker,
        judge,
        dataset,
        prediction,
        radius,
        [LinearRule(mixture.floor)],
        share_of_radius=share_of_radius,
        batch_size=inputs_at_once(dataset.input_shape, stand_in, wanted=batch_size),
    )


@dataclass(frozen=True)
class _AgainstGate:
    """An attack of Section 4.2 on the stand-in; g and a(x) are what the mixture has where it ends."""

    mixture: AdaptiveMixture
    stand_in: SmoothedAdaptiveMixture
    setting: str
    budget: AttackBudget
    generator: torch.Generator

    def move(self, inputs: Tensor, labels: NDArray[np.int64], rules: Sequence[Rule], reach: Floats) -> Tensor:
        """Attacked inputs; those that hold stay where they are."""
        budget = replace(self.budget, attack_radius=torch.as_tensor(reach, dtype=inputs.dtype, device=inputs.device))
        truth = torch.as_tensor(labels, device=inputs.device)
        return attack_adaptive(self.stand_in, inputs, truth, self.setting, budget, generator=self.generator)

    @torch.no_grad()
    def stakes(self, points: Tensor, labels: NDArray[np.int64], rules: Sequence[Rule]) -> Stakes:
        """a(x) and g's leads at the points."""
        accurate = self.mixture.base_outputs(points)[0].double().cpu().numpy()
        lead = accurate[np.arange(len(labels)), labels][:, None] - accurate
        return Stakes(self.mixture.gate(points).double().cpu().numpy(), lead, np.full(len(labels), -np.inf))
