"""The exact step functions against brute force: over 2,001 weights in rational arithmetic, over every threshold."""

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from certmix.clean_accuracy import clean_accuracy, right_weights, threshold_accuracy
from certmix.errors import InvalidArgument

GRID = [Fraction(j, 2000) for j in range(2001)]


@st.composite
def _scenes(draw):
    """One-hot g and small vote counts: ties abound."""
    classes, inputs = draw(st.integers(2, 4)), draw(st.integers(1, 6))
    g = [draw(st.integers(0, classes - 1)) for _ in range(inputs)]
    row = st.lists(st.integers(0, 5), min_size=classes, max_size=classes).filter(any)
    votes = [draw(row) for _ in range(inputs)]
    labels = [draw(st.integers(0, classes - 1)) for _ in range(inputs)]
    return np.eye(classes)[g], np.array(votes), np.array(labels)


def _is_right(g, votes, label, weight):
    """Exact rational arithmetic; a tie is wrong."""
    total = int(votes.sum())
    mixed = [(1 - weight) * int(a) + weight * Fraction(int(v), total) for a, v in zip(g, votes, strict=True)]
    return all(mixed[label] > value for i, value in enumerate(mixed) if i != label)


@settings(max_examples=25)
@given(_scenes())
def test_the_step_function_equals_brute_force_over_2001_weights(scene):
    g, votes, labels = scene
    curve = clean_accuracy(g, votes, labels)
    brute = [np.mean([_is_right(*row, weight) for row in zip(g, votes, labels, strict=True)]) for weight in GRID]
    assert curve([float(weight) for weight in GRID]).tolist() == pytest.approx(brute)


@settings(max_examples=60)
@given(st.integers(0, 2**32 - 1))
def test_soft_g_agrees_with_direct_evaluation(seed):
    rng = np.random.default_rng(seed)
    g, votes, labels = rng.dirichlet(np.ones(5), 8), rng.integers(0, 50, (8, 5)) + 1, rng.integers(0, 5, 8)
    weights = np.linspace(0, 1, 2001)
    mixed = (1 - weights)[:, None, None] * g + weights[:, None, None] * (votes / votes.sum(1, keepdims=True))
    own = np.take_along_axis(mixed, np.broadcast_to(labels, mixed.shape[:2])[:, :, None], axis=2)
    brute = ((mixed >= own).sum(axis=2) == 1).mean(axis=1)  # nothing else is as large: ties are wrong
    assert clean_accuracy(g, votes, labels)(weights) == pytest.approx(brute)


def test_intervals_of_single_inputs():
    # g is right and h wrong: right up to 1 / (1 + 0.6); the other way round: right above it.
    low, high = right_weights([[1, 0], [0, 1], [0, 1], [1, 0]], [[2, 8], [8, 2], [2, 8], [8, 2]], [0, 0, 0, 0])
    assert (low[0], high[0]) == (-1.0, pytest.approx(0.625))
    assert (low[1], high[1]) == (pytest.approx(0.625), 2.0)
    assert low[2] >= high[2]  # both wrong: no weight helps
    assert (low[3], high[3]) == (-1.0, 2.0)


@given(_scenes(), st.floats(0, 1))
def test_the_chosen_weights_reach_the_target_and_nothing_larger_does(scene, target):
    curve = clean_accuracy(*scene)
    best = max(curve.at.max(), curve.after.max())
    if best < target - 1e-12:
        with pytest.raises(InvalidArgument, match="target clean accuracy must be one that some weight reaches"):
            curve.best(target)
        return
    weight = curve.best(target)
    assert curve(weight) >= target - 1e-12
    above = np.concatenate([np.linspace(weight, 1, 101)[1:], curve.breakpoints[curve.breakpoints > weight]])
    above = above[above > weight]
    assert (curve(above) < target - 1e-12).all()
    matched = curve.matched(target)
    reached = np.concatenate([curve.at, curve.after])
    assert curve(matched) == pytest.approx(reached[reached >= target - 1e-12].min())
    assert matched <= weight


@settings(max_examples=60)
@given(_scenes(), st.booleans())
def test_the_threshold_step_function_equals_brute_force(scene, deferring):
    """At 201 thresholds, at every share that occurs, and one float below it."""
    g, votes, labels = scene
    draws = votes.sum(axis=1) + 3 if deferring else None
    curve = threshold_accuracy(g, votes, labels, draws=draws)
    shares = votes / (votes.sum(axis=1) if draws is None else draws)[:, None]
    at = np.concatenate([np.linspace(0, 0.995, 200), shares[shares < 1], np.nextafter(shares[shares > 0], 0)])

    def right(row, c):
        decides = shares[row] if shares[row].max() > c else g[row]
        return decides[labels[row]] == decides.max() and (decides == decides.max()).sum() == 1

    assert curve(at).tolist() == pytest.approx([np.mean([right(row, c) for row in range(len(labels))]) for c in at])


@given(_scenes(), st.floats(0, 1))
def test_the_chosen_thresholds_reach_the_target_and_nothing_smaller_does(scene, target):
    curve = threshold_accuracy(*scene)
    reached = curve.at[:-1][curve.at[:-1] >= target - 1e-12]  # at 1 itself nothing could be certified
    if not len(reached):
        with pytest.raises(InvalidArgument, match="target clean accuracy must be one that some threshold reaches"):
            curve.best(target)
        return
    smallest, matched = curve.best(target), curve.matched(target)
    assert 0 <= smallest <= matched < 1
    assert curve(smallest) >= target - 1e-12
    below = np.concatenate([np.linspace(0, smallest, 101)[:-1], curve.breakpoints[curve.breakpoints < smallest]])
    assert (curve(below[below < smallest]) < target - 1e-12).all()
    assert curve(matched) == pytest.approx(reached.min())


def test_a_threshold_worked_by_hand():
    """h is wrong at shares .6 and .8 where g is right, right at .7 where g is wrong; the fourth input is right by both."""
    g, labels = np.eye(2)[[0, 0, 1, 0]], [0, 0, 0, 0]
    curve = threshold_accuracy(g, [[4, 6], [2, 8], [7, 3], [9, 1]], labels)
    assert curve.breakpoints.tolist() == [0, 0.6, 0.7, 0.8, 1]
    assert curve([0, 0.59, 0.6, 0.69, 0.7, 0.79, 0.8, 1]).tolist() == [0.5, 0.5, 0.75, 0.75, 0.5, 0.5, 0.75, 0.75]
    assert (curve.best(0.75), curve.best(0.5), curve.matched(0.5), curve.matched(0.6)) == (0.6, 0.0, 0.0, 0.6)
