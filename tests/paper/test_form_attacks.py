"""Trade-off curves of mixing forms: their ends, their score, and R = 1 against the gradient factors on probabilities."""

import numpy as np
import pytest

from certmix.datasets import Subset
from certmix.datasets.batches import stack
from certmix.errors import InvalidArgument
from certmix.paper.form_attacks import FormCurve, compare_mixing_forms


def test_curves_go_from_g_to_h_and_one_beats_gradients_on_probabilities(accurate, robust, dataset):
    part = Subset(dataset, range(80))
    inputs, labels = stack(part)
    forms = [("one", "probabilities"), ("own-gradient", "probabilities"), ("one", "logits")]
    curves = compare_mixing_forms(
        part,
        accurate=accurate,
        robust=robust,
        norm="linf",
        attack_radius=0.2,
        num_gammas=5,
        forms=forms,
        steps=5,
        batch_size=50,
    )
    for curve in curves:
        assert (curve.gamma[0], curve.gamma[-1]) == (0.0, np.inf)
        assert (np.diff(curve.gamma) >= 0).all()
        for position, model in ((0, accurate), (-1, robust)):
            assert curve.clean[position] == float((model(inputs).argmax(dim=1) == labels).double().mean())
        assert (curve.attacked <= curve.clean).all()
        assert curve.attacked[-1] > curve.attacked[0] + 0.2
    assert len({curve.gamma[2] for curve in curves}) == 3  # each form has its own gammas


def test_score_by_hand():
    curve = FormCurve("one", "logits", np.array([0, 1, np.inf]), np.array([0.9, 0.8, 0.6]), np.array([0.1, 0.5, 0.4]))
    assert curve.attacked_at(0.9) == pytest.approx(0.1)
    assert curve.attacked_at(0.85) == pytest.approx(0.3)
    assert curve.attacked_at(0.6) == curve.attacked_at(0.7) == pytest.approx(0.5)  # the point at 0.8 is better
    assert curve.attacked_at(0.95) == 0.0
    assert curve.score(0.8, 0.9) == pytest.approx(0.3)


def test_bad_input_is_named(accurate, robust, dataset):
    with pytest.raises(InvalidArgument, match="num_gammas must be >= 2, got 1"):
        compare_mixing_forms(dataset, accurate=accurate, robust=robust, norm="l2", attack_radius=0.1, num_gammas=1)
