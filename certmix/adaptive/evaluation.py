"""What an adaptive mixture is worth: accuracy under attacks A to D, at equal clean accuracy, beside fixed weights."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from certmix.adaptive.attacks import SETTINGS, AttackBudget, HasParts, attack_adaptive, check_setting
from certmix.adaptive.calibration import base_values, calibrate_mixture, fixed_mixture
from certmix.adaptive.certification import GateValues, MixtureRecord
from certmix.adaptive.mixture import AdaptiveMixture
from certmix.datasets import Dataset
from certmix.datasets.batches import batches
from certmix.errors import InvalidArgument
from certmix.models import fingerprint
from certmix.models.memory import inputs_at_once
from certmix.models.placement import device_of

Right = dict[str, NDArray[np.bool_]]


def right_under_attack(
    model: nn.Module,
    dataset: Dataset,
    budget: AttackBudget,
    *,
    settings: Sequence[str] = tuple(SETTINGS),
    seed: int = 0,
    batch_size: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Right:
    """Whether a classifier is right on each input: "clean", and under each attack setting; shape (inputs,) each.

    These are upper bounds on what it holds against: a stronger attack may lower them. D goes on from what C found,
    so that it is never weaker. For a classifier without a gate, B is A and D is C: each is run once.

    Args:
        model: an adaptive mixture, or any classifier, in eval mode.
        dataset: inputs in [0, 1] with labels.
        budget: of the attacks.
        settings: among "A", "B", "C", "D".
        seed: of random starts.
        batch_size: inputs attacked at once, >= 1; by default as `inputs_at_once` says.
        progress: called after every batch with (inputs done, inputs in all).
    """
    for setting in settings:
        check_setting(setting)
    size, device = inputs_at_once(dataset.input_shape, model, wanted=batch_size), device_of(model)
    same = {} if isinstance(model, HasParts) else {"B": "A", "D": "C"}
    found: dict[str, list[Tensor]] = {name: [] for name in ("clean", *settings)}
    for number, (inputs, labels) in enumerate(batches(dataset, size)):
        x, y = inputs.to(device), labels.to(device)
        with torch.no_grad():
            found["clean"].append(model(x).argmax(dim=1) == y)
        moved: dict[str, Tensor] = {}
        for setting in sorted(settings):
            if same.get(setting) in moved:
                found[setting].append(found[same[setting]][-1])
                continue
            generator = torch.Generator(x.device).manual_seed(seed + 1_000_003 * number)
            after = moved["C"] if setting == "D" and "C" in moved else None
            moved[setting] = attack_adaptive(model, x, y, setting, budget, generator=generator, after=after)
            with torch.no_grad():
                found[setting].append(model(moved[setting]).argmax(dim=1) == y)
        if progress:
            progress(min((number + 1) * size, len(dataset)), len(dataset))
    return {name: torch.cat(parts).cpu().numpy() for name, parts in found.items()}


def accuracies(right: Mapping[str, NDArray[np.bool_]]) -> dict[str, float]:
    """Shares of the inputs that are right, by name."""
    return {name: float(values.mean()) for name, values in right.items()}


def measure_gate(
    mixture: AdaptiveMixture, dataset: Dataset, *, spec: str = "", batch_size: int | None = None
) -> GateValues:
    """What certificates need of an adaptive mixture on clean inputs; see `certmix.adaptive.certification`."""
    accurate, _, numbers = base_values(mixture, dataset, batch_size)
    scale, shift = mixture.calibration.double().tolist()
    return GateValues(
        indices=dataset.indices,
        share=1.0 / (1.0 + np.exp(-(scale * numbers + shift))),
        accurate_probabilities=accurate,
        floor=mixture.floor,
        ceiling=mixture.ceiling,
        robust_scale=float(mixture.logit_scales[1]),
        mixture=MixtureRecord(
            spec=spec,
            sha256=fingerprint(mixture),
            accurate=fingerprint(mixture.accurate),
            robust=fingerprint(mixture.robust),
        ),
    )


@dataclass(frozen=True)
class TradeOff:
    """Clean and attacked accuracy on the reported inputs, at one target of clean accuracy on the validation inputs.

    Attributes:
        target: on the validation inputs.
        adaptive, fixed: whether each is right, by attack.
        mixing_weight: of the fixed mixture.
    """

    target: float
    adaptive: Right
    fixed: Right
    mixing_weight: float


def trade_off(
    mixture: AdaptiveMixture,
    validation: Dataset,
    dataset: Dataset,
    budget: AttackBudget,
    *,
    targets: Sequence[float],
    scales: Sequence[float] = (2.0,),
    settings: Sequence[str] = ("B",),
    seed: int = 0,
    batch_size: int | None = None,
) -> list[TradeOff]:
    """The adaptive mixture against the fixed-weight one at equal clean accuracy, at several targets.

    Both are tuned on the validation inputs only; targets that no weight reaches are left out. The mixture's calibration
    is changed by this.

    Args:
        mixture: trained; its logit scales count for the adaptive mixture only.
        validation: where both are tuned.
        dataset: where both are attacked and reported.
        budget, settings, seed, batch_size: of the attacks.
        targets: clean accuracies on the validation inputs.
        scales: as `calibrate_mixture`.
    """
    points = []
    for target in targets:
        try:
            calibrate_mixture(
                mixture, validation, target=target, scales=scales, budget=budget, seed=seed, batch_size=batch_size
            )
            fixed = fixed_mixture(
                accurate=mixture.accurate, robust=mixture.robust, validation=validation, target=target
            )
        except InvalidArgument:
            continue
        rights = [
            right_under_attack(model, dataset, budget, settings=settings, seed=seed, batch_size=batch_size)
            for model in (mixture, fixed)
        ]
        points.append(TradeOff(target, rights[0], rights[1], fixed.mixing_weight))
    if not points:
        raise InvalidArgument(
            f"targets must be clean accuracies that some weight reaches, got {', '.join(f'{t:g}' for t in targets)}."
        )
    return points
