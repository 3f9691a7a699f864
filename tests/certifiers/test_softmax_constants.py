"""The constants of probabilities against dense search over logits."""

import numpy as np
import pytest

from certmix.certifiers import softmax_lipschitz_constant
from certmix.errors import InvalidArgument


@pytest.mark.parametrize("classes", [2, 3, 10])
def test_no_softmax_gradient_is_longer_and_two_classes_attain_it(classes):
    rng = np.random.default_rng(0)
    h = rng.dirichlet(np.full(classes, 0.4), 20_000)
    h[0] = 0.0
    h[0, :2] = 0.5
    v = h[:, :1] * (np.eye(classes)[0] - h)
    assert np.linalg.norm(v, axis=1).max() == pytest.approx(softmax_lipschitz_constant(1.0), rel=1e-12)
    assert np.abs(v).sum(axis=1).max() == pytest.approx(softmax_lipschitz_constant(1.0, joint=False), rel=1e-12)
    assert (np.linalg.norm(v, axis=1) <= softmax_lipschitz_constant(1.0)).all()


def test_temperature_and_scale():
    assert softmax_lipschitz_constant(3.0, temperature=0.5) == pytest.approx(6 * softmax_lipschitz_constant(1.0))
    with pytest.raises(InvalidArgument, match="logit_lipschitz must be > 0"):
        softmax_lipschitz_constant(0.0)
    with pytest.raises(InvalidArgument, match="temperature must be > 0"):
        softmax_lipschitz_constant(1.0, temperature=-1.0)
