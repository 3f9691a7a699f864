"""Every certified input attacked inside its radius: one success would refute the certificate, and is an error."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor, nn

from certmix.attacks.losses import margin
from certmix.attacks.pgd import pgd
from certmix.attacks.smoothed import SmoothedClassifier, count_votes
from certmix.certifiers import required_margin
from certmix.errors import CertmixError, InvalidArgument
from certmix.intervals import clopper_pearson_lower, clopper_pearson_upper


class CertificateBroken(CertmixError):
    """An attack inside a certified radius succeeded: a defect of certmix, or the rare input whose draws misled it."""


@dataclass(frozen=True)
class CertificateAttack:
    """What the attacks inside certified radii found, one row per attacked certificate.

    Attributes:
        row: which input, shape (attacked,), int64.
        radius: the certified radius, shape (attacked,), pixel units.
        margin: vote share of the certified class less the largest other one at the worst point found, shape (attacked,).
        required: the margin that the certificate promises there: (1 - a) / a, shape (attacked,).
        broken: whether that promise fails beyond doubt (see `attack_certificates`), shape (attacked,), bool.
        inputs: the worst points, shape (attacked, ...).
    """

    row: NDArray[np.int64]
    radius: NDArray[np.float64]
    margin: NDArray[np.float64]
    required: NDArray[np.float64]
    broken: NDArray[np.bool_]
    inputs: Tensor

    def check(self) -> None:
        """Raise CertificateBroken where an attack succeeded."""
        if self.broken.any():
            first = int(np.flatnonzero(self.broken)[0])
            raise CertificateBroken(
                f"{int(self.broken.sum())} of {len(self.row)} CERTIFICATES BROKEN by attacks inside their radius; the "
                f"first is input {self.row[first]}, certified to {self.radius[first]:.4f}: margin "
                f"{self.margin[first]:.4f} at a point inside, {self.required[first]:.4f} promised."
            )


def attack_certificates(
    robust: nn.Module,
    inputs: Tensor,
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
    averaged over noise, and the worst end point of all restarts is judged by fresh votes. Where its margin is not above
    what is required, ten times as many fresh votes decide: `broken` means that Clopper-Pearson bounds at `significance`
    each leave no doubt.

    Args:
        robust: base classifier of h.
        inputs: clean inputs, shape (inputs, ...).
        prediction: certified classes, shape (inputs,).
        radius: certified radii, shape (weights, inputs), pixel units; 0 = nothing to attack.
        mixing_weight: shape (weights,).
        sigma: standard deviation of the noise, pixel units.
        grid_levels: of integer noise; see `count_votes`.
        share_of_radius: attacks go to this share of it, in (0, 1).
        restarts, steps: of PGD.
        draws: noise draws per gradient.
        votes: fresh draws that judge a point.
        significance: of a broken certificate.
        seed: of starts and noise.
        batch_size: certificates attacked at once.
        progress: called with (certificates attacked, in all).
    Returns: CertificateAttack.
    Raises: InvalidArgument: a value out of range, or shapes that do not fit.
    """
    classes, radii = np.asarray(prediction, dtype=np.int64), np.atleast_2d(np.asarray(radius, dtype=np.float64))
    needed = np.atleast_1d(required_margin(mixing_weight))
    if radii.shape != (len(needed), len(inputs)) or classes.shape != (len(inputs),):
        raise InvalidArgument(
            f"radius must have shape (weights, inputs) = ({len(needed)}, {len(inputs)}), and prediction (inputs,), got "
            f"{radii.shape} and {classes.shape}."
        )
    if not 0.0 < share_of_radius < 1.0:
        raise InvalidArgument(f"share_of_radius must be in (0, 1), got {share_of_radius}; the certified ball is open.")
    which, rows = np.nonzero(radii > 0)
    if not len(rows):
        nothing = np.empty(0)
        return CertificateAttack(rows, nothing, nothing, nothing, nothing.astype(bool), inputs[:0])
    generator = torch.Generator().manual_seed(seed)
    model = SmoothedClassifier(robust, sigma=sigma, draws=draws, seed=seed)
    judge = _Judge(robust, sigma, grid_levels, votes, significance, generator)
    margins, broken, points = [], [], []
    for part in np.split(np.arange(len(rows)), range(batch_size, len(rows), batch_size)):
        start, labels = inputs[rows[part]], torch.as_tensor(classes[rows[part]])
        reach = torch.as_tensor(share_of_radius * radii[which[part], rows[part]], dtype=inputs.dtype)
        worst = _worst_point(model, judge, start, labels, reach, restarts=restarts, steps=steps)
        found, doubtless = judge.verdict(worst, labels, needed[which[part]])
        margins.append(found)
        broken.append(doubtless)
        points.append(worst)
        if progress:
            progress(int(part[-1]) + 1, len(rows))
    return CertificateAttack(
        row=rows,
        radius=radii[which, rows],
        margin=np.concatenate(margins),
        required=needed[which],
        broken=np.concatenate(broken),
        inputs=torch.cat(points),
    )


def _worst_point(
    model: SmoothedClassifier,
    judge: "_Judge",
    start: Tensor,
    labels: Tensor,
    reach: Tensor,
    *,
    restarts: int,
    steps: int,
) -> Tensor:
    """The end point of PGD with the smallest vote margin, over the restarts."""
    worst, smallest = start, torch.full((len(start),), float("inf"), dtype=torch.float64)
    for _ in range(restarts):
        point = pgd(
            lambda x: margin(model(x), labels), start, norm="l2", attack_radius=reach, steps=steps, clip=None,
            generator=judge.generator,
        ).inputs  # fmt: skip
        found = judge.margin(point, labels, max(100, judge.votes // 10))
        worst = torch.where((found < smallest).view(-1, *[1] * (start.ndim - 1)), point, worst)
        smallest = torch.minimum(found, smallest)
    return worst


@dataclass(frozen=True)
class _Judge:
    """Decides by fresh votes what the smoothed classifier says at a point."""

    base: nn.Module
    sigma: float
    grid_levels: int | None
    votes: int
    significance: float
    generator: torch.Generator

    def count(self, points: Tensor, draws: int) -> Tensor:
        return count_votes(
            self.base, points, sigma=self.sigma, draws=draws, generator=self.generator, grid_levels=self.grid_levels
        )

    def margin(self, points: Tensor, labels: Tensor, draws: int) -> Tensor:
        return -margin(self.count(points, draws).double() / draws, labels)

    def verdict(
        self, points: Tensor, labels: Tensor, required: NDArray[np.float64]
    ) -> tuple[NDArray[np.float64], NDArray[np.bool_]]:
        """Vote margins, shape (batch,), and whether they are surely not above what is required."""
        found = self.margin(points, labels, self.votes).numpy()
        broken = np.zeros(len(found), dtype=bool)
        for row in np.flatnonzero(found <= required):
            draws = 10 * self.votes
            counts = self.count(points[row : row + 1], draws)[0].numpy()
            label = int(labels[row])
            rival = int(np.where(np.arange(len(counts)) == label, -1, counts).argmax())
            found[row] = (counts[label] - counts[rival]) / draws
            top = float(clopper_pearson_upper(counts[label], draws, self.significance))
            other = float(clopper_pearson_lower(counts[rival], draws, self.significance))
            broken[row] = top - other <= required[row]
        return found, broken
