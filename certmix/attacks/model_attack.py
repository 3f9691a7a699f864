"""PGD on a classifier: in chunks, with restarts spent only on the inputs that still hold."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from certmix.attacks.losses import Loss, get_loss
from certmix.attacks.pgd import per_input, pgd
from certmix.errors import need_at_least
from certmix.models.memory import inputs_at_once


@dataclass(frozen=True)
class AttackResult:
    """Perturbed inputs, each the best one found.

    Attributes:
        inputs: inside ball and box, the shape of the inputs.
        fooled: whether the model's class there is not the label, recomputed on them, shape (batch,), bool.
    """

    inputs: Tensor
    fooled: Tensor

    @property
    def accuracy(self) -> float:
        """Share of inputs that are right under attack."""
        return 1.0 - float(self.fooled.double().mean())


def attack_model(
    model: nn.Module,
    inputs: Tensor,
    labels: Tensor,
    *,
    norm: str,
    attack_radius: float | Tensor,
    loss: str | Loss = "cross-entropy",
    steps: int = 20,
    step_size: float | None = None,
    restarts: int = 1,
    random_start: bool = True,
    clip: tuple[float, float] | None = (0.0, 1.0),
    stop_at_success: bool = True,
    judge: nn.Module | None = None,
    batch_size: int | None = None,
    seed: int = 0,
) -> AttackResult:
    """PGD against a classifier. Source: Madry et al. 2018, arXiv:1706.06083.

    Args:
        model: inputs -> logits or log-probabilities, shape (batch, classes); attacked as it is (put it in eval mode).
        inputs, labels: shapes (inputs, ...) and (inputs,).
        norm, attack_radius, steps, step_size, restarts, random_start, clip: see `pgd`.
        loss: "cross-entropy", "margin", "dlr", or a function of (logits, labels).
        stop_at_success: rest where the model is fooled; False goes on to the largest loss, as an attack that is to
            transfer to another model must, or one whose smallest margin is asked for.
        judge: the classifier that is to be fooled, where `model` only stands in for it since it has gradients.
        batch_size: inputs per chunk, >= 1; by default as `inputs_at_once` says.
        seed: of the random starts; every chunk has its own stream.
    Returns: AttackResult.
    Raises: InvalidArgument: a value out of range.
    """
    need_at_least(1, restarts=restarts)
    size = inputs_at_once(inputs.shape[1:], model, wanted=batch_size)
    judged = model if judge is None else judge
    rate = get_loss(loss) if isinstance(loss, str) else loss
    radius = per_input("attack_radius", attack_radius, inputs)
    chunks = []
    for number, rows in enumerate(torch.split(torch.arange(len(inputs), device=inputs.device), size)):
        generator = torch.Generator(inputs.device).manual_seed(seed + 1_000_003 * number)
        best = inputs[rows].clone()
        open_rows = torch.arange(len(rows), device=inputs.device)
        for _ in range(restarts if stop_at_success else 1):
            at, truth = rows[open_rows], labels[rows[open_rows]]
            found = pgd(
                _objective(model, rate, truth), inputs[at], norm=norm, attack_radius=radius[at], steps=steps,
                step_size=step_size, restarts=1 if stop_at_success else restarts, random_start=random_start, clip=clip,
                generator=generator, succeeded=_fooled(judged, truth) if stop_at_success else None,
            )  # fmt: skip
            best[open_rows] = found.inputs
            if found.succeeded is not None:
                open_rows = open_rows[~found.succeeded]
            if not len(open_rows):
                break
        chunks.append(best)
    perturbed = torch.cat(chunks)
    return AttackResult(perturbed, is_fooled(judged, perturbed, labels, batch_size=size))


def is_fooled(model: nn.Module, inputs: Tensor, labels: Tensor, *, batch_size: int = 1000) -> Tensor:
    """Whether the model's class (first on ties) is not the label, shape (inputs,), bool."""
    pairs = zip(torch.split(inputs, batch_size), torch.split(labels, batch_size), strict=True)
    return torch.cat([_fooled(model, truth)(rows) for rows, truth in pairs])


def _objective(model: nn.Module, rate: Loss, labels: Tensor) -> Callable[[Tensor], Tensor]:
    return lambda points: rate(model(points), labels)


def _fooled(model: nn.Module, labels: Tensor) -> Callable[[Tensor], Tensor]:
    def fooled(points: Tensor) -> Tensor:
        with torch.no_grad():
            wrong: Tensor = model(points).argmax(dim=1) != labels
        return wrong

    return fooled
