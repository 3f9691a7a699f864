"""Every certified input attacked inside its radius: one success would refute the certificate, and is an error."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from certmix.attacks.judge import Floats, Judge, Stakes, Verdict, worst_stakes
from certmix.attacks.losses import margin
from certmix.attacks.pgd import pgd
from certmix.attacks.smoothed import SmoothedClassifier
from certmix.datasets import Dataset, OwnData, Subset, as_dataset
from certmix.datasets.batches import stack
from certmix.errors import CertmixError, InvalidArgument, need_at_least
from certmix.models.memory import inputs_at_once
from certmix.models.own_range import in_range_of
from certmix.models.placement import device_of
from certmix.rules import Rule
from certmix.tables import shapes_repr


class CertificateBroken(CertmixError):
    """An attack inside a certified radius succeeded: a defect of certmix, or the rare input whose draws misled it."""


@dataclass(frozen=True)
class CertificateAttack:
    """What the attacks inside certified radii found, one row per attacked certificate.

    Attributes:
        row: which input, shape (attacked,), int64.
        rule: which rule, one per attacked certificate.
        radius: the certified radius, shape (attacked,), pixel units.
        mixing_weight: a at the worst point found, shape (attacked,); of an adaptive mixture, its gate there, and 1 under a
            threshold.
        lead: of the certified class there, shape (attacked,); <= 0 where it is fooled. Under a fixed rule, for the worst
            accurate model there is (`worst_stakes`).
        broken: whether it is fooled beyond doubt (see `Judge`), shape (attacked,), bool.
        distance: of the worst point from the input, l2, shape (attacked,), pixel units.
    """

    row: NDArray[np.int64]
    rule: tuple[Rule, ...]
    radius: Floats
    mixing_weight: Floats
    lead: Floats
    broken: NDArray[np.bool_]
    distance: Floats

    __repr__ = shapes_repr

    def check(self) -> None:
        """Raise CertificateBroken where an attack succeeded."""
        if self.broken.any():
            first = int(np.flatnonzero(self.broken)[0])
            raise CertificateBroken(
                f"{int(self.broken.sum())} of {len(self.row)} CERTIFICATES BROKEN by attacks inside their radius; the "
                f"first is input {self.row[first]}, certified to {self.radius[first]:.4f} at "
                f"{self.rule[first].label}: its class leads by {self.lead[first]:.4f} at a point inside."
            )


class Attacker(Protocol):
    """Moves certified inputs within their balls, and says what the mixture does with g where they end."""

    def move(self, inputs: Tensor, labels: NDArray[np.int64], rules: Sequence[Rule], reach: Floats) -> Tensor:
        """The worst points found within `reach` of the inputs, (batch, ...); `rules` are the certified ones."""
        ...

    def stakes(self, points: Tensor, labels: NDArray[np.int64], rules: Sequence[Rule]) -> Stakes:
        """What the certified classes need at the points."""
        ...


def attack_certificates(
    robust: nn.Module,
    dataset: OwnData,
    prediction: ArrayLike,
    radius: ArrayLike,
    rules: Sequence[Rule],
    *,
    sigma: float,
    grid_levels: int | None = None,
    share_of_radius: float = 0.99,
    restarts: int = 10,
    steps: int = 100,
    draws: int = 16,
    votes: int = 10_000,
    significance: float = 1e-6,
    seed: int = 0,
    batch_size: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> CertificateAttack:
    """Attack the smoothed h inside every certified l2 ball, for the worst accurate model there is.

    A certificate promises h_y - h_i > (1 - a) / a on the open ball at weight a, and h_y > c and h_y > h_i at threshold c;
    wherever that fails, an accurate model that is one-hot on another class fools the mixture. So h alone is attacked,
    without a box, by PGD on that margin with gradients averaged over noise (of h's probabilities, since votes have none),
    and the worst end point of all restarts is judged by fresh votes (`Judge`).

    Args:
        robust: base classifier of h, on the device where the attack runs.
        dataset: the certified inputs.
        prediction: certified classes, shape (inputs,).
        radius: certified radii of h's votes, shape (rules, inputs), pixel units; 0 = nothing to attack.
        rules: mixing weights and thresholds.
        sigma: standard deviation of the noise, pixel units.
        grid_levels: of integer noise; see `count_votes`.
        share_of_radius: attacks go to this share of it, in (0, 1).
        restarts, steps: of PGD, >= 1.
        draws: noise draws per gradient, >= 1.
        votes: fresh draws that judge a point, >= 1.
        significance: of a broken certificate; see `Judge`.
        seed: of starts and noise.
        batch_size: certificates attacked at once, >= 1; memory holds no more inputs; by default as `inputs_at_once` says.
        progress: called with (certificates attacked, in all).
    Returns: CertificateAttack.
    Raises: InvalidArgument: a value out of range, or shapes that do not fit.
    """
    need_at_least(1, restarts=restarts, steps=steps)
    worst_stakes(rules)
    data = as_dataset(dataset)
    robust = in_range_of(robust, data)
    generator = torch.Generator(device_of(robust)).manual_seed(seed)
    judge = Judge(robust, sigma, grid_levels, votes, significance, generator)
    model = SmoothedClassifier(robust, sigma=sigma, draws=draws, seed=seed)
    attacker = _WorstAccurateModel(model, judge, restarts, steps)
    size = inputs_at_once(data.input_shape, robust, wanted=batch_size, copies=draws)
    return attack_inside(
        attacker, judge, data, prediction, radius, rules, share_of_radius=share_of_radius,
        batch_size=size, progress=progress,
    )  # fmt: skip


def attack_inside(
    attacker: Attacker,
    judge: Judge,
    dataset: Dataset,
    prediction: ArrayLike,
    radius: ArrayLike,
    rules: Sequence[Rule],
    *,
    share_of_radius: float,
    batch_size: int,
    progress: Callable[[int, int], None] | None = None,
) -> CertificateAttack:
    """Attack every certificate by an attacker and judge where it ends; arguments as `attack_certificates`."""
    classes, radii = np.asarray(prediction, dtype=np.int64), np.atleast_2d(np.asarray(radius, dtype=np.float64))
    if radii.shape != (len(rules), len(dataset)) or classes.shape != (len(dataset),):
        raise InvalidArgument(
            f"radius must have shape (rules, inputs) = ({len(rules)}, {len(dataset)}), and prediction (inputs,), got "
            f"{radii.shape} and {classes.shape}."
        )
    if not 0.0 < share_of_radius < 1.0:
        raise InvalidArgument(f"share_of_radius must be in (0, 1), got {share_of_radius}; the certified ball is open.")
    which, rows = np.nonzero(radii > 0)
    device = device_of(judge.base)
    found: list[tuple[Floats, Verdict, Floats]] = []
    for start in range(0, len(rows), batch_size):
        part = slice(start, start + batch_size)
        inputs = stack(Subset(dataset, rows[part]))[0].to(device)
        labels, own = classes[rows[part]], [rules[position] for position in which[part].tolist()]
        points = attacker.move(inputs, labels, own, share_of_radius * radii[which[part], rows[part]])
        stakes = attacker.stakes(points, labels, own)
        distance = (points - inputs).flatten(1).double().norm(dim=1).cpu().numpy()
        found.append((stakes.mixing_weight, judge.verdict(points, labels, stakes), distance))
        if progress:
            progress(min(start + batch_size, len(rows)), len(rows))
    return CertificateAttack(
        row=rows,
        rule=tuple(rules[position] for position in which.tolist()),
        radius=radii[which, rows],
        mixing_weight=np.concatenate([np.empty(0), *(weight for weight, _, _ in found)]),
        lead=np.concatenate([np.empty(0), *(verdict.lead for _, verdict, _ in found)]),
        broken=np.concatenate([np.empty(0, dtype=bool), *(verdict.broken for _, verdict, _ in found)]),
        distance=np.concatenate([np.empty(0), *(distance for _, _, distance in found)]),
    )


@dataclass(frozen=True)
class _WorstAccurateModel:
    """PGD on h alone; g is one-hot on whichever rival is nearest."""

    model: SmoothedClassifier
    judge: Judge
    restarts: int
    steps: int

    def move(self, inputs: Tensor, labels: NDArray[np.int64], rules: Sequence[Rule], reach: Floats) -> Tensor:
        """The end point of PGD with the smallest lead by votes of its own, over the restarts."""
        truth = torch.as_tensor(labels, device=inputs.device)
        radius = torch.as_tensor(reach, dtype=inputs.dtype, device=inputs.device)
        stakes = self.stakes(inputs, labels, rules)
        threshold = torch.as_tensor(stakes.threshold, dtype=inputs.dtype, device=inputs.device)
        worst, smallest = inputs, np.full(len(inputs), np.inf)
        for _ in range(self.restarts):
            point = pgd(
                lambda x: _fooled_by(self.model(x), truth, threshold), inputs, norm="l2", attack_radius=radius,
                steps=self.steps, clip=None, generator=self.judge.generator,
            ).inputs  # fmt: skip
            lead = self.judge.leads(point, labels, stakes, max(100, self.judge.votes // 10)).min(axis=1)
            less = torch.as_tensor(lead < smallest, device=inputs.device).view(-1, *[1] * (inputs.ndim - 1))
            worst, smallest = torch.where(less, point, worst), np.minimum(lead, smallest)
        return worst

    def stakes(self, points: Tensor, labels: NDArray[np.int64], rules: Sequence[Rule]) -> Stakes:
        """Those of the worst accurate model, wherever the points are."""
        return worst_stakes(rules)


def _fooled_by(logs: Tensor, labels: Tensor, threshold: Tensor) -> Tensor:
    """log max(max_i h_i, c) - log h_y, shape (batch,): > 0 where the threshold rule is fooled; c <= 0 leaves the margin."""
    own = logs.gather(1, labels[:, None])[:, 0]
    return torch.maximum(margin(logs, labels), threshold.clamp(min=0.0).log() - own)
