"""The attacks of Section 4.2 on an adaptive mixture: A gray-box PGD, B white-box PGD, C APGD, D with a component on a(x)."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from certmix.attacks import cross_entropy, logit_difference_ratio, margin, pgd
from certmix.attacks.apgd import apgd, targeted_logit_ratio
from certmix.errors import InvalidArgument
from certmix.models import AdaptiveMixture

SETTINGS = {
    "A": "gray-box PGD: no gradient through a(x)",
    "B": "white-box PGD",
    "C": "white-box APGD: cross-entropy and targeted DLR",
    "D": "C, and APGD components that lower a(x)",
}
Objective = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class AttackBudget:
    """How strong an attack is.

    Attributes:
        norm: "l2" or "linf".
        attack_radius: of the ball, >= 0, pixel units.
        steps: of A and B.
        strong_steps: of each component of C and D.
        targets: runner-up classes that C and D attack towards, each.
    """

    norm: str
    attack_radius: float
    steps: int = 20
    strong_steps: int = 50
    targets: int = 3


def check_setting(setting: str) -> None:
    """Raise InvalidArgument unless the setting is A, B, C or D."""
    if setting not in SETTINGS:
        raise InvalidArgument(f"attack setting must be one of {', '.join(SETTINGS)}, got {setting!r}.")


def attack_mixture(
    model: torch.nn.Module,
    inputs: Tensor,
    labels: Tensor,
    setting: str,
    budget: AttackBudget,
    *,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Attacked inputs, shape of the inputs: one that is misclassified wherever the attack found one.

    A and B are one PGD run on the cross-entropy from the input itself ("a fixed initialization", Section 4.2). C runs
    APGD on the cross-entropy and on the targeted DLR loss of the largest other classes; D adds two APGD runs whose
    objective also lowers a(x). Inputs that are misclassified already are returned as they are.
    Differs: C is AutoAttack without FAB and Square, which need the `attacks` extra (see `certmix.mixing_evaluation`).

    Args:
        model: an adaptive mixture, or any classifier (A and B are then the same, and so are C and D).
        inputs: in [0, 1], shape (batch, ...).
        labels: true classes, shape (batch,).
        setting: "A", "B", "C" or "D".
        budget: norm, radius and steps.
        generator: of the random starts of C and D.
    """
    check_setting(setting)
    adaptive = model if isinstance(model, AdaptiveMixture) else None
    attacked = inputs.clone()
    with torch.no_grad():
        open_ = (model(inputs).argmax(dim=1) == labels).nonzero()[:, 0]
    for component in _components(setting, budget, adaptive is not None):
        if not len(open_):
            break
        x, y = inputs[open_], labels[open_]
        found, won = component(model, x, y, budget, generator)
        attacked[open_[won]] = found[won]
        open_ = open_[~won]
    return attacked


Component = Callable[[torch.nn.Module, Tensor, Tensor, AttackBudget, torch.Generator | None], tuple[Tensor, Tensor]]


def _components(setting: str, budget: AttackBudget, adaptive: bool) -> list[Component]:
    if setting in "AB":
        return [_pgd_component(gradient=setting == "B" or not adaptive)]
    strong: list[Component] = [_apgd_component(_cross_entropy)]
    strong += [_apgd_component(_towards(rank)) for rank in range(1, budget.targets + 1)]
    if setting == "D" and adaptive:
        strong += [_apgd_component(_lowering(weight)) for weight in (1.0, 10.0)] + [_two_stage]
    return strong


def _pgd_component(*, gradient: bool) -> Component:
    def run(
        model: torch.nn.Module, x: Tensor, y: Tensor, budget: AttackBudget, generator: torch.Generator | None
    ) -> tuple[Tensor, Tensor]:
        def objective(points: Tensor) -> Tensor:
            outputs = model(points) if gradient else model(points, weight_gradient=False)
            return cross_entropy(outputs, y)

        wrong = _wrong(model, y)
        result = pgd(
            objective,
            x,
            norm=budget.norm,
            attack_radius=budget.attack_radius,
            steps=budget.steps,
            random_start=False,
            succeeded=wrong,
        )
        assert result.succeeded is not None
        return result.inputs, result.succeeded

    return run


Prepared = Callable[[torch.nn.Module, Tensor, Tensor], Objective]


def _apgd_component(prepare: Prepared) -> Component:
    def run(
        model: torch.nn.Module, x: Tensor, y: Tensor, budget: AttackBudget, generator: torch.Generator | None
    ) -> tuple[Tensor, Tensor]:
        result = apgd(
            prepare(model, x, y),
            x,
            norm=budget.norm,
            attack_radius=budget.attack_radius,
            steps=budget.strong_steps,
            generator=generator,
            succeeded=_wrong(model, y),
        )
        assert result.succeeded is not None
        return result.inputs, result.succeeded

    return run


def _wrong(model: torch.nn.Module, y: Tensor) -> Callable[[Tensor], Tensor]:
    def wrong(points: Tensor) -> Tensor:
        with torch.no_grad():
            return torch.as_tensor(model(points).argmax(dim=1) != y)

    return wrong


def _cross_entropy(model: torch.nn.Module, x: Tensor, y: Tensor) -> Objective:
    return lambda points: cross_entropy(model(points), y)


def _towards(rank: int) -> Prepared:
    """The targeted DLR loss of the class with the rank-th largest output among the others at the clean input."""

    def prepare(model: torch.nn.Module, x: Tensor, y: Tensor) -> Objective:
        with torch.no_grad():
            outputs = model(x)
        classes = outputs.shape[1]
        others = torch.where(functional.one_hot(y, classes).bool(), float("-inf"), outputs)
        target = others.argsort(dim=1, descending=True)[:, min(rank, classes - 1) - 1]
        if classes >= 4:
            return lambda points: targeted_logit_ratio(model(points), y, target)
        return lambda points: (logit_difference_ratio if classes == 3 else margin)(model(points), y)

    return prepare


def _lowering(weight: float) -> Prepared:
    """Cross-entropy plus `weight` times log(1 - s), s the sigmoid behind a(x): misclassified, and with a low weight."""

    def prepare(model: torch.nn.Module, x: Tensor, y: Tensor) -> Objective:
        def objective(points: Tensor) -> Tensor:
            assert isinstance(model, AdaptiveMixture)
            outputs, argument = model.parts(points)
            return cross_entropy(outputs, y) + weight * functional.logsigmoid(-argument)

        return objective

    return prepare


def _two_stage(
    model: torch.nn.Module, x: Tensor, y: Tensor, budget: AttackBudget, generator: torch.Generator | None
) -> tuple[Tensor, Tensor]:
    """Fool g first while a(x) falls, whatever h says: the mixture follows once the weight is low enough."""
    assert isinstance(model, AdaptiveMixture)

    def objective(points: Tensor) -> Tensor:
        _, argument = model.parts(points)
        return margin(model.accurate(points).log_softmax(dim=1), y).clamp(max=1.0) + functional.logsigmoid(-argument)

    result = apgd(
        objective,
        x,
        norm=budget.norm,
        attack_radius=budget.attack_radius,
        steps=budget.strong_steps,
        generator=generator,
        succeeded=_wrong(model, y),
    )
    assert result.succeeded is not None
    return result.inputs, result.succeeded
