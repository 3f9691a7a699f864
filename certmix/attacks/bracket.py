"""Certified accuracy from below, attacked accuracy from above: what is left between is what nobody knows."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional

from certmix.attacks.losses import cross_entropy, margin
from certmix.attacks.pgd import pgd
from certmix.attacks.smoothed import SmoothedClassifier, count_votes
from certmix.datasets import Dataset
from certmix.datasets.batches import batches
from certmix.errors import InvalidArgument, need_at_least
from certmix.models import MixedClassifier
from certmix.models.mixture import check_accurate_vote
from certmix.models.placement import device_of


@dataclass(frozen=True)
class AttackedAccuracy:
    """What attacks leave right of the smoothed mixture, at each radius: an upper bound on its robust accuracy.

    Attributes:
        radii: ascending, shape (radii,), pixel units.
        right: whether no attack within the radius succeeded, shape (radii, inputs), bool; never rises with the radius.
    """

    radii: NDArray[np.float64]
    right: NDArray[np.bool_]

    @property
    def accuracy(self) -> NDArray[np.float64]:
        """Share of inputs, shape (radii,)."""
        return np.asarray(self.right.mean(axis=1))


def attack_smoothed_mixture(
    dataset: Dataset,
    *,
    robust: nn.Module,
    accurate: nn.Module | None,
    sigma: float,
    mixing_weight: float,
    radii: Sequence[float],
    accurate_vote: str = "class",
    grid_levels: int | None = None,
    steps: int = 20,
    restarts: int = 2,
    draws: int = 16,
    votes: int = 1000,
    seed: int = 0,
    batch_size: int = 250,
    progress: Callable[[int, int], None] | None = None,
) -> AttackedAccuracy:
    """l2 attacks of growing radius on (1 - a) g + a h, h the vote shares of the smoothed robust model, in [0, 1].

    Gradients come from the soft mixture, averaged over noise; a point counts as fooling where the mixture of g and fresh
    vote shares is wrong. Inputs that are fooled at one radius are not attacked at larger ones. This is the accuracy of
    the mixture as deployed with `votes` draws, up to their sampling error.

    Args:
        dataset: inputs with labels; read a batch at a time.
        robust: base classifier of h, on the device where the attack runs.
        accurate: g; None only at weight 1.
        sigma: standard deviation of the noise, pixel units.
        mixing_weight: a, in [0, 1].
        radii: of the attacks, >= 0, pixel units.
        accurate_vote: how g votes where points are judged, "class" or "softmax"; the attack climbs its softmax.
        grid_levels: of integer noise; see `count_votes`.
        steps: of PGD, >= 1.
        restarts: starts per radius, >= 1, in turn with cross-entropy and with the margin as loss.
        draws: noise draws per gradient, >= 1.
        votes: fresh draws that judge a point, >= 1.
        seed: of starts and noise.
        batch_size: inputs attacked at once, >= 1.
        progress: called with (inputs done, in all).
    Returns: AttackedAccuracy.
    Raises: InvalidArgument: no accurate model at a weight below 1, or a value out of range.
    """
    if accurate is None and mixing_weight < 1.0:
        raise InvalidArgument(f"accurate must be given at weights below 1, got none at weight {mixing_weight:g}.")
    need_at_least(1, steps=steps, restarts=restarts, draws=draws, votes=votes, batch_size=batch_size)
    check_accurate_vote(accurate_vote)
    model: nn.Module = SmoothedClassifier(robust, sigma=sigma, draws=draws, seed=seed)
    if accurate is not None:
        model = MixedClassifier(accurate=accurate, robust=model, mixing_weight=mixing_weight, accurate_vote="softmax")
    device = device_of(robust)
    generator = torch.Generator(device).manual_seed(seed)
    judge = _Fooled(robust, accurate, sigma, mixing_weight, accurate_vote, grid_levels, votes, generator)
    ascending = sorted(float(radius) for radius in radii)
    tables: list[Tensor] = []
    for inputs, labels in batches(dataset, batch_size):
        moved = inputs.to(device), labels.to(device)
        tables.append(_attack_batch(model, judge, *moved, ascending, steps=steps, restarts=restarts).cpu())
        if progress:
            progress(sum(table.shape[1] for table in tables), len(dataset))
    return AttackedAccuracy(np.array(ascending), torch.cat(tables, dim=1).numpy())


def _attack_batch(
    model: nn.Module, judge: "_Fooled", inputs: Tensor, labels: Tensor, radii: list[float], *, steps: int, restarts: int
) -> Tensor:
    """Whether each input is right within each radius, shape (radii, batch)."""
    right = ~judge(inputs, labels)
    table = []
    for radius in radii:
        for restart in range(restarts if radius > 0 else 0):
            rows = torch.nonzero(right)[:, 0]
            if not len(rows):
                break
            truth, loss = labels[rows], (cross_entropy, margin)[restart % 2]
            point = pgd(
                lambda x, truth=truth, loss=loss: loss(model(x), truth),  # type: ignore[misc]
                inputs[rows], norm="l2", attack_radius=radius, steps=steps, generator=judge.generator,
            ).inputs  # fmt: skip
            right[rows[judge(point, truth)]] = False
        table.append(right.clone())
    return torch.stack(table)


@dataclass(frozen=True)
class _Fooled:
    """Whether the mixture of g and fresh vote shares of h is wrong."""

    robust: nn.Module
    accurate: nn.Module | None
    sigma: float
    mixing_weight: float
    accurate_vote: str
    grid_levels: int | None
    votes: int
    generator: torch.Generator

    @torch.no_grad()
    def __call__(self, points: Tensor, labels: Tensor) -> Tensor:
        counts = count_votes(
            self.robust, points, sigma=self.sigma, draws=self.votes, generator=self.generator,
            grid_levels=self.grid_levels,
        )  # fmt: skip
        mixed = self.mixing_weight * counts.double() / self.votes
        if self.accurate is not None:
            g = self.accurate(points)
            hard = self.accurate_vote == "class"
            said = functional.one_hot(g.argmax(dim=1), g.shape[1]) if hard else g.double().softmax(dim=1)
            mixed = mixed + (1.0 - self.mixing_weight) * said
        return mixed.argmax(dim=1) != labels
