"""Every certified input attacked inside its radius: one success would refute the certificate, and is an error."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from certmix.attacks.judge import Judge, Verdict
from certmix.attacks.losses import margin
from certmix.attacks.pgd import pgd
from certmix.attacks.smoothed import SmoothedClassifier
from certmix.certifiers import required_margin
from certmix.datasets import Dataset, Subset
from certmix.datasets.batches import stack
from certmix.errors import CertmixError, InvalidArgument, need_at_least
from certmix.models.placement import device_of

Floats = NDArray[np.float64]


class CertificateBroken(CertmixError):
    """An attack inside a certified radius succeeded: a defect of certmix, or the rare input whose draws misled it."""


@dataclass(frozen=True)
class CertificateAttack:
    """What the attacks inside certified radii found, one row per attacked certificate.

    Attributes:
        row: which input, shape (attacked,), int64.
        radius: the certified radius, shape (attacked,), pixel units.
        mixing_weight: a at the worst point found, shape (attacked,); of an adaptive mixture, its gate there.
        lead: of the certified class in the mixture there, shape (attacked,); <= 0 where it is fooled. Under a fixed
            weight, for the worst accurate model there is.
        broken: whether it is fooled beyond doubt (see `Judge`), shape (attacked,), bool.
        distance: of the worst point from the input, l2, shape (attacked,), pixel units.
    """

    row: NDArray[np.int64]
    radius: Floats
    mixing_weight: Floats
    lead: Floats
    broken: NDArray[np.bool_]
    distance: Floats

    def check(self) -> None:
        """Raise CertificateBroken where an attack succeeded."""
        if self.broken.any():
            first = int(np.flatnonzero(self.broken)[0])
            raise CertificateBroken(
                f"{int(self.broken.sum())} of {len(self.row)} CERTIFICATES BROKEN by attacks inside their radius; the "
                f"first is input {self.row[first]}, certified to {self.radius[first]:.4f}: its class leads by "
                f"{self.lead[first]:.4f} at weight {self.mixing_weight[first]:.4f} at a point inside."
            )


class Attacker(Protocol):
    """Moves certified inputs within their balls, and says what the mixture does with g where they end."""

    def move(self, inputs: Tensor, labels: NDArray[np.int64], mixing_weight: Floats, reach: Floats) -> Tensor:
        """The worst points found within `reach` of the inputs, (batch, ...); `mixing_weight` is the certified one."""
        ...

    def mixing(self, points: Tensor, labels: NDArray[np.int64], mixing_weight: Floats) -> tuple[Floats, Floats]:
        """a at the points, shape (batch,), and g_y - g_i there, shape (batch, classes) or (batch, 1)."""
        ...


def attack_certificates(
    robust: nn.Module,
    dataset: Dataset,
    prediction: ArrayLike,
    radius: ArrayLike,
    mixing_weight: ArrayLike,
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
    batch_size: int = 300,
    progress: Callable[[int, int], None] | None = None,
) -> CertificateAttack:
    """Attack the smoothed h inside every certified l2 ball, for the worst accurate model there is.

    A certificate at weight a promises h_y - h_i > (1 - a) / a on the open ball, and an accurate model that is one-hot on i
    fools the mixture wherever that fails (Lemma 3.2 is tight): so h alone is attacked, without a box, by PGD with gradients
    averaged over noise, and the worst end point of all restarts is judged by fresh votes (`Judge`).

    Args:
        robust: base classifier of h, on the device where the attack runs.
        dataset: the certified inputs.
        prediction: certified classes, shape (inputs,).
        radius: certified radii, shape (weights, inputs), pixel units; 0 = nothing to attack.
        mixing_weight: shape (weights,).
        sigma: standard deviation of the noise, pixel units.
        grid_levels: of integer noise; see `count_votes`.
        share_of_radius: attacks go to this share of it, in (0, 1).
        restarts, steps: of PGD, >= 1.
        draws: noise draws per gradient, >= 1.
        votes: fresh draws that judge a point, >= 1.
        significance: of a broken certificate; see `Judge`.
        seed: of starts and noise.
        batch_size: certificates attacked at once, >= 1; memory holds no more inputs.
        progress: called with (certificates attacked, in all).
    Returns: CertificateAttack.
    Raises: InvalidArgument: a value out of range, or shapes that do not fit.
    """
    need_at_least(1, restarts=restarts, steps=steps)
    required_margin(mixing_weight)
    generator = torch.Generator(device_of(robust)).manual_seed(seed)
    judge = Judge(robust, sigma, grid_levels, votes, significance, generator)
    model = SmoothedClassifier(robust, sigma=sigma, draws=draws, seed=seed)
    attacker = _WorstAccurateModel(model, judge, restarts, steps)
    return attack_inside(
        attacker, judge, dataset, prediction, radius, mixing_weight, share_of_radius=share_of_radius,
        batch_size=batch_size, progress=progress,
    )  # fmt: skip


def attack_inside(
    attacker: Attacker,
    judge: Judge,
    dataset: Dataset,
    prediction: ArrayLike,
    radius: ArrayLike,
    mixing_weight: ArrayLike,
    *,
    share_of_radius: float,
    batch_size: int,
    progress: Callable[[int, int], None] | None = None,
) -> CertificateAttack:
    """Attack every certificate by an attacker and judge where it ends; arguments as `attack_certificates`."""
    classes, radii = np.asarray(prediction, dtype=np.int64), np.atleast_2d(np.asarray(radius, dtype=np.float64))
    weights = np.atleast_1d(np.asarray(mixing_weight, dtype=np.float64))
    if radii.shape != (len(weights), len(dataset)) or classes.shape != (len(dataset),):
        raise InvalidArgument(
            f"radius must have shape (weights, inputs) = ({len(weights)}, {len(dataset)}), and prediction (inputs,), got "
            f"{radii.shape} and {classes.shape}."
        )
    if not 0.0 < share_of_radius < 1.0:
        raise InvalidArgument(f"share_of_radius must be in (0, 1), got {share_of_radius}; the certified ball is open.")
    need_at_least(1, batch_size=batch_size)
    which, rows = np.nonzero(radii > 0)
    device = device_of(judge.base)
    found: list[tuple[Floats, Verdict, Floats]] = []
    for start in range(0, len(rows), batch_size):
        part = slice(start, start + batch_size)
        inputs, labels, weight = (
            stack(Subset(dataset, rows[part]))[0].to(device),
            classes[rows[part]],
            weights[which[part]],
        )
        points = attacker.move(inputs, labels, weight, share_of_radius * radii[which[part], rows[part]])
        there, accurate_lead = attacker.mixing(points, labels, weight)
        distance = (points - inputs).flatten(1).double().norm(dim=1).cpu().numpy()
        found.append((there, judge.verdict(points, labels, there, accurate_lead), distance))
        if progress:
            progress(min(start + batch_size, len(rows)), len(rows))
    return CertificateAttack(
        row=rows,
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

    def move(self, inputs: Tensor, labels: NDArray[np.int64], mixing_weight: Floats, reach: Floats) -> Tensor:
        """The end point of PGD with the smallest lead by votes of its own, over the restarts."""
        truth = torch.as_tensor(labels, device=inputs.device)
        radius = torch.as_tensor(reach, dtype=inputs.dtype, device=inputs.device)
        worst, smallest = inputs, np.full(len(inputs), np.inf)
        for _ in range(self.restarts):
            point = pgd(
                lambda x: margin(self.model(x), truth), inputs, norm="l2", attack_radius=radius, steps=self.steps,
                clip=None, generator=self.judge.generator,
            ).inputs  # fmt: skip
            weight, accurate_lead = self.mixing(point, labels, mixing_weight)
            draws = max(100, self.judge.votes // 10)
            lead = self.judge.leads(point, labels, weight, accurate_lead, draws).min(axis=1)
            less = torch.as_tensor(lead < smallest, device=inputs.device).view(-1, *[1] * (inputs.ndim - 1))
            worst, smallest = torch.where(less, point, worst), np.minimum(lead, smallest)
        return worst

    def mixing(self, points: Tensor, labels: NDArray[np.int64], mixing_weight: Floats) -> tuple[Floats, Floats]:
        """The certified weight, and the worst accurate model: it trails by 1 against every rival."""
        return mixing_weight, np.full((len(labels), 1), -1.0)
