"""Columns beside certified accuracy: each is a count that can be made by hand."""

import numpy as np
import pytest

from certmix.certification.bounds import bound_probabilities
from certmix.certification.certify import certify
from certmix.runs.store import Statistics
from certmix.summary import RunSummary, summarise
from tests.records import manifest


def _statistics(accurate):
    counts = np.array([[1000, 0], [600, 400], [520, 480], [0, 998]])
    return Statistics(
        selection_counts=counts // 10, estimation_counts=counts, selection_invalid=np.zeros(4, int),
        estimation_invalid=np.array([0, 0, 0, 2]), labels=np.array([0, 0, 1, 1]), indices=np.arange(4),
        accurate_probabilities=accurate, seconds=np.array([0.1, 0.2, 0.3, 0.4]),
        estimation_deferred=np.zeros(4, int), manifest=manifest(num_selection=100),
    )  # fmt: skip


@pytest.mark.parametrize(("accurate", "clean"), [(None, (None, None)), (np.tile([0.1, 0.9], (4, 1)), (0.75, 0.75))])
def test_every_column(accurate, clean):
    statistics = _statistics(accurate)
    bounds = bound_probabilities(
        statistics.selection_counts, statistics.estimation_counts, sigma=0.5, invalid=statistics.estimation_invalid
    )
    one, mixed = summarise(statistics, certify(bounds, mixing_weight=[1.0, 0.8]))
    assert (
        one.clean_accuracy,
        mixed.clean_accuracy,
    ) == clean  # h is wrong at the third input, the mixture at the second
    assert (one.abstained, mixed.abstained) == (0.25, 0.5)  # 520 votes certify nothing, 600 not at weight 0.8
    assert one.draws == pytest.approx(1100)
    assert one.seconds == pytest.approx(0.25)


def test_cells_are_rounded_to_the_honest_side():
    assert RunSummary(2 / 3, 1 / 3, 1100.4, 0.01234).cells() == ["66.6", "33.4", "1100", "0.0123"]
    assert RunSummary(None, 0.0, 10, 2.0).cells() == ["", "0.0", "10", "2"]
    assert len(RunSummary.headers) == 4
