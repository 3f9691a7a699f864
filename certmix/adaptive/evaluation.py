"""What an adaptive mixture is worth: accuracy under attacks A to D, at equal clean accuracy, beside fixed weights."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from certmix.adaptive.attacks import SETTINGS, AttackBudget, attack_adaptive
from certmix.adaptive.calibration import Calibration, calibrated_shift, check_target
from certmix.adaptive.certification import AdaptiveWeights
from certmix.adaptive.mixture import AdaptiveMixture
from certmix.adaptive.smoothed import SmoothedMixture
from certmix.attacks.apgd import apgd
from certmix.attacks.losses import cross_entropy, margin
from certmix.attacks.pgd import pgd
from certmix.clean_accuracy import clean_accuracy
from certmix.datasets import Dataset
from certmix.datasets.batches import stack
from certmix.errors import InvalidArgument
from certmix.models import MixedClassifier, fingerprint

Right = dict[str, NDArray[np.bool_]]


def right_under_attack(
    model: nn.Module,
    dataset: Dataset,
    budget: AttackBudget,
    *,
    settings: Sequence[str] = tuple(SETTINGS),
    seed: int = 0,
    batch_size: int = 500,
) -> Right:
    """Whether a classifier is right on each input: "clean", and under each attack setting; shape (inputs,) each.

    These are upper bounds on what it holds against: a stronger attack may lower them. D goes on from what C found,
    so that it is never weaker.

    Args:
        model: an adaptive mixture, or any classifier, in eval mode.
        dataset: inputs in [0, 1] with labels.
        budget: of the attacks.
        settings: among "A", "B", "C", "D".
        seed: of random starts.
        batch_size: inputs attacked together.
    """
    inputs, labels = batch_of(dataset, _device(model))
    found: dict[str, list[Tensor]] = {name: [] for name in ("clean", *settings)}
    for number, (x, y) in enumerate(zip(torch.split(inputs, batch_size), torch.split(labels, batch_size), strict=True)):
        with torch.no_grad():
            found["clean"].append(model(x).argmax(dim=1) == y)
        moved: dict[str, Tensor] = {}
        for setting in sorted(settings):
            generator = torch.Generator(x.device).manual_seed(seed + 1_000_003 * number)
            after = moved["C"] if setting == "D" and "C" in moved else None
            moved[setting] = attack_adaptive(model, x, y, setting, budget, generator=generator, after=after)
            with torch.no_grad():
                found[setting].append(model(moved[setting]).argmax(dim=1) == y)
    return {name: torch.cat(parts).cpu().numpy() for name, parts in found.items()}


def accuracies(right: Mapping[str, NDArray[np.bool_]]) -> dict[str, float]:
    """Shares of the inputs that are right, by name."""
    return {name: float(values.mean()) for name, values in right.items()}


def calibrate_mixture(
    mixture: AdaptiveMixture,
    validation: Dataset,
    *,
    target: float,
    scales: Sequence[float] = (2.0,),
    budget: AttackBudget | None = None,
    sigma: float | None = None,
    draws: int = 500,
    seed: int = 0,
) -> Calibration:
    """Set the shift (and scale) so that clean accuracy on the validation inputs is at least the target, exactly.

    Of several scales the one with the best white-box PGD (B) accuracy on the validation inputs is taken (Table 7).

    Args:
        mixture: changed in place; its weight range is kept.
        validation: inputs that nothing was trained on, and that are not reported.
        target: clean accuracy, in [0, 1].
        scales: of the sigmoid's argument, > 0.
        budget: of the attack that decides between scales; needed where there are several.
        sigma: calibrate the mixture of g and h smoothed with this noise, as certified, by h's vote shares; None takes h as
            it is.
        draws: votes per input, with sigma.
        seed: of the attack and the noise.
    Raises: InvalidArgument: no shift reaches the target, or a value out of range.
    """
    check_target(target)
    if len(scales) > 1 and budget is None:
        raise InvalidArgument(f"several scales need an attack budget to choose by, got {len(scales)} scales and none.")
    tried: list[tuple[float, float, Calibration]] = []
    accurate, robust, numbers = base_values(mixture, validation)
    attacked_model: nn.Module = mixture
    if sigma is not None:
        votes = SmoothedMixture(mixture, sigma=sigma, draws=draws, hard=True, seed=seed)
        with torch.no_grad():
            inputs, _ = batch_of(validation, mixture.calibration.device)
            robust = votes.smoothed(inputs).double().cpu().numpy()
        attacked_model = SmoothedMixture(mixture, sigma=sigma, draws=16, hard=False, seed=seed)
    for scale in scales:
        mixture.calibrate(scale=scale, shift=0.0)
        found = calibrated_shift(
            accurate,
            robust,
            numbers,
            validation.labels,
            target=target,
            scale=scale,
            weight_range=(mixture.floor, mixture.ceiling),
        )
        mixture.calibrate(scale=scale, shift=found.shift)
        attacked = 0.0
        if len(scales) > 1 and budget is not None:
            attacked = float(
                right_under_attack(attacked_model, validation, budget, settings="B", seed=seed)["B"].mean()
            )
        tried.append((attacked, scale, found))
    attacked, scale, found = max(tried, key=lambda entry: entry[0])
    mixture.calibrate(scale=scale, shift=found.shift)
    return found


@torch.no_grad()
def base_values(
    mixture: AdaptiveMixture, dataset: Dataset, batch_size: int = 500
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """`AdaptiveMixture.base_outputs` of a data set: (inputs, classes) twice and (inputs,)."""
    inputs, _ = batch_of(dataset, mixture.calibration.device)
    parts = [mixture.base_outputs(x) for x in torch.split(inputs, batch_size)]
    accurate, robust, numbers = (torch.cat(part).double().cpu().numpy() for part in zip(*parts, strict=True))
    return accurate, robust, numbers


def fixed_mixture(accurate: nn.Module, robust: nn.Module, validation: Dataset, *, target: float) -> MixedClassifier:
    """The mixture of the largest fixed weight that keeps a clean accuracy on the validation inputs.

    Its predictions there are the same on a whole interval of weights; the middle is taken, so that float32 keeps them.
    """
    inputs, _ = batch_of(validation, _device(robust))
    with torch.no_grad():
        values = [model(inputs).softmax(dim=1).double().cpu().numpy() for model in (accurate, robust)]
    clean = clean_accuracy(values[0], values[1], validation.labels)
    weight = clean.best(target)
    before = clean.breakpoints[clean.breakpoints < weight]
    middle = (weight + before.max()) / 2 if len(before) else weight
    return MixedClassifier(accurate, robust, middle if clean(middle) >= target else weight).eval()


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
) -> list[TradeOff]:
    """The adaptive mixture against the fixed-weight one at equal clean accuracy, at several targets.

    Both are tuned on the validation inputs only; targets that no weight reaches are left out. The mixture's calibration
    is changed by this.

    Args:
        mixture: trained; its logit scales count for the adaptive mixture only.
        validation: where both are tuned.
        dataset: where both are attacked and reported.
        budget, settings, seed: of the attacks.
        targets: clean accuracies on the validation inputs.
        scales: as `calibrate_mixture`.
    """
    points = []
    for target in targets:
        try:
            calibrate_mixture(mixture, validation, target=target, scales=scales, budget=budget, seed=seed)
            fixed = fixed_mixture(mixture.accurate, mixture.robust, validation, target=target)
        except InvalidArgument:
            continue
        rights = [
            right_under_attack(model, dataset, budget, settings=settings, seed=seed) for model in (mixture, fixed)
        ]
        points.append(TradeOff(target, rights[0], rights[1], fixed.mixing_weight))
    if not points:
        raise InvalidArgument(
            f"targets must be clean accuracies that some weight reaches, got {', '.join(f'{t:g}' for t in targets)}."
        )
    return points


class Oracle(nn.Module):
    """Theorem 4.1: a(x) = 0 where g is right and 1 otherwise, which needs the labels.

    `right` says where this mixture is right: wherever either model is. It bounds every a(x) in {0, 1} from above; a weight
    in between can, rarely, be right where both models are wrong.

    Args:
        accurate, robust: g and h.
    """

    def __init__(self, accurate: nn.Module, robust: nn.Module) -> None:
        super().__init__()
        self.accurate, self.robust = accurate, robust
        self.eval()

    def mixing_weight(self, inputs: Tensor, labels: Tensor) -> Tensor:
        """a(x), shape (batch,), in {0, 1}."""
        with torch.no_grad():
            wrong = torch.as_tensor(self.accurate(inputs).argmax(dim=1) != labels)
            return wrong.to(inputs.dtype)

    def right(self, inputs: Tensor, labels: Tensor) -> Tensor:
        """Whether the mixture at that weight is right, shape (batch,), bool."""
        with torch.no_grad():
            weight = self.mixing_weight(inputs, labels)[:, None]
            mixed = (1 - weight) * self.accurate(inputs).softmax(1) + weight * self.robust(inputs).softmax(1)
            return torch.as_tensor(mixed.argmax(dim=1) == labels)

    def right_under_attack(
        self, dataset: Dataset, budget: AttackBudget, *, strong: bool = False, seed: int = 0, batch_size: int = 500
    ) -> Right:
        """Where it is right, "clean" and "attacked": by PGD as in B on the smaller of both models' cross-entropies.

        A `strong` attack is one APGD run on the smaller of both margins instead, to stand beside C.
        """
        inputs, labels = batch_of(dataset, _device(self.robust))
        found: dict[str, list[Tensor]] = {"clean": [], "attacked": []}
        pairs = zip(torch.split(inputs, batch_size), torch.split(labels, batch_size), strict=True)
        for number, (x, y) in enumerate(pairs):
            generator = torch.Generator(x.device).manual_seed(seed + 1_000_003 * number)
            moved = self._attack(x, y, budget, generator, strong=strong)
            found["clean"].append(self.right(x, y))
            found["attacked"].append(self.right(moved, y))
        return {name: torch.cat(parts).cpu().numpy() for name, parts in found.items()}

    def _attack(
        self, x: Tensor, y: Tensor, budget: AttackBudget, generator: torch.Generator, *, strong: bool
    ) -> Tensor:
        rate = margin if strong else cross_entropy

        def both_wrong(points: Tensor) -> Tensor:
            outputs = (model(points).log_softmax(dim=1) for model in (self.accurate, self.robust))
            return torch.stack([rate(output, y) for output in outputs]).amin(dim=0)

        ball = {"norm": budget.norm, "attack_radius": budget.attack_radius}
        if strong:
            return apgd(both_wrong, x, steps=budget.strong_steps, generator=generator, **ball).inputs  # type: ignore[arg-type]
        return pgd(both_wrong, x, steps=budget.steps, random_start=False, **ball).inputs  # type: ignore[arg-type]


def adaptive_weights(mixture: AdaptiveMixture, dataset: Dataset, *, spec: str = "") -> AdaptiveWeights:
    """What certificates need of an adaptive mixture on clean inputs; see `certmix.adaptive.certification`."""
    accurate, _, numbers = base_values(mixture, dataset)
    scale, shift = mixture.calibration.double().tolist()
    return AdaptiveWeights(
        indices=dataset.indices,
        share=1.0 / (1.0 + np.exp(-(scale * numbers + shift))),
        accurate_probabilities=accurate,
        floor=mixture.floor,
        ceiling=mixture.ceiling,
        mixture={
            "spec": spec,
            "sha256": fingerprint(mixture),
            "accurate": fingerprint(mixture.accurate),
            "robust": fingerprint(mixture.robust),
        },
    )


def batch_of(dataset: Dataset, device: torch.device) -> tuple[Tensor, Tensor]:
    """All inputs and labels of a data set as tensors."""
    inputs, labels = stack(dataset)
    return inputs.to(device), labels.to(device)


def _device(model: nn.Module) -> torch.device:
    return next((parameter.device for parameter in model.parameters()), torch.device("cpu"))
