"""Attack D on an adaptive mixture of a smoothed model, inside its certificates at a_min: no success is allowed."""

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from certmix.adaptive.attacks import AttackBudget, attack_adaptive
from certmix.adaptive.mixture import AdaptiveMixture
from certmix.adaptive.smoothed import SmoothedMixture
from certmix.attacks.certificates import CertificateBroken
from certmix.attacks.smoothed import count_votes
from certmix.errors import InvalidArgument
from certmix.intervals import clopper_pearson_lower, clopper_pearson_upper


@dataclass(frozen=True)
class AdaptiveCertificateAttack:
    """What attack D found inside certified radii, one row per attacked input.

    Attributes:
        row: which input, shape (attacked,), int64.
        radius: its certified radius, shape (attacked,), pixel units.
        mixing_weight: a(x) at the attacked point, shape (attacked,).
        margin: of the certified class in the mixture of g and h's vote shares there, shape (attacked,); <= 0 where fooled.
        broken: whether it is fooled beyond doubt, shape (attacked,), bool.
        inputs: the attacked points, shape (attacked, ...).
    """

    row: NDArray[np.int64]
    radius: NDArray[np.float64]
    mixing_weight: NDArray[np.float64]
    margin: NDArray[np.float64]
    broken: NDArray[np.bool_]
    inputs: Tensor

    def check(self) -> None:
        """Raise CertificateBroken where an attack succeeded."""
        if self.broken.any():
            first = int(np.flatnonzero(self.broken)[0])
            raise CertificateBroken(
                f"{int(self.broken.sum())} of {len(self.row)} CERTIFICATES BROKEN by attack D inside their radius; the "
                f"first is input {self.row[first]}, certified to {self.radius[first]:.4f}: margin {self.margin[first]:.4f} "
                f"at weight {self.mixing_weight[first]:.4f}."
            )


def attack_adaptive_certificates(
    mixture: AdaptiveMixture,
    inputs: Tensor,
    prediction: ArrayLike,
    radius: ArrayLike,
    *,
    sigma: float,
    grid_levels: int | None = None,
    setting: str = "D",
    share_of_radius: float = 0.99,
    strong_steps: int = 50,
    restarts: int = 1,
    draws: int = 16,
    votes: int = 10_000,
    significance: float = 1e-6,
    seed: int = 0,
    batch_size: int = 100,
) -> AdaptiveCertificateAttack:
    """Attack the mixture at a(x) inside every certified l2 ball, gradients averaged over noise, judged by fresh votes.

    The attack sees the mean softmax of h on fixed noise draws, g, and a(x); the judge counts votes of h, as certificates
    do. Where the votes do not favour the certified class, ten times as many decide: `broken` means that Clopper-Pearson
    bounds at `significance` each leave no doubt.

    Args:
        mixture: g, h (the base that is smoothed) and a(x), with the floor that was certified.
        inputs: clean inputs, shape (inputs, ...).
        prediction: certified classes, shape (inputs,).
        radius: certified radii, shape (inputs,), pixel units; 0 = nothing to attack.
        sigma: standard deviation of the noise.
        grid_levels: of integer noise; see `count_votes`.
        setting: "A", "B", "C" or "D".
        share_of_radius: attacks go to this share of it, in (0, 1).
        strong_steps, restarts: of each APGD run.
        draws: noise draws of the attacked stand-in.
        votes: fresh draws that judge a point.
        significance: of a broken certificate.
        seed: of starts and noise.
        batch_size: inputs attacked at once.
    Raises: InvalidArgument: shapes that do not fit, or a value out of range.
    """
    classes, radii = np.asarray(prediction, dtype=np.int64), np.asarray(radius, dtype=np.float64)
    if radii.shape != (len(inputs),) or classes.shape != (len(inputs),):
        raise InvalidArgument(
            f"prediction and radius must have shape (inputs,) = ({len(inputs)},), got {classes.shape} and {radii.shape}."
        )
    if not 0.0 < share_of_radius < 1.0:
        raise InvalidArgument(f"share_of_radius must be in (0, 1), got {share_of_radius}; the certified ball is open.")
    rows = np.flatnonzero(radii > 0)
    stand_in = SmoothedMixture(mixture, sigma=sigma, draws=draws, hard=False, seed=seed).eval()
    judge = _Judge(mixture, sigma, grid_levels, votes, significance, torch.Generator().manual_seed(seed))
    budget = AttackBudget("l2", 0.0, strong_steps=strong_steps, restarts=restarts)
    parts: list[tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_], Tensor]] = []
    for chunk in np.split(rows, range(batch_size, len(rows), batch_size)):
        x, y = inputs[chunk], torch.as_tensor(classes[chunk])
        reach = replace(budget, attack_radius=torch.as_tensor(share_of_radius * radii[chunk], dtype=x.dtype))
        moved = attack_adaptive(stand_in, x, y, setting, reach, generator=judge.generator)
        parts.append((*judge.verdict(moved, classes[chunk]), moved))
    margin, weight, broken = (np.concatenate([part[k] for part in parts]) for k in range(3))
    return AdaptiveCertificateAttack(rows, radii[rows], weight, margin, broken, torch.cat([part[3] for part in parts]))


@dataclass(frozen=True)
class _Judge:
    """Decides by fresh votes what the mixture of g and the smoothed h says at a point."""

    mixture: AdaptiveMixture
    sigma: float
    grid_levels: int | None
    votes: int
    significance: float
    generator: torch.Generator

    def verdict(
        self, points: Tensor, labels: NDArray[np.int64]
    ) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.bool_]]:
        """Margins of the mixture, weights a(x), and whether the mixture is surely fooled, shape (batch,) each."""
        with torch.no_grad():
            accurate = self.mixture.base_outputs(points)[0].double().numpy()
            weight = self.mixture.mixing_weight(points).double().numpy()
        counts = self._count(points, self.votes)
        margin = np.array([self._margins(g, a, c, y).min() for g, a, c, y in zip(accurate, weight, counts, labels)])  # noqa: B905
        broken = np.zeros(len(labels), dtype=bool)
        for row in np.flatnonzero(margin <= 0):
            again = self._count(points[row : row + 1], 10 * self.votes)[0]
            found = self._margins(accurate[row], weight[row], again, labels[row])
            margin[row] = found.min()
            rival = int(found.argmin())
            draws = 10 * self.votes
            top = float(clopper_pearson_upper(again[labels[row]], draws, self.significance))
            other = float(clopper_pearson_lower(again[rival], draws, self.significance))
            from_g = accurate[row, labels[row]] - accurate[row, rival]
            broken[row] = (1.0 - weight[row]) * from_g + weight[row] * (top - other) <= 0
        return margin, weight, broken

    def _count(self, points: Tensor, draws: int) -> NDArray[np.int64]:
        counts = count_votes(
            self.mixture.robust,
            points,
            sigma=self.sigma,
            draws=draws,
            generator=self.generator,
            grid_levels=self.grid_levels,
        )
        return np.asarray(counts.numpy())

    @staticmethod
    def _margins(
        accurate: NDArray[np.float64], weight: float, counts: NDArray[np.int64], label: int
    ) -> NDArray[np.float64]:
        """The certified class's lead over every class, shape (classes,); infinite over itself."""
        mixed = (1.0 - weight) * accurate + weight * counts / counts.sum()
        lead: NDArray[np.float64] = mixed[label] - mixed
        lead[label] = np.inf
        return lead
