"""Certified accuracy from below, attacked accuracy from above: what is left between is what nobody knows."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from certmix.attacks.losses import cross_entropy, margin
from certmix.attacks.pgd import pgd
from certmix.attacks.smoothed import SmoothedClassifier, count_votes
from certmix.datasets import OwnData, as_dataset
from certmix.datasets.batches import batches
from certmix.errors import InvalidArgument, need_at_least
from certmix.models import MixedClassifier
from certmix.models.memory import inputs_at_once
from certmix.models.own_range import in_range_of
from certmix.models.placement import device_of
from certmix.rules import LinearRule, Rule, ThresholdRule
from certmix.tables import shapes_repr

Route = Callable[[Tensor, Tensor], Tensor]


@dataclass(frozen=True)
class AttackedAccuracy:
    """What attacks leave right of the smoothed mixture, at each radius: an upper bound on its robust accuracy.

    Attributes:
        radii: ascending, shape (radii,), pixel units.
        right: whether no attack within the radius succeeded, shape (radii, inputs), bool; never rises with the radius.
    """

    radii: NDArray[np.float64]
    right: NDArray[np.bool_]

    __repr__ = shapes_repr

    @property
    def accuracy(self) -> NDArray[np.float64]:
        """Share of inputs, shape (radii,)."""
        return np.asarray(self.right.mean(axis=1))


def attack_smoothed_mixture(
    dataset: OwnData,
    *,
    robust: nn.Module,
    accurate: nn.Module | None,
    sigma: float,
    rule: Rule,
    radii: Sequence[float],
    grid_levels: int | None = None,
    steps: int = 20,
    restarts: int = 2,
    draws: int = 16,
    votes: int = 1000,
    seed: int = 0,
    batch_size: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> AttackedAccuracy:
    """l2 attacks of growing radius on the mixture by a rule, h the vote shares of the smoothed robust model, in [0, 1].

    Gradients come from h's probabilities, averaged over noise, and g's softmax (`_routes`); a point counts as fooling where
    the mixture of g and fresh vote shares is wrong. Inputs that are fooled at one radius are not attacked at larger ones.
    This is the accuracy of the mixture as deployed with `votes` draws, up to their sampling error.

    Args:
        dataset: inputs with labels, as `certmix.sample` takes them; read a batch at a time.
        robust: base classifier of h, on the device where the attack runs.
        accurate: g; None only for h alone, weight 1 or threshold 0.
        sigma: standard deviation of the noise, pixel units.
        rule: a mixing weight or a threshold; how g votes is part of it.
        radii: of the attacks, >= 0, pixel units.
        grid_levels: of integer noise; see `count_votes`.
        steps: of PGD, >= 1.
        restarts: starts per radius, >= 1, which take the two routes to a wrong answer in turn.
        draws: noise draws per gradient, >= 1.
        votes: fresh draws that judge a point, >= 1.
        seed: of starts and noise.
        batch_size: inputs attacked at once, >= 1; by default as `inputs_at_once` says.
        progress: called with (inputs done, in all).
    Returns: AttackedAccuracy.
    Raises: InvalidArgument: no accurate model where it has a say, a rule of another kind, or a value out of range.
    """
    if accurate is None and rule.parameter != (0.0 if isinstance(rule, ThresholdRule) else 1.0):
        raise InvalidArgument(
            f"accurate must be given unless h decides alone (weight 1 or threshold 0), got none at {rule.label}."
        )
    need_at_least(1, steps=steps, restarts=restarts, draws=draws, votes=votes)
    data = as_dataset(dataset)
    robust, accurate = in_range_of(robust, data), accurate and in_range_of(accurate, data)
    routes = _routes(rule, accurate, SmoothedClassifier(robust, sigma=sigma, draws=draws, seed=seed))
    models = [robust] if accurate is None else [robust, accurate]
    size, device = inputs_at_once(data.input_shape, *models, wanted=batch_size, copies=draws), device_of(robust)
    generator = torch.Generator(device).manual_seed(seed)
    judge = _Fooled(robust, accurate, sigma, rule, grid_levels, votes, generator)
    ascending = sorted(float(radius) for radius in radii)
    tables: list[Tensor] = []
    for inputs, labels in batches(data, size):
        moved = inputs.to(device), labels.to(device)
        tables.append(_attack_batch(routes, judge, *moved, ascending, steps=steps, restarts=restarts).cpu())
        if progress:
            progress(sum(table.shape[1] for table in tables), len(data))
    return AttackedAccuracy(np.array(ascending), torch.cat(tables, dim=1).numpy())


def _routes(rule: Rule, accurate: nn.Module | None, smoothed: SmoothedClassifier) -> tuple[Route, Route]:
    """What attacks climb, as functions of points and labels: two ways to a wrong answer, one per restart in turn.

    Eq. 5: cross-entropy and margin of the soft mixture. The threshold: h is surer of another class than of y and than c,
    log max_i h_i - log max(h_y, c); or it is sure of none where g is wrong, min(log c - log max h, margin of g).
    """
    if isinstance(rule, LinearRule) or accurate is None:
        model: nn.Module = smoothed
        if accurate is not None:
            model = MixedClassifier(
                accurate=accurate, robust=smoothed, mixing_weight=rule.parameter, accurate_vote="softmax"
            )
        return lambda x, y: cross_entropy(model(x), y), lambda x, y: margin(model(x), y)
    if not isinstance(rule, ThresholdRule):
        raise InvalidArgument(f"rule must be a mixing weight or a threshold to be attacked, got {rule.label}.")
    needed = math.log(max(rule.threshold, torch.finfo(torch.float32).tiny))

    def robust_errs(points: Tensor, labels: Tensor) -> Tensor:
        logs = smoothed(points)
        lead = margin(logs, labels)
        return torch.minimum(lead, lead + logs.gather(1, labels[:, None])[:, 0] - needed)

    def accurate_errs(points: Tensor, labels: Tensor) -> Tensor:
        return torch.minimum(needed - smoothed(points).amax(dim=1), margin(accurate(points).log_softmax(dim=1), labels))

    return robust_errs, accurate_errs


def _attack_batch(
    routes: tuple[Route, Route],
    judge: "_Fooled",
    inputs: Tensor,
    labels: Tensor,
    radii: list[float],
    *,
    steps: int,
    restarts: int,
) -> Tensor:
    """Whether each input is right within each radius, shape (radii, batch)."""
    right = ~judge(inputs, labels)
    table = []
    for radius in radii:
        for restart in range(restarts if radius > 0 else 0):
            rows = torch.nonzero(right)[:, 0]
            if not len(rows):
                break
            truth, route = labels[rows], routes[restart % 2]
            point = pgd(
                lambda x, truth=truth, route=route: route(x, truth),  # type: ignore[misc]
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
    rule: Rule
    grid_levels: int | None
    votes: int
    generator: torch.Generator

    @torch.no_grad()
    def __call__(self, points: Tensor, labels: Tensor) -> Tensor:
        counts = count_votes(
            self.robust, points, sigma=self.sigma, draws=self.votes, generator=self.generator,
            grid_levels=self.grid_levels,
        )  # fmt: skip
        g = torch.zeros_like(counts) if self.accurate is None else self.accurate(points)
        said = self.rule.decide(g.double().softmax(dim=1).cpu().numpy(), counts.cpu().numpy())
        return torch.as_tensor(said, device=labels.device) != labels
