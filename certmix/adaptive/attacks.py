"""The attacks of Section 4.2 on an adaptive mixture: A gray-box PGD, B white-box PGD, C APGD, D with a component on a(x)."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Protocol, runtime_checkable

import torch
from torch import Tensor
from torch.nn import functional

from certmix.adaptive.search import Aim, Search
from certmix.attacks.apgd import apgd, targeted_logit_ratio
from certmix.attacks.auto import auto_attack
from certmix.attacks.losses import cross_entropy, margin
from certmix.attacks.norms import get_norm
from certmix.attacks.pgd import PGDResult, per_input, pgd
from certmix.errors import InvalidArgument, need_at_least

SETTINGS = {
    "A": "gray-box PGD: no gradient through a(x)",
    "B": "white-box PGD",
    "C": "white-box AutoAttack: APGD on cross-entropy and targeted DLR, and FAB and Square where asked for",
    "D": "C, and APGD components that lower a(x)",
}


@dataclass(frozen=True)
class AttackBudget:
    """How strong an attack is.

    Attributes:
        norm: "l2" or "linf".
        attack_radius: of the ball, >= 0, pixel units, one or shape (inputs,).
        steps: of A and B.
        strong_steps: of each APGD run of C and D.
        restarts: of each APGD run.
        targets: runner-up classes that C and D attack towards, each.
        whole: C and D include FAB and Square, by the package of AutoAttack's authors (the `attacks` extra).
    """

    norm: str
    attack_radius: float | Tensor
    steps: int = 20
    strong_steps: int = 50
    restarts: int = 1
    targets: int = 3
    whole: bool = False

    def __post_init__(self) -> None:
        get_norm(self.norm)
        need_at_least(1, steps=self.steps, strong_steps=self.strong_steps, restarts=self.restarts, targets=self.targets)


def check_setting(setting: str) -> None:
    """Raise InvalidArgument unless the setting is A, B, C or D."""
    if setting not in SETTINGS:
        raise InvalidArgument(f"attack setting must be one of {', '.join(SETTINGS)}, got {setting!r}.")


def attack_adaptive(
    model: torch.nn.Module,
    inputs: Tensor,
    labels: Tensor,
    setting: str,
    budget: AttackBudget,
    *,
    generator: torch.Generator | None = None,
    after: Tensor | None = None,
) -> Tensor:
    """Attacked inputs, shape of the inputs: one that is misclassified wherever the attack found one.

    A and B are one PGD run on the cross-entropy from the input itself ("a fixed initialization", Section 4.2). C runs
    APGD on the cross-entropy and on the targeted DLR loss of the largest other classes; D adds two APGD runs whose
    objective also lowers a(x). Inputs that are misclassified already are returned as they are.
    Differs: unless the budget says `whole`, C is AutoAttack without FAB and Square, which add little to the two APGD parts
    (Section D.2) and need the `attacks` extra.

    Args:
        model: an adaptive mixture (anything with its `parts`), or any classifier: A and B are then the same, and C and D.
        inputs: in [0, 1], shape (batch, ...).
        labels: true classes, shape (batch,).
        setting: "A", "B", "C" or "D".
        budget: norm, radius and steps.
        generator: of the random starts of C and D.
        after: for D, what C has found with the same budget: D then goes on from there.
    """
    check_setting(setting)
    attacked = inputs.clone() if after is None else after.clone()
    radius = per_input("attack_radius", budget.attack_radius, inputs)
    with torch.no_grad():
        held = (model(attacked).argmax(dim=1) == labels).nonzero()[:, 0]
    components = _components(setting, budget, isinstance(model, HasParts))
    for component in components if after is None else components[len(_components("C", budget, False)) :]:
        if not len(held):
            break
        x, y = inputs[held], labels[held]
        result = component(model, x, y, replace(budget, attack_radius=radius[held]), generator)
        assert result.succeeded is not None
        attacked[held[result.succeeded]] = result.inputs[result.succeeded]
        held = held[~result.succeeded]
    return attacked


@runtime_checkable
class HasParts(Protocol):
    """An adaptive mixture, or a smoothed one."""

    accurate: torch.nn.Module

    def parts(self, inputs: Tensor, *, gate_gradient: bool = True) -> tuple[Tensor, Tensor]:
        """Log-probabilities, and the sigmoid's argument behind a(x)."""
        ...


Component = Callable[[torch.nn.Module, Tensor, Tensor, AttackBudget, torch.Generator | None], PGDResult]
Prepare = Callable[[torch.nn.Module, Tensor, Tensor], Aim]


def _components(setting: str, budget: AttackBudget, adaptive: bool) -> list[Component]:
    if setting in "AB":
        return [_plain(_cross_entropy if setting == "B" or not adaptive else _gray_cross_entropy)]
    strong = [_strong(_cross_entropy)]
    strong += [_strong(_towards(rank)) for rank in range(1, budget.targets + 1)]
    if budget.whole:
        strong.append(_fab_and_square)
    if setting == "D" and adaptive:
        strong += [_strong(_lowering(1.0)), _strong(_lowering(10.0)), _strong(_accurate_first)]
    return strong


def _plain(prepare: Prepare) -> Component:
    """One PGD run from the input itself."""

    def run(
        model: torch.nn.Module, x: Tensor, y: Tensor, budget: AttackBudget, generator: torch.Generator | None
    ) -> PGDResult:
        search = Search(prepare(model, x, y), y)
        return pgd(
            search.objective,
            x,
            norm=budget.norm,
            attack_radius=budget.attack_radius,
            steps=budget.steps,
            random_start=False,
            succeeded=search.succeeded,
        )

    return run


def _strong(prepare: Prepare) -> Component:
    """APGD from random starts."""

    def run(
        model: torch.nn.Module, x: Tensor, y: Tensor, budget: AttackBudget, generator: torch.Generator | None
    ) -> PGDResult:
        search = Search(prepare(model, x, y), y)
        return apgd(
            search.objective,
            x,
            norm=budget.norm,
            attack_radius=budget.attack_radius,
            steps=budget.strong_steps,
            restarts=budget.restarts,
            generator=generator,
            succeeded=search.succeeded,
        )

    return run


def _fab_and_square(
    model: torch.nn.Module, x: Tensor, y: Tensor, budget: AttackBudget, generator: torch.Generator | None
) -> PGDResult:
    radius = torch.as_tensor(budget.attack_radius)
    if bool((radius != radius.flatten()[0]).any()):
        raise InvalidArgument("FAB and Square need one attack_radius for all inputs, got several; leave out whole.")
    found, _ = auto_attack(
        model, x, y, norm=budget.norm, attack_radius=float(radius.flatten()[0]), attacks=["fab-t", "square"]
    )
    return PGDResult(found.inputs, torch.zeros(len(x)), found.fooled)


def _cross_entropy(model: torch.nn.Module, x: Tensor, y: Tensor) -> Aim:
    def aim(points: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        outputs = model(points)
        return outputs, cross_entropy(outputs, y[rows])

    return aim


def _gray_cross_entropy(model: torch.nn.Module, x: Tensor, y: Tensor) -> Aim:
    def aim(points: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        outputs, _ = _parts(model, points, gate_gradient=False)
        return outputs, cross_entropy(outputs, y[rows])

    return aim


def _towards(rank: int) -> Prepare:
    """The targeted DLR loss of the class with the rank-th largest output among the others at the clean input."""

    def prepare(model: torch.nn.Module, x: Tensor, y: Tensor) -> Aim:
        with torch.no_grad():
            outputs = model(x)
        classes = outputs.shape[1]
        others = outputs.scatter(1, y[:, None], float("-inf"))
        target = others.argsort(dim=1, descending=True)[:, min(rank, classes - 1) - 1]

        def aim(points: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
            outputs = model(points)
            if classes >= 4:
                return outputs, targeted_logit_ratio(outputs, y[rows], target[rows])
            return outputs, margin(outputs, y[rows])

        return aim

    return prepare


def _lowering(weight: float) -> Prepare:
    """Cross-entropy plus `weight` times log(1 - s), s the sigmoid behind a(x): wrong, with a low gate."""

    def prepare(model: torch.nn.Module, x: Tensor, y: Tensor) -> Aim:
        def aim(points: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
            outputs, argument = _parts(model, points)
            return outputs, cross_entropy(outputs, y[rows]) + weight * functional.logsigmoid(-argument)

        return aim

    return prepare


def _accurate_first(model: torch.nn.Module, x: Tensor, y: Tensor) -> Aim:
    """g wrong by a clear margin and a(x) low, whatever h says: the mixture follows g where the gate is low enough."""

    def aim(points: Tensor, rows: Tensor) -> tuple[Tensor, Tensor]:
        assert isinstance(model, HasParts)
        outputs, argument = model.parts(points)
        wrong = margin(model.accurate(points).log_softmax(dim=1), y[rows]).clamp(max=1.0)
        return outputs, wrong + functional.logsigmoid(-argument)

    return aim


def _parts(model: torch.nn.Module, points: Tensor, *, gate_gradient: bool = True) -> tuple[Tensor, Tensor]:
    assert isinstance(model, HasParts)
    return model.parts(points, gate_gradient=gate_gradient)
