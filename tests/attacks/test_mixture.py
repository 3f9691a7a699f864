"""Figure 4 on digits: the mixture's accuracy under attack rises past weight 1/2, and attacks on the mixture are strongest."""

import numpy as np
import pytest

from certmix.attacks import attack_mixture
from certmix.errors import InvalidArgument


@pytest.fixture(scope="module")
def sweep(accurate, robust, digits):
    return attack_mixture(
        accurate, robust, *digits, mixing_weight=[0.0, 0.3, 0.5, 0.7, 0.8, 1.0], norm="linf", attack_radius=0.2
    )


def test_attacked_accuracy_rises_past_one_half(sweep):
    mix = dict(zip(sweep.mixing_weight.tolist(), sweep.accuracy("mix"), strict=True))
    assert mix[1.0] - mix[0.5] > 0.25
    assert mix[1.0] - mix[0.5] > 2 * (mix[0.5] - mix[0.0])
    assert (sweep.accuracy("clean") > 0.9).all()


def test_transfer_attacks_are_the_weaker_ones_above(sweep):
    above = sweep.mixing_weight > 0.55
    below = sweep.mixing_weight < 1.0
    assert (sweep.accuracy("mix") < sweep.accuracy("std"))[above].all()
    assert (sweep.accuracy("mix") < sweep.accuracy("rob"))[below].all()


def test_the_ends_are_the_two_models(sweep, accurate, robust, digits):
    inputs, labels = digits
    for position, model in ((0, accurate), (-1, robust)):
        np.testing.assert_array_equal(sweep.right["clean"][position], (model(inputs).argmax(dim=1) == labels).numpy())
    assert (sweep.accuracy("worst") <= np.min([sweep.accuracy(name) for name in sweep.right], axis=0)).all()


def test_bad_input_is_named(accurate, robust, digits):
    with pytest.raises(InvalidArgument, match="attack must be one of std, rob, mix, auto, got 'fgsm'"):
        attack_mixture(accurate, robust, *digits, mixing_weight=[0.5], norm="l2", attack_radius=1.0, attacks=["fgsm"])
    with pytest.raises(InvalidArgument, match="losses must name at least one loss"):
        attack_mixture(accurate, robust, *digits, mixing_weight=[0.5], norm="l2", attack_radius=1.0, losses=[])


def test_cross_entropy_alone_overrates_the_mixture(accurate, robust, digits):
    how = {"mixing_weight": [0.8], "norm": "linf", "attack_radius": 0.15, "attacks": ["mix"]}
    both = attack_mixture(accurate, robust, *digits, **how)
    alone = attack_mixture(accurate, robust, *digits, losses=["cross-entropy"], **how)
    assert (both.right["mix"] <= alone.right["mix"]).all()
    assert both.accuracy("mix")[0] < alone.accuracy("mix")[0] - 0.01
