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
from certmix.errors import InvalidArgument
from certmix.models import MixedClassifier


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
    robust: nn.Module,
    accurate: nn.Module | None,
    inputs: Tensor,
    labels: Tensor,
    *,
    sigma: float,
    mixing_weight: float,
    radii: Sequence[float],
    hard_accurate: bool = True,
    grid_levels: int | None = None,
    steps: int = 20,
    restarts: int = 2,
    draws: int = 16,
    votes: int = 1000,
    clip: tuple[float, float] | None = (0.0, 1.0),
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> AttackedAccuracy:
    """l2 attacks of growing radius on (1 - a) g + a h, h the vote shares of the smoothed robust model.

    Gradients come from the soft mixture, averaged over noise; a point counts as fooling where the mixture of g and fresh
    vote shares is wrong. Inputs that are fooled at one radius are not attacked at larger ones. This is the accuracy of
    the mixture as deployed with `votes` draws, up to their sampling error.

    Args:
        robust: base classifier of h.
        accurate: g; None only at weight 1.
        inputs, labels: shapes (inputs, ...) and (inputs,).
        sigma: standard deviation of the noise, pixel units.
        mixing_weight: a, in [0, 1].
        radii: of the attacks, >= 0, pixel units.
        hard_accurate: mix g's class instead of its softmax (when judging; the attack always sees its softmax).
        grid_levels: of integer noise; see `count_votes`.
        steps, clip: see `pgd`.
        restarts: starts per radius, in turn with cross-entropy and with the margin as loss.
        draws: noise draws per gradient.
        votes: fresh draws that judge a point.
        seed: of starts and noise.
        progress: called with (radii done, in all).
    Returns: AttackedAccuracy.
    Raises: InvalidArgument: no accurate model at a weight below 1, or a value out of range.
    """
    if accurate is None and mixing_weight < 1.0:
        raise InvalidArgument(f"accurate must be given at weights below 1, got none at weight {mixing_weight:g}.")
    smoothed = SmoothedClassifier(robust, sigma=sigma, draws=draws, seed=seed)
    model = smoothed if accurate is None else MixedClassifier(accurate, smoothed, mixing_weight)
    generator = torch.Generator().manual_seed(seed)

    def fooled(points: Tensor, truth: Tensor) -> Tensor:
        counts = count_votes(robust, points, sigma=sigma, draws=votes, generator=generator, grid_levels=grid_levels)
        mixed = mixing_weight * counts.double() / votes
        if accurate is not None:
            with torch.no_grad():
                g = accurate(points)
            hard = functional.one_hot(g.argmax(dim=1), g.shape[1]) if hard_accurate else g.softmax(dim=1)
            mixed = mixed + (1.0 - mixing_weight) * hard
        return mixed.argmax(dim=1) != truth

    ascending = sorted(float(radius) for radius in radii)
    right = ~fooled(inputs, labels)
    table = []
    for done, radius in enumerate(ascending):
        for restart in range(restarts if radius > 0 else 0):
            rows = torch.nonzero(right)[:, 0]
            if not len(rows):
                break
            truth, loss = labels[rows], (cross_entropy, margin)[restart % 2]
            point = pgd(
                lambda x, truth=truth, loss=loss: loss(model(x), truth),  # type: ignore[misc]
                inputs[rows], norm="l2", attack_radius=radius, steps=steps, clip=clip, generator=generator,
            ).inputs  # fmt: skip
            right[rows[fooled(point, truth)]] = False
        table.append(right.clone())
        if progress:
            progress(done + 1, len(ascending))
    return AttackedAccuracy(np.array(ascending), torch.stack(table).numpy())
