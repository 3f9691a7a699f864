"""Stored histograms must be such as draws can leave."""

import numpy as np
import pytest

from certmix.intervals.histograms import BINS, LEFT, RIGHT, Histograms, SoftVotes

DRAWS, BIN = 5, 7


def _votes(edit=lambda counts, sums: None):
    counts = np.zeros((1, 5, BINS), dtype=np.int64)  # three classes: the class, two rivals, two differences
    counts[..., BIN] = DRAWS
    sums = counts * LEFT
    edit(counts, sums)
    whole = np.zeros((1, 5, BINS), dtype=np.int64)
    whole[..., 0] = DRAWS
    return SoftVotes(np.array([0]), np.array([[1, 2]]), Histograms(whole, whole * 0), Histograms(counts, sums))


def _consistent(votes):
    return votes.consistent(3, np.array([DRAWS]), np.array([DRAWS])).tolist()


def test_sums_may_be_anywhere_inside_their_bins():
    assert _consistent(_votes()) == [True]
    assert _consistent(_votes(lambda counts, sums: sums.__setitem__((0, 0, BIN), RIGHT[BIN] * DRAWS))) == [True]


@pytest.mark.parametrize("change", [LEFT[BIN] * DRAWS - 1, RIGHT[BIN] * DRAWS + 1])
def test_sums_outside_their_bins_are_no_draws(change):
    assert _consistent(_votes(lambda counts, sums: sums.__setitem__((0, 0, BIN), change))) == [False]


def test_a_sum_where_nothing_fell_is_no_draw():
    assert _consistent(_votes(lambda counts, sums: sums.__setitem__((0, 3, 0), 1))) == [False]
