"""Auto-PGD: projected ascent with momentum whose step sizes halve where progress stalls; no step size to choose."""

from collections.abc import Callable

import torch
from torch import Tensor

from certmix.attacks.norms import get_norm
from certmix.attacks.pgd import (
    Objective,
    PGDResult,
    _better,
    _check,
    _evaluate,
    _feasible,
    _spread,
    per_input,
    value_and_gradient,
)
from certmix.errors import InvalidArgument, need_at_least

MOMENTUM, PROGRESS = 0.75, 0.75  # alpha and rho of the source


def apgd(
    objective: Objective,
    inputs: Tensor,
    *,
    norm: str,
    attack_radius: float | Tensor,
    steps: int = 100,
    restarts: int = 1,
    random_start: bool = True,
    clip: tuple[float, float] | None = (0.0, 1.0),
    generator: torch.Generator | None = None,
    succeeded: Callable[[Tensor], Tensor] | None = None,
) -> PGDResult:
    """Maximise an objective within a ball around each input; keep each input's best point. Arguments as `pgd`.

    Source: Croce and Hein 2020, arXiv:2003.01690, Algorithm 1: the first step is 2 radii long; at checkpoints that come
    ever closer, an input's step halves where fewer than 3/4 of its steps rose, or where neither step nor best value
    changed; it then starts again from its best point. As `pgd`, it projects, clips and evaluates again what it returns.

    Raises: InvalidArgument: l1, for which the source has another algorithm; else as `pgd`.
    """
    if norm == "l1":
        raise InvalidArgument("norm of apgd must be l2 or linf, got 'l1'; use pgd.")
    ball, radius = get_norm(norm), per_input("attack_radius", attack_radius, inputs)
    need_at_least(1, steps=steps)
    _check(inputs, radius, steps, restarts, random_start, clip)
    best = _evaluate(objective, succeeded, _feasible(ball, inputs, inputs, radius, clip))
    for _ in range(restarts):
        if best.succeeded is not None and bool(best.succeeded.all()):
            break
        start = inputs + ball.uniform(inputs, radius, generator) if random_start else inputs
        start = _feasible(ball, start, inputs, radius, clip)

        def feasible(point: Tensor) -> Tensor:
            return _feasible(ball, point, inputs, radius, clip)

        best = _climb(objective, succeeded, best, start, feasible, ball.steepest, 2.0 * radius, steps)
    return _evaluate(objective, succeeded, _feasible(ball, best.inputs, inputs, radius, clip))


def _climb(
    objective: Objective,
    succeeded: Callable[[Tensor], Tensor] | None,
    best: PGDResult,
    point: Tensor,
    feasible: Callable[[Tensor], Tensor],
    steepest: Callable[[Tensor], Tensor],
    length: Tensor,
    steps: int,
) -> PGDResult:
    """One run from a start: the best of its points and of `best`."""
    value, gradient = value_and_gradient(objective, point)
    own_value, own_point, own_gradient = value, point, gradient
    best = _better(best, PGDResult(point, value, succeeded(point) if succeeded else None))
    before, period = point, max(int(0.22 * steps), 1)
    rises, checked = torch.zeros_like(value), 0
    last_length, last_best = length, own_value
    for step in range(1, steps + 1):
        if best.succeeded is not None and bool(best.succeeded.all()):
            break
        moved = feasible(point + _spread(length, point) * steepest(gradient))
        if step > 1:
            moved = feasible(point + MOMENTUM * (moved - point) + (1.0 - MOMENTUM) * (point - before))
        before, point, previous = point, moved, value
        value, gradient = value_and_gradient(objective, point)
        best = _better(best, PGDResult(point, value, succeeded(point) if succeeded else None))
        rises = rises + (value > previous)
        higher = value > own_value
        own_value = torch.where(higher, value, own_value)
        own_point = torch.where(_spread(higher, point), point, own_point)
        own_gradient = torch.where(_spread(higher, point), gradient, own_gradient)
        if step - checked < period:
            continue
        stalled = (rises < PROGRESS * period) | ((last_length == length) & (last_best >= own_value))
        last_length, last_best, rises, checked = length, own_value, torch.zeros_like(rises), step
        length = torch.where(stalled, length / 2, length)
        point = torch.where(_spread(stalled, point), own_point, point)
        before = torch.where(_spread(stalled, point), own_point, before)
        value = torch.where(stalled, own_value, value)
        gradient = torch.where(_spread(stalled, point), own_gradient, gradient)
        period = max(period - max(int(0.03 * steps), 1), max(int(0.06 * steps), 1))
    return best


def targeted_logit_ratio(logits: Tensor, labels: Tensor, targets: Tensor) -> Tensor:
    """The target's logit over the label's, in units of the spread of the four largest, shape (batch,).

    (z_t - z_y) / (z_1 - (z_3 + z_4) / 2): it does not change when logits are shifted or scaled. Source: Croce and Hein
    2020, arXiv:2003.01690, Eq. 7.
    Raises: InvalidArgument: fewer than four classes.
    """
    if logits.shape[1] < 4:
        raise InvalidArgument(
            f"targeted_logit_ratio needs 4 classes or more, got {logits.shape[1]}; use the margin loss."
        )
    ordered = logits.topk(4, dim=1).values
    gap = logits.gather(1, targets[:, None])[:, 0] - logits.gather(1, labels[:, None])[:, 0]
    return gap / (ordered[:, 0] - 0.5 * (ordered[:, 2] + ordered[:, 3]) + 1e-12)
