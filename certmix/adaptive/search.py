"""One search of an attack: objective and success from one pass through the model, over the inputs that still hold."""

from collections.abc import Callable

import torch
from torch import Tensor

# Points, and which rows they are of -> the model's outputs there, and the objective.
Aim = Callable[[Tensor, Tensor], tuple[Tensor, Tensor]]


class Search:
    """Objective and success of one search, from one pass through the model, over the rows that have not succeeded yet.

    Rows that have succeeded keep their best point: their objective is -inf from then on, and costs nothing. Made for `pgd`
    and `apgd`, which take `objective` and `succeeded` of the same points, and for one run of them.

    Args:
        aim: what is maximised, and the outputs that decide success.
        labels: true classes, shape (batch,).
    """

    def __init__(self, aim: Aim, labels: Tensor) -> None:
        self.aim, self.labels = aim, labels
        self._rows = torch.arange(len(labels), device=labels.device)
        self._seen: tuple[Tensor, Tensor] | None = None

    def objective(self, points: Tensor) -> Tensor:
        """Shape (batch,); what the model says of these points is kept for `succeeded`."""
        values, wrong = points.new_full((len(points),), -torch.inf), torch.ones_like(self.labels, dtype=torch.bool)
        if len(self._rows):
            outputs, found = self.aim(points[self._rows], self._rows)
            values = values.index_put((self._rows,), found)
            wrong[self._rows] = outputs.detach().argmax(dim=1) != self.labels[self._rows]
        self._seen = points.detach(), wrong
        return values

    def succeeded(self, points: Tensor) -> Tensor:
        """Whether the model is wrong there, or was at an earlier point, shape (batch,)."""
        if self._seen is None or not torch.equal(self._seen[0], points):
            with torch.no_grad():
                self.objective(points)
        assert self._seen is not None
        wrong = self._seen[1]
        self._rows = (~wrong).nonzero()[:, 0]
        return wrong
