"""Soft votes: histograms of class probabilities under noise, exact in integers, from which every soft bound comes.

A base classifier's probabilities are quantised to 2^-20 and counted in 65 bins, with the integer sum of each bin, so that
what is stored does not depend on order, batch or device. All roundings go to the safe side: the selected class and its
differences down, rivals up; p_top + p_rival <= 1 then holds for the quantised values too.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from certmix.tables import shapes_repr

UNITS = 1 << 20  # values are multiples of 1/UNITS
BINS = 65  # bin = floor((q + SHIFT) 64 / UNITS): the last one holds values that are 1 up to rounding
SHIFT = 2
MAX_RIVALS = 99  # beyond 100 classes: the leading rivals, then the maximum of the rest

_BIN = np.arange(BINS, dtype=np.int64)
LEFT = np.maximum(_BIN * (UNITS // 64) - SHIFT, 0)  # smallest and largest value of each bin, in units
RIGHT = np.minimum((_BIN + 1) * (UNITS // 64) - SHIFT - 1, UNITS)
THRESHOLDS = np.concatenate([[-1.0], 2.0 * LEFT[1:] / UNITS - 1.0])  # s_0 ... s_64 of a difference class - rival


@dataclass(frozen=True)
class Histograms:
    """Quantised values of one kind of variable: how many fell into each bin, and their sum.

    Attributes:
        counts: shape (..., BINS), int64.
        sums: of the values in units of 1/UNITS, shape (..., BINS), int64.
    """

    counts: NDArray[np.int64]
    sums: NDArray[np.int64]

    __repr__ = shapes_repr

    @property
    def total(self) -> NDArray[np.int64]:
        """Number of values, shape (...,)."""
        return np.asarray(self.counts.sum(axis=-1))

    @property
    def mean(self) -> NDArray[np.float64]:
        """Mean of the quantised values, shape (...,), in [0, 1]."""
        return np.asarray(self.sums.sum(axis=-1) / (np.maximum(self.total, 1) * float(UNITS)))

    def mirrored(self) -> "Histograms":
        """Histograms of 1 - value, on bins that are mirrored too; only for `edge_weights` and moments."""
        return _Mirrored(self.counts, self.sums)

    def edge_weights(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Each bin's values moved to its two ends with count and mean kept: (positions, weights), (ends,) and (..., ends).

        Moving mass apart keeps the mean and increases every convex function's average: variance grows, and the average
        of the log of a linear function, which betting uses, falls.
        """
        width = np.maximum(RIGHT - LEFT, 1).astype(np.float64)
        to_right = (self.sums - LEFT * self.counts) / width
        to_left = (RIGHT * self.counts - self.sums) / width
        positions = np.stack([LEFT, RIGHT], axis=-1).reshape(-1) / float(UNITS)
        return positions, np.stack([to_left, to_right], axis=-1).reshape(*self.counts.shape[:-1], 2 * BINS)


class _Mirrored(Histograms):
    @property
    def mean(self) -> NDArray[np.float64]:
        return np.asarray(1.0 - Histograms(self.counts, self.sums).mean)

    def edge_weights(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        positions, weights = Histograms(self.counts, self.sums).edge_weights()
        return 1.0 - positions, weights


@dataclass(frozen=True)
class SoftVotes:
    """Soft votes of every input: the class chosen from the selection draws, its rivals, and three kinds of histograms.

    Attributes:
        prediction: class with the largest mean probability over the selection draws, shape (inputs,), int64.
        rivals: class of each rival, -1 for the maximum over all classes that are not listed, shape (inputs, rivals).
        selection, estimation: histograms, shape (inputs, 1 + 2 rivals, BINS): the class's probability (rounded down),
            each rival's (rounded up), and each (1 + difference) / 2 (rounded down), in that order.
    """

    prediction: NDArray[np.int64]
    rivals: NDArray[np.int64]
    selection: Histograms
    estimation: Histograms

    __repr__ = shapes_repr

    def top(self, stage: str) -> Histograms:
        """The class's probability, shape (inputs, BINS)."""
        return self._part(stage, 0, 1, squeeze=True)

    def rival(self, stage: str) -> Histograms:
        """Each rival's probability, shape (inputs, rivals, BINS)."""
        return self._part(stage, 1, 1 + self.rivals.shape[1])

    def difference(self, stage: str) -> Histograms:
        """(1 + class - rival) / 2, shape (inputs, rivals, BINS)."""
        return self._part(stage, 1 + self.rivals.shape[1], None)

    def consistent(
        self, num_classes: int, selection: NDArray[np.int64], estimation: NDArray[np.int64]
    ) -> NDArray[np.bool_]:
        """Whether each row could come from so many draws: counts that add up, sums inside their bins, rivals in order.

        Args:
            num_classes: number of classes.
            selection, estimation: draws of each input, shape (inputs,).
        Returns: shape (inputs,).
        """
        listed = self.rivals[:, :-1] if num_rivals(num_classes) != num_classes - 1 else self.rivals
        good = (self.prediction >= 0) & (self.prediction < num_classes)
        good &= (listed >= 0).all(axis=1) & (listed < num_classes).all(axis=1) & (np.diff(listed) > 0).all(axis=1)
        good &= (listed != self.prediction[:, None]).all(axis=1)
        if listed.shape != self.rivals.shape:
            good &= self.rivals[:, -1] == -1
        for histograms, draws in ((self.selection, selection), (self.estimation, estimation)):
            counts, sums = histograms.counts, histograms.sums
            small = np.asarray(((counts >= 0) & (counts <= draws[:, None, None])).all(axis=(1, 2)))
            counts = np.where(small[:, None, None], counts, 0)
            good &= small & (counts.sum(axis=2) == draws[:, None]).all(axis=1)
            good &= ((LEFT * counts <= sums) & (sums <= RIGHT * counts)).all(axis=(1, 2))
        return np.asarray(good)

    def _part(self, stage: str, start: int, stop: int | None, *, squeeze: bool = False) -> Histograms:
        whole: Histograms = getattr(self, stage)
        counts, sums = whole.counts[:, start:stop], whole.sums[:, start:stop]
        return Histograms(counts[:, 0], sums[:, 0]) if squeeze else Histograms(counts, sums)

    def mean_probabilities(self, num_classes: int) -> NDArray[np.float64]:
        """Mean probability of every class over the estimation draws, shape (inputs, classes); unlisted rivals have 0."""
        means = np.zeros((len(self.prediction), num_classes + 1))
        np.put_along_axis(means, self.rivals, self.rival("estimation").mean, axis=1)  # -1 is the spare last column
        means[np.arange(len(means)), self.prediction] = self.top("estimation").mean
        return means[:, :num_classes]


def num_rivals(num_classes: int) -> int:
    """Rival variables that a run stores: all other classes up to 100, else the leading ones and the rest's maximum."""
    return num_classes - 1 if num_classes <= MAX_RIVALS + 1 else MAX_RIVALS + 1


def unpack(prediction: NDArray[np.int64], rivals: NDArray[np.int64], packed: NDArray[np.int64]) -> SoftVotes:
    """SoftVotes of packed rows, shape (inputs, values): stage, variable, bin, (count, sum), flattened."""
    table = packed.reshape(len(packed), 2, 1 + 2 * rivals.shape[1], BINS, 2)
    stages = [Histograms(table[:, stage, ..., 0], table[:, stage, ..., 1]) for stage in (0, 1)]
    return SoftVotes(prediction, rivals, *stages)
