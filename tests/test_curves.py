"""Certified accuracy: counting, intervals, exact steps."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from statsmodels.stats.proportion import proportion_confint

from certmix.certification.certify import Certificates
from certmix.curves import accuracy_interval, certified_accuracy, exact_steps
from certmix.errors import InvalidArgument
from certmix.rules import LinearRule

CERTIFICATES = Certificates(
    prediction=np.array([0, 1, 2, -1]),
    radius=np.array([[0.5, 0.2, 0.0, 0.0], [1.0, 0.7, 0.3, 0.0]]),
    rules=(LinearRule(0.8), LinearRule(1.0)),
    certifier="exact",
    sigma=0.5,
)


def test_right_positive_and_at_least_r():
    curve = certified_accuracy(CERTIFICATES, [0, 1, 0, 0], [0.0, 0.2, 0.5, 0.7, 0.71])
    assert curve.accuracy.tolist() == [[0.5, 0.5, 0.25, 0.0, 0.0], [0.5, 0.5, 0.5, 0.5, 0.25]]
    low, high = proportion_confint(2, 4, alpha=0.05, method="beta")
    assert (curve.lower[0, 0], curve.upper[0, 0]) == pytest.approx((low, high))
    assert curve.num_inputs == 4


def test_bad_arguments_are_named():
    with pytest.raises(InvalidArgument, match="labels must have shape"):
        certified_accuracy(CERTIFICATES, [0, 1], [0.0])
    with pytest.raises(InvalidArgument, match="radii must be >= 0"):
        certified_accuracy(CERTIFICATES, [0, 1, 0, 0], [-0.1])
    with pytest.raises(InvalidArgument, match="confidence must be in"):
        accuracy_interval([1], 2, 1.0)
    with pytest.raises(InvalidArgument, match="at least one input"):
        accuracy_interval([0], 0)


@given(st.lists(st.tuples(st.sampled_from([0.0, 0.1, 0.25, 0.5, 1.0]), st.booleans()), min_size=1, max_size=12))
def test_steps_equal_counting_everywhere(rows):
    radius, right = (np.array(column) for column in zip(*rows, strict=True))
    edges, accuracy = exact_steps(radius, right)
    assert edges[0] == 0
    for r in (0.0, 0.05, 0.1, 0.2, 0.25, 0.3, 0.5, 0.9, 1.0, 1.1):
        counted = (right & (radius > 0) & (radius >= r)).mean()
        step = np.searchsorted(edges, r, side="left")
        assert (accuracy[step] if step < len(edges) else 0.0) == pytest.approx(counted)
    assert (np.diff(accuracy) <= 0).all()
