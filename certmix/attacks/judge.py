"""One verdict on attacked certificates, fixed or adaptive: what fresh votes leave of the certified class's lead."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from certmix.attacks.smoothed import count_votes
from certmix.errors import InvalidArgument, need_at_least
from certmix.intervals import clopper_pearson_lower, clopper_pearson_upper
from certmix.rules import LinearRule, Rule, ThresholdRule

CONFIRMATION = 10  # times as many draws decide where the first ones speak against a certificate
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Stakes:
    """What the certified class must lead by, one row per point; h's votes decide the rest.

    Its lead over class i is (1 - a) (g_y - g_i) + a (h_y - h_i), and over the threshold h_y - c.

    Attributes:
        mixing_weight: a, shape (batch,).
        accurate_lead: g_y - g_i, shape (batch, classes) or (batch, 1).
        threshold: c, shape (batch,); minus infinity where there is none.
    """

    mixing_weight: Floats
    accurate_lead: Floats
    threshold: Floats

    def leads(self, share: Floats, labels: NDArray[np.int64]) -> Floats:
        """Leads over every class and, last, over the threshold, shape (batch, classes + 1); infinite over itself.

        Args:
            share: h's vote shares, shape (batch, classes).
            labels: certified classes y, shape (batch,).
        """
        rows, weight = np.arange(len(labels)), self.mixing_weight[:, None]
        own = share[rows, labels][:, None]
        lead = (1.0 - weight) * self.accurate_lead + weight * (own - share)
        lead[rows, labels] = np.inf
        return np.hstack([lead, own - self.threshold[:, None]])

    def row(self, row: int) -> "Stakes":
        """Those of one point."""
        at = slice(row, row + 1)
        return Stakes(self.mixing_weight[at], self.accurate_lead[at], self.threshold[at])


def worst_stakes(rules: Sequence[Rule]) -> Stakes:
    """What each rule needs for the worst accurate model there is, one rule per point.

    Eq. 5: g is one-hot on the rival, and the lead a (h_y - h_i) - (1 - a) (Lemma 3.2 is tight). The threshold: g names
    another class wherever h does not keep its own, and the lead is min(h_y - c, h_y - h_i).
    Raises: InvalidArgument: a rule of another kind.
    """
    found = []
    for rule in rules:
        if isinstance(rule, LinearRule):
            found.append((rule.mixing_weight, -1.0, -np.inf))
        elif isinstance(rule, ThresholdRule):
            found.append((1.0, 0.0, rule.threshold))
        else:
            raise InvalidArgument(f"rule must be a mixing weight or a threshold to be attacked, got {rule.label}.")
    weight, accurate_lead, threshold = np.array(found, dtype=np.float64).reshape(-1, 3).T
    return Stakes(weight, accurate_lead[:, None], threshold)


@dataclass(frozen=True)
class Verdict:
    """What was found at points inside certified balls.

    Attributes:
        lead: of the certified class over the nearest one, or over the threshold, shape (batch,); <= 0 = fooled.
        broken: whether it is fooled beyond doubt, shape (batch,), bool.
    """

    lead: Floats
    broken: NDArray[np.bool_]


@dataclass(frozen=True)
class Judge:
    """Decides by fresh votes what the mixture of g and the smoothed h says at a point.

    The first votes name what is nearest to the certified class, a rival or the threshold (`Stakes`); where they speak
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

    def leads(self, points: Tensor, labels: NDArray[np.int64], stakes: Stakes, draws: int | None = None) -> Floats:
        """The class's leads by fresh votes, shape (batch, classes + 1): see `Stakes.leads`.

        Args:
            points: shape (batch, ...).
            labels: certified classes y, shape (batch,).
            stakes: at the points.
            draws: votes per point; `votes` by default.
        """
        draws = draws or self.votes
        return stakes.leads(self.counts(points, draws) / draws, labels)

    def verdict(self, points: Tensor, labels: NDArray[np.int64], stakes: Stakes) -> Verdict:
        """Leads at the points and whether certificates are surely broken there; arguments as `leads`."""
        leads = self.leads(points, labels, stakes)
        nearest, lead = leads.argmin(axis=1), leads.min(axis=1)
        broken = np.zeros(len(labels), dtype=bool)
        draws = CONFIRMATION * self.votes
        for row in np.flatnonzero(lead <= 0).tolist():
            counts, label, rival, own = (
                self.counts(points[row : row + 1], draws),
                labels[row],
                nearest[row],
                stakes.row(row),
            )
            lead[row] = own.leads(counts / draws, labels[row : row + 1])[0, rival]
            share = clopper_pearson_lower(counts, draws, self.significance)
            share[0, label] = clopper_pearson_upper(counts[0, label], draws, self.significance)
            broken[row] = own.leads(share, labels[row : row + 1])[0, rival] <= 0
        return Verdict(lead, broken)
