"""Soft votes made from arrays of class probabilities, by an independent route: plain NumPy, one input after another."""

import numpy as np

from certmix.intervals.histograms import BINS, UNITS, Histograms, SoftVotes


def histogram(quantised):
    """Histograms of quantised values, shape (..., draws) -> (..., BINS)."""
    flat = quantised.reshape(-1, quantised.shape[-1])
    counts, sums = np.zeros((len(flat), BINS), dtype=np.int64), np.zeros((len(flat), BINS), dtype=np.int64)
    bins = ((flat + 2) * 64) // UNITS
    for row in range(len(flat)):
        counts[row] = np.bincount(bins[row], minlength=BINS)
        sums[row] = np.bincount(bins[row], weights=flat[row], minlength=BINS).astype(np.int64)
    shape = (*quantised.shape[:-1], BINS)
    return Histograms(counts.reshape(shape), sums.reshape(shape))


def values_histogram(values):
    """Histograms of values rounded down, shape (..., draws) -> (..., BINS)."""
    return histogram(np.maximum(np.floor(values * UNITS).astype(np.int64) - 1, 0))


def soft_votes(selection, estimation):
    """SoftVotes of probabilities, each of shape (inputs, draws, classes)."""
    classes = selection.shape[2]
    top = np.floor(selection * UNITS).sum(axis=1).argmax(axis=1)
    rivals = np.array([[i for i in range(classes) if i != y] for y in top])
    stages = []
    for drawn in (selection, estimation):
        y = np.take_along_axis(drawn, top[:, None, None], axis=2)
        others = np.take_along_axis(drawn, rivals[:, None, :], axis=2)
        down = np.maximum(np.floor(y * UNITS).astype(np.int64) - 1, 0)
        up = np.minimum(np.ceil(others * UNITS).astype(np.int64), UNITS)
        apart = np.maximum(np.floor((1 + y - others) * (UNITS / 2)).astype(np.int64) - 1, 0)
        stages.append(histogram(np.concatenate([down, up, apart], axis=2).transpose(0, 2, 1)))
    return SoftVotes(top, rivals, *stages)


def pack(votes, row):
    """One input's histograms as they are stored: stage, variable, bin, (count, sum), flattened."""
    stages = [np.stack([h.counts[row], h.sums[row]], axis=-1) for h in (votes.selection, votes.estimation)]
    return np.stack(stages).reshape(-1)
