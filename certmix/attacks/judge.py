"""One verdict on attacked certificates, fixed or adaptive: what fresh votes leave of the certified class's lead."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from certmix.attacks.smoothed import count_votes
from certmix.errors import InvalidArgument, need_at_least
from certmix.intervals import clopper_pearson_lower, clopper_pearson_upper

CONFIRMATION = 10  # times as many draws decide where the first ones speak against a certificate


@dataclass(frozen=True)
class Verdict:
    """What was found at points inside certified balls.

    Attributes:
        lead: of the certified class over the nearest one, in the mixture's probabilities, shape (batch,); <= 0 = fooled.
        broken: whether it is fooled beyond doubt, shape (batch,), bool.
    """

    lead: NDArray[np.float64]
    broken: NDArray[np.bool_]


@dataclass(frozen=True)
class Judge:
    """Decides by fresh votes what the mixture of g and the smoothed h says at a point.

    The class's lead over i is (1 - a) (g_y - g_i) + a (h_y - h_i). The first votes name the nearest rival; where they speak
    against the class, ten times as many that nobody has looked at decide between these two alone, so that nothing is
    chosen from the draws that it is judged by.
    Guarantee: a point whose true leads are all positive is called broken with probability at most 2 significance.

    Attributes:
        base: base classifier of h.
        sigma: standard deviation of the noise, pixel units.
        grid_levels: of integer noise; see `count_votes`.
        votes: fresh draws per point, >= 1.
        significance: of each Clopper-Pearson bound behind a broken certificate, in (0, 1).
        generator: of the noise.
    """

    base: nn.Module
    sigma: float
    grid_levels: int | None
    votes: int
    significance: float
    generator: torch.Generator

    def __post_init__(self) -> None:
        need_at_least(1, votes=self.votes)
        if not 0.0 < self.significance < 1.0:
            raise InvalidArgument(f"significance must be in (0, 1), got {self.significance}.")

    def counts(self, points: Tensor, draws: int) -> NDArray[np.int64]:
        """Fresh votes per class of h, shape (batch, classes)."""
        found = count_votes(
            self.base, points, sigma=self.sigma, draws=draws, generator=self.generator, grid_levels=self.grid_levels
        )
        return np.asarray(found.cpu().numpy())

    def leads(
        self,
        points: Tensor,
        labels: NDArray[np.int64],
        mixing_weight: NDArray[np.float64],
        accurate_lead: NDArray[np.float64],
        draws: int | None = None,
    ) -> NDArray[np.float64]:
        """The class's lead over every class by fresh votes, shape (batch, classes); infinite over itself.

        Args:
            points: shape (batch, ...).
            labels: certified classes y, shape (batch,).
            mixing_weight: a at the points, shape (batch,).
            accurate_lead: g_y - g_i at the points, shape (batch, classes), or (batch, 1): -1 for the worst accurate model.
            draws: votes per point; `votes` by default.
        """
        share = self.counts(points, draws or self.votes) / (draws or self.votes)
        rows, weight = np.arange(len(labels)), mixing_weight[:, None]
        lead = (1.0 - weight) * accurate_lead + weight * (share[rows, labels][:, None] - share)
        lead[rows, labels] = np.inf
        return np.asarray(lead)

    def verdict(
        self,
        points: Tensor,
        labels: NDArray[np.int64],
        mixing_weight: NDArray[np.float64],
        accurate_lead: NDArray[np.float64],
    ) -> Verdict:
        """Leads at the points and whether certificates are surely broken there; arguments as `leads`."""
        leads = self.leads(points, labels, mixing_weight, accurate_lead)
        nearest, lead = leads.argmin(axis=1), leads.min(axis=1)
        from_accurate = (1.0 - mixing_weight[:, None]) * np.broadcast_to(accurate_lead, leads.shape)
        broken = np.zeros(len(labels), dtype=bool)
        draws = CONFIRMATION * self.votes
        for row in np.flatnonzero(lead <= 0):
            label, rival, weight = labels[row], nearest[row], mixing_weight[row]
            counts = self.counts(points[row : row + 1], draws)[0]
            lead[row] = from_accurate[row, rival] + weight * (counts[label] - counts[rival]) / draws
            top = float(clopper_pearson_upper(counts[label], draws, self.significance))
            other = float(clopper_pearson_lower(counts[rival], draws, self.significance))
            broken[row] = from_accurate[row, rival] + weight * (top - other) <= 0
        return Verdict(lead, broken)
