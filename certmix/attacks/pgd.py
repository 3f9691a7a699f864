"""Projected gradient ascent on any objective, in l1, l2 and l_inf balls; the loop that every attack here uses."""

import math
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from certmix.attacks.norms import Norm, get_norm
from certmix.errors import InvalidArgument, need_at_least

Objective = Callable[[Tensor], Tensor]
SCHEDULES: dict[str, Callable[[float], float]] = {
    "constant": lambda done: 1.0,
    "linear": lambda done: 1.0 - done,
    "cosine": lambda done: 0.5 * (1.0 + math.cos(math.pi * done)),
}


@dataclass(frozen=True)
class PGDResult:
    """The best point found per input.

    Attributes:
        inputs: the perturbed inputs, the shape of the inputs, inside ball and box (up to float rounding).
        objective: objective there, recomputed on exactly these inputs, shape (batch,).
        succeeded: success there, recomputed likewise, shape (batch,), bool; None without a success function.
    """

    inputs: Tensor
    objective: Tensor
    succeeded: Tensor | None


def pgd(
    objective: Objective,
    inputs: Tensor,
    *,
    norm: str,
    attack_radius: float | Tensor,
    steps: int = 20,
    step_size: float | Tensor | None = None,
    schedule: str = "linear",
    restarts: int = 1,
    random_start: bool = True,
    clip: tuple[float, float] | None = (0.0, 1.0),
    generator: torch.Generator | None = None,
    succeeded: Callable[[Tensor], Tensor] | None = None,
) -> PGDResult:
    """Maximise an objective within a ball around each input by projected steepest ascent; keep each input's best point.

    Source: Madry et al. 2018, arXiv:1706.06083. The best iterate counts, not the last one; where a success function is
    given, a successful point beats any other, such inputs rest, and the search ends once all have succeeded. What is
    returned was projected, clipped and evaluated again: no attack is taken at its word.
    Differs: coordinates at the box's edge that would leave it take no part in the step.

    Args:
        objective: inputs -> (batch,), differentiable; row i depends on input i only.
        inputs: where the balls are, shape (batch, ...), floating point, inside `clip`.
        norm: "l1", "l2" or "linf".
        attack_radius: of the balls, >= 0, pixel units, one or shape (batch,).
        steps: ascent steps per restart, >= 1.
        step_size: length of the first step in that norm, pixel units, one or (batch,); by default such that all steps
            together are 5 radii long (10 in l1).
        schedule: "linear" (steps shrink to 0), "cosine" or "constant".
        restarts: starts per input, >= 1.
        random_start: start uniformly in the ball, or (one restart only) at the input.
        clip: the box that inputs must stay in; None for no box.
        generator: of the starts.
        succeeded: inputs -> (batch,) bool.
    Returns: PGDResult.
    Raises: InvalidArgument: a value out of range, or an objective that is NaN, of another shape or not differentiable.
    Example:
        >>> result = pgd(lambda x: x.sum(dim=1), torch.zeros(1, 4), norm="l2", attack_radius=1.0, clip=None)
        >>> round(float(result.objective), 2)
        2.0
    """
    ball, radius = get_norm(norm), per_input("attack_radius", attack_radius, inputs)
    first = _first_step(step_size, schedule, ball.path * radius, steps, inputs)
    _check(inputs, radius, steps, restarts, random_start, clip)
    best = _evaluate(objective, succeeded, _feasible(ball, inputs, inputs, radius, clip))
    for _ in range(restarts):
        if best.succeeded is not None and bool(best.succeeded.all()):
            break
        point = inputs + ball.uniform(inputs, radius, generator) if random_start else inputs
        point = _feasible(ball, point, inputs, radius, clip)
        for step in range(steps):
            value, gradient = value_and_gradient(objective, point)
            found = PGDResult(point, value, succeeded(point) if succeeded else None)
            best = _better(best, found)
            if best.succeeded is not None:
                if bool(best.succeeded.all()):
                    break
                gradient = torch.where(_spread(best.succeeded, gradient), 0.0, gradient)
            length = first * SCHEDULES[schedule](step / steps)
            moved = point + _spread(length, point) * ball.steepest(movable(gradient, point, clip))
            point = _feasible(ball, moved, inputs, radius, clip)
        else:
            best = _better(best, _evaluate(objective, succeeded, point))
    return _evaluate(objective, succeeded, _feasible(ball, best.inputs, inputs, radius, clip))


def per_input(name: str, values: float | Tensor, inputs: Tensor) -> Tensor:
    """One number or shape (batch,) as shape (batch,), finite and >= 0. Raises InvalidArgument otherwise."""
    array = torch.as_tensor(values, dtype=inputs.dtype, device=inputs.device)
    if array.ndim > 1 or (array.ndim == 1 and len(array) != len(inputs)):
        raise InvalidArgument(f"{name} must be one number or shape ({len(inputs)},), got shape {tuple(array.shape)}.")
    wrong = ~(torch.isfinite(array) & (array >= 0))
    if bool(wrong.any()):
        raise InvalidArgument(f"{name} must be >= 0 and finite (pixel units), got {float(array[wrong].flatten()[0])}.")
    return array.expand(len(inputs))


def _first_step(step_size: float | Tensor | None, schedule: str, path: Tensor, steps: int, inputs: Tensor) -> Tensor:
    if schedule not in SCHEDULES:
        raise InvalidArgument(f"schedule must be one of {', '.join(SCHEDULES)}, got {schedule!r}.")
    need_at_least(1, steps=steps)
    if step_size is not None:
        return per_input("step_size", step_size, inputs)
    return path / sum(SCHEDULES[schedule](step / steps) for step in range(steps))


def _check(
    inputs: Tensor, radius: Tensor, steps: int, restarts: int, random_start: bool, clip: tuple[float, float] | None
) -> None:
    if inputs.ndim < 2 or not inputs.is_floating_point():
        raise InvalidArgument(
            f"inputs must be floating point of shape (batch, ...), got {inputs.dtype} {inputs.shape}."
        )
    if restarts < 1 or (restarts > 1 and not random_start):
        raise InvalidArgument(f"restarts must be >= 1, and 1 without a random start, got {restarts}.")
    if clip is not None and inputs.numel() and not (clip[0] <= inputs.min() and inputs.max() <= clip[1]):
        low, high = float(inputs.min()), float(inputs.max())
        raise InvalidArgument(f"inputs must be inside clip={clip}, got [{low:g}, {high:g}]; pass clip=None for no box.")


def _feasible(ball: Norm, point: Tensor, inputs: Tensor, radius: Tensor, clip: tuple[float, float] | None) -> Tensor:
    """The point moved into ball and box; clipping towards an input inside the box shortens every l_p distance."""
    point = inputs + ball.project(point.detach() - inputs, radius)
    return point if clip is None else point.clamp(*clip)


def value_and_gradient(objective: Objective, point: Tensor) -> tuple[Tensor, Tensor]:
    """The objective, shape (batch,), and its gradient (NaN as 0), the shape of the point. Raises InvalidArgument."""
    with torch.enable_grad():
        leaf = point.detach().clone().requires_grad_(True)
        value = objective(leaf)
        if not value.requires_grad:
            raise InvalidArgument("objective must be differentiable in the inputs, got one without gradient.")
        (gradient,) = torch.autograd.grad(value.sum(), leaf)
    return _checked(value.detach(), point), torch.nan_to_num(gradient, nan=0.0)


def _evaluate(objective: Objective, succeeded: Callable[[Tensor], Tensor] | None, point: Tensor) -> PGDResult:
    with torch.no_grad():
        return PGDResult(point, _checked(objective(point), point), succeeded(point) if succeeded else None)


def _checked(value: Tensor, point: Tensor) -> Tensor:
    if value.shape != (len(point),):
        raise InvalidArgument(f"objective must have shape ({len(point)},), one per input, got {tuple(value.shape)}.")
    if bool(value.isnan().any()):
        raise InvalidArgument(
            f"objective must not be NaN, but is at row {int(value.isnan().nonzero()[0])} of the batch."
        )
    return value


def _better(best: PGDResult, found: PGDResult) -> PGDResult:
    higher = found.objective > best.objective
    if best.succeeded is None or found.succeeded is None:
        take, success = higher, None
    else:
        take = torch.where(best.succeeded == found.succeeded, higher, found.succeeded)
        success = torch.where(take, found.succeeded, best.succeeded)
    inputs = torch.where(_spread(take, best.inputs), found.inputs, best.inputs)
    return PGDResult(inputs, torch.where(take, found.objective, best.objective), success)


def movable(gradient: Tensor, point: Tensor, clip: tuple[float, float] | None) -> Tensor:
    """The gradient without the coordinates in which a step along it would leave the box."""
    if clip is None:
        return gradient
    stuck = ((point <= clip[0]) & (gradient < 0)) | ((point >= clip[1]) & (gradient > 0))
    return torch.where(stuck, 0.0, gradient)


def _spread(values: Tensor, like: Tensor) -> Tensor:
    return values.view(-1, *[1] * (like.ndim - 1))
