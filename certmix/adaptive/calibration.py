"""Calibration of mixtures on held-out inputs: scale and shift of a gate, and the fixed weight of equal clean accuracy."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from certmix.adaptive.attacks import AttackBudget, attack_adaptive
from certmix.adaptive.mixture import AdaptiveMixture
from certmix.adaptive.shift import calibrated_shift, check_target
from certmix.adaptive.smoothed import SmoothedAdaptiveMixture
from certmix.clean_accuracy import clean_accuracy
from certmix.datasets import Dataset
from certmix.datasets.batches import batches
from certmix.errors import InvalidArgument
from certmix.models import MixedClassifier
from certmix.models.memory import inputs_at_once
from certmix.models.placement import device_of

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Calibration:
    """What was chosen, and on what.

    Attributes:
        target: clean accuracy that was asked for.
        clean_accuracy: of the mixture on the held-out inputs.
        scale, shift: of the sigmoid's argument; the shift is in the middle of those with the same predictions.
        floor, ceiling: a_min and a_max.
        held_out: number of inputs it was chosen on.
        sigma: of the noise that h was smoothed with; None for h as it is.
    """

    target: float
    clean_accuracy: float
    scale: float
    shift: float
    floor: float
    ceiling: float
    held_out: int
    sigma: float | None


def calibrate_mixture(
    mixture: AdaptiveMixture,
    validation: Dataset,
    *,
    target: float | None = None,
    scales: Sequence[float] = (2.0,),
    budget: AttackBudget | None = None,
    sigma: float | None = None,
    draws: int = 500,
    seed: int = 0,
    batch_size: int | None = None,
) -> Calibration:
    """Set the shift (and scale) so that clean accuracy on the validation inputs is at least the target, exactly.

    Of several scales the one with the best white-box PGD (B) accuracy on the validation inputs is taken (Table 7).

    Args:
        mixture: changed in place; its gate's range is kept.
        validation: inputs that nothing was trained on, and that are not reported; read a batch at a time.
        target: clean accuracy, in [0, 1]; midway between g and h where left out.
        scales: of the sigmoid's argument, > 0.
        budget: of the attack that decides between scales; needed where there are several.
        sigma: calibrate the mixture of g and h smoothed with this noise, as certified, by h's vote shares; None takes h as
            it is.
        draws: votes per input, with sigma.
        seed: of the attack and the noise.
        batch_size: inputs evaluated at once, >= 1; by default as `inputs_at_once` says.
    Raises: InvalidArgument: no shift reaches the target, or a value out of range.
    """
    if len(scales) > 1 and budget is None:
        raise InvalidArgument(f"several scales need an attack budget to choose by, got {len(scales)} scales and none.")
    accurate, robust, numbers = base_values(mixture, validation, batch_size)
    if target is None:
        target = float(np.mean([(values.argmax(axis=1) == validation.labels).mean() for values in (accurate, robust)]))
    check_target(target)
    attacked: nn.Module = mixture
    if sigma is not None:
        robust = _vote_shares(mixture, validation, sigma, draws, seed, batch_size)
        attacked = SmoothedAdaptiveMixture(mixture, sigma=sigma, draws=16, hard=False, seed=seed)
    limits = mixture.floor, mixture.ceiling
    tried: list[tuple[float, Calibration]] = []
    for scale in scales:
        mixture.calibrate(scale=scale, shift=0.0)  # refuses a scale out of range
        found = calibrated_shift(
            accurate, robust, numbers, validation.labels, target=target, scale=scale, gate_range=limits
        )
        mixture.calibrate(scale=scale, shift=found.value)
        holds = 0.0
        if len(scales) > 1 and budget is not None:
            holds = _accuracy_under_b(attacked, validation, budget, batch_size)
        chosen = Calibration(target, found.clean_accuracy, scale, found.value, *limits, len(validation), sigma)
        tried.append((holds, chosen))
    best = max(tried, key=lambda entry: entry[0])[1]
    mixture.calibrate(scale=best.scale, shift=best.shift)
    return best


@torch.no_grad()
def base_values(
    mixture: AdaptiveMixture, dataset: Dataset, batch_size: int | None = None
) -> tuple[Floats, Floats, Floats]:
    """`AdaptiveMixture.base_outputs` of a data set: (inputs, classes) twice and (inputs,)."""
    size, device = inputs_at_once(dataset.input_shape, mixture, wanted=batch_size), mixture.calibration.device
    parts = [mixture.base_outputs(inputs.to(device)) for inputs, _ in batches(dataset, size)]
    accurate, robust, numbers = (torch.cat(part).double().cpu().numpy() for part in zip(*parts, strict=True))
    return accurate, robust, numbers


@torch.no_grad()
def fixed_mixture(
    *, accurate: nn.Module, robust: nn.Module, validation: Dataset, target: float, batch_size: int | None = None
) -> MixedClassifier:
    """The mixture of the largest fixed weight that keeps a clean accuracy on the validation inputs; g votes its softmax.

    Its predictions there are the same on a whole interval of weights; the middle is taken, so that float32 keeps them.
    """
    size = inputs_at_once(validation.input_shape, accurate, robust, wanted=batch_size)
    device = device_of(robust)
    parts = [
        [model(inputs.to(device)).double().softmax(dim=1).cpu() for model in (accurate, robust)]
        for inputs, _ in batches(validation, size)
    ]
    g, h = (torch.cat(values).numpy() for values in zip(*parts, strict=True))
    clean = clean_accuracy(g, h, validation.labels)
    weight = clean.best(target)
    before = clean.breakpoints[clean.breakpoints < weight]
    middle = (weight + before.max()) / 2 if len(before) else weight
    return MixedClassifier(
        accurate=accurate,
        robust=robust,
        mixing_weight=middle if clean(middle) >= target else weight,
        accurate_vote="softmax",
    ).eval()


@torch.no_grad()
def _vote_shares(
    mixture: AdaptiveMixture, dataset: Dataset, sigma: float, draws: int, seed: int, batch_size: int | None
) -> Floats:
    votes = SmoothedAdaptiveMixture(mixture, sigma=sigma, draws=draws, hard=True, seed=seed)
    size, device = inputs_at_once(dataset.input_shape, mixture, wanted=batch_size), mixture.calibration.device
    parts = [votes.smoothed(inputs.to(device)).double().cpu() for inputs, _ in batches(dataset, size)]
    return np.asarray(torch.cat(parts).numpy())


def _accuracy_under_b(model: nn.Module, dataset: Dataset, budget: AttackBudget, batch_size: int | None) -> float:
    size = inputs_at_once(dataset.input_shape, model, wanted=batch_size)
    device, right = device_of(model), 0
    for inputs, labels in batches(dataset, size):
        x, y = inputs.to(device), labels.to(device)
        with torch.no_grad():
            right += int((model(attack_adaptive(model, x, y, "B", budget)).argmax(dim=1) == y).sum())
    return right / len(dataset)
