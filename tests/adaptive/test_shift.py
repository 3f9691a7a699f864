"""The exact shift against a brute-force search, and the errors."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special

from certmix.adaptive.shift import calibrated_shift, check_target
from certmix.errors import InvalidArgument
from tests.strategies import seeded


def _accuracy(g, h, numbers, labels, shift, scale, low, high):
    weight = (low + (high - low) * special.expit(scale * numbers + shift))[:, None]
    mixed = (1 - weight) * g + weight * h
    own = mixed[np.arange(len(labels)), labels]
    mixed[np.arange(len(labels)), labels] = -1
    return float((own > mixed.max(axis=1)).mean())


@seeded
@given(seed=st.integers(0, 10**6), quantile=st.floats(0.0, 1.0), scale=st.sampled_from([0.5, 2.0, 4.0]))
def test_the_shift_is_the_largest_that_meets_the_target(seed, quantile, scale):
    rng = np.random.default_rng(seed)
    inputs, low, high = 25, 0.3, 0.95
    g, h = rng.dirichlet(np.full(3, 0.4), inputs), rng.dirichlet(np.full(3, 0.4), inputs)
    labels, numbers = rng.integers(0, 3, inputs), rng.standard_normal(inputs)
    shifts = np.linspace(-12, 12, 241)
    reached = np.array([_accuracy(g, h, numbers, labels, s, scale, low, high) for s in shifts])
    target = float(np.quantile(reached, quantile, method="nearest"))
    found = calibrated_shift(g, h, numbers, labels, target=target, scale=scale, gate_range=(low, high))
    assert _accuracy(g, h, numbers, labels, found.value, scale, low, high) >= target - 1e-12
    assert found.clean_accuracy == pytest.approx(_accuracy(g, h, numbers, labels, found.value, scale, low, high))
    good = np.flatnonzero(reached >= target - 1e-12)
    # No shift of the grid beyond the found one does as well, but for the interval that the found one is the middle of.
    beyond = [s for s in shifts[good] if s > found.value + 1e-9]
    values = np.array([_accuracy(g, h, numbers, labels, s, scale, low, high) for s in beyond])
    if len(values):
        assert (values == values[0]).all()


def test_a_worked_example():
    # g right and h wrong on one input: the mixture is right while a < 1/2; h right, g wrong on the other: while a > 1/2.
    g, h = np.array([[1.0, 0.0], [0.0, 1.0]]), np.array([[0.0, 1.0], [1.0, 0.0]])
    numbers = np.array([-1.0, 1.0])  # the network tells the two apart
    found = calibrated_shift(g, h, numbers, [0, 0], target=1.0, scale=1.0, gate_range=(0.0, 1.0))
    assert found.value == pytest.approx(0.0)  # right on both for shifts in (-1, 1): the middle
    assert found.clean_accuracy == 1.0
    assert found.gate == pytest.approx(special.expit([-1.0, 1.0]))
    half = calibrated_shift(g, h, numbers, [0, 0], target=0.5, scale=1.0, gate_range=(0.0, 1.0))
    assert half.value > 1.0


def test_targets_out_of_reach_name_the_best():
    g = h = np.array([[0.0, 1.0], [1.0, 0.0]])
    with pytest.raises(InvalidArgument, match=r"some shift reaches, got 0.9000: the best is 0.5000"):
        calibrated_shift(g, h, [0.0, 0.0], [0, 0], target=0.9, scale=1.0, gate_range=(0.5, 1.0))
    with pytest.raises(InvalidArgument, match=r"target must be in \[0, 1\]"):
        check_target(1.5)
