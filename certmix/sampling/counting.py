"""Counts votes on the device, in integers, without waiting for the host: hard votes, and histograms of soft ones."""

import torch

from certmix.intervals.confidence import least_confident
from certmix.intervals.histograms import BINS, MAX_RIVALS, SHIFT, UNITS, num_rivals
from certmix.sampling.planner import ESTIMATION, SELECTION


class VoteCounter:
    """Vote counts of several inputs at a time, one slot each.

    Args:
        slots: inputs that are counted at the same time.
        num_classes: number of classes.
        num_selection: selection draws per input.
        soft: count probabilities too; an input's estimation draws then need `choose` first.
        device: where the outputs are.
        confidence: count only draws whose class is this probable; the others are deferred, and counted nowhere.
    """

    def __init__(
        self,
        slots: int,
        num_classes: int,
        num_selection: int,
        *,
        soft: bool,
        device: torch.device,
        confidence: float | None = None,
    ) -> None:
        self.classes, self.soft = num_classes, soft
        self._least = None if confidence is None else least_confident(confidence)
        # The spare last slot takes the rows of a padded pass.
        self.hard = torch.zeros(slots + 1, 2, num_classes + 1, dtype=torch.int64, device=device)
        if soft:
            rivals = num_rivals(num_classes)
            self.top = torch.zeros(slots + 1, dtype=torch.int64, device=device)
            self.rivals = torch.zeros(slots + 1, rivals, dtype=torch.int64, device=device)
            shape = (slots + 1, 2, 1 + 2 * rivals, BINS)
            self.bin_counts = torch.zeros(shape, dtype=torch.int64, device=device)
            self.bin_sums = torch.zeros(shape, dtype=torch.int64, device=device)
            self._chosen_from = torch.zeros(slots + 1, num_selection, num_classes, device=device)

    def clear(self, slot: int) -> None:
        """Make a slot ready for another input."""
        for tensor in (self.hard, self.bin_counts, self.bin_sums) if self.soft else (self.hard,):
            tensor[slot].zero_()

    def count(self, logits: torch.Tensor, slot: torch.Tensor, stage: torch.Tensor) -> torch.Tensor:
        """Add the votes of one pass.

        Args:
            logits: shape (rows, classes), any float type.
            slot: whose draw each row is, shape (rows,), int64.
            stage: SELECTION or ESTIMATION of each row, shape (rows,), int64.
        Returns: class probabilities, float32, for `keep`; an empty tensor without soft votes. Rows that are not finite
            vote for no class, and have probability 1 on every rival and 0 on the selected class.
        """
        finite = (logits * 0).sum(dim=1) == 0  # infinities and NaN times 0 are NaN
        votes = torch.where(finite, logits.argmax(dim=1), self.classes)
        place = (slot * 2 + stage) * (self.classes + 1) + votes
        counted = torch.ones_like(place)
        if self._least is not None:
            largest = torch.softmax(logits.float(), dim=1).amax(dim=1)
            counted = torch.where(finite & (largest < self._least), 0, counted)
        self.hard.view(-1).scatter_add_(0, place, counted)
        if not self.soft:
            return logits[:0]
        probabilities = torch.softmax(logits.float(), dim=1)
        probabilities = torch.where(finite[:, None], probabilities, -1.0)  # a mark: see `_quantise`
        spare = torch.where(stage == ESTIMATION, slot, len(self.hard) - 1)
        self._add(probabilities, spare, ESTIMATION)
        return probabilities

    def keep(self, probabilities: torch.Tensor, slot: int, first_draw: int) -> None:
        """Remember selection draws of one input until `choose`."""
        self._chosen_from[slot, first_draw : first_draw + len(probabilities)] = probabilities

    def choose(self, slot: int) -> None:
        """Fix the class and the rivals from the remembered selection draws, and count their histograms."""
        drawn = self._chosen_from[slot]
        means = (drawn.clamp(min=0.0).double() * UNITS).floor().sum(dim=0)  # integers below 2^53: exact in any order
        top = means.argmax()
        self.top[slot] = top
        if self.rivals.shape[1] == self.classes - 1:
            others = torch.arange(self.classes - 1, device=drawn.device)
            self.rivals[slot] = others + (others >= top)
        else:
            leading = means.index_fill(0, top[None], -1.0).topk(MAX_RIVALS).indices
            self.rivals[slot, :MAX_RIVALS] = leading.sort().values
            self.rivals[slot, MAX_RIVALS] = -1
        where = torch.full((len(drawn),), slot, dtype=torch.int64, device=drawn.device)
        self._add(drawn, where, SELECTION)

    def _add(self, probabilities: torch.Tensor, slot: torch.Tensor, stage: int) -> None:
        quantised = self._quantise(probabilities, slot)
        variables = quantised.shape[1]
        bins = ((quantised + SHIFT) * 64) // UNITS
        first = (slot * 2 + stage) * variables
        place = (first[:, None] + torch.arange(variables, device=slot.device)) * BINS + bins
        self.bin_counts.view(-1).scatter_add_(0, place.view(-1), torch.ones_like(place.view(-1)))
        self.bin_sums.view(-1).scatter_add_(0, place.view(-1), quantised.view(-1))

    def _quantise(self, probabilities: torch.Tensor, slot: torch.Tensor) -> torch.Tensor:
        """The class (down), rivals (up) and (1 + differences) / 2 (down) in units, shape (rows, 1 + 2 rivals), int64."""
        rivals = self.rivals[slot]
        top = probabilities.gather(1, self.top[slot][:, None])
        against = probabilities.gather(1, rivals.clamp(min=0))
        if rivals.shape[1] != self.classes - 1:
            listed = torch.cat([rivals[:, :-1], self.top[slot][:, None]], dim=1)
            against[:, -1] = probabilities.scatter(1, listed, -1.0).amax(dim=1)
        invalid = top < 0
        against = torch.where(invalid, 1.0, against)
        top = torch.where(invalid, 0.0, top)
        # One unit less than floor makes up for float32: of the softmax's sum, and of the difference.
        down = ((top * UNITS).floor().long() - 1).clamp(min=0)
        up = (against * UNITS).ceil().long().clamp(max=UNITS)
        apart = (((1.0 + top - against) * (UNITS / 2)).floor().long() - 1).clamp(min=0)
        return torch.cat([down, up, apart], dim=1)
