"""Figure 4 on digits: the mixture's accuracy under attack rises past weight 1/2, and attacks on the mixture are strongest."""

import numpy as np
import pytest

from certmix.attacks import attack_mixture
from certmix.datasets.batches import stack
from certmix.errors import InvalidArgument
from certmix.models import MixedClassifier


@pytest.fixture(scope="module")
def sweep(accurate, robust, dataset):
    return attack_mixture(
        dataset, accurate=accurate, robust=robust, mixing_weight=[0.0, 0.3, 0.5, 0.7, 0.8, 1.0], norm="linf",
        attack_radius=0.2, accurate_vote="softmax",
    )  # fmt: skip


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


def test_bad_input_is_named(accurate, robust, dataset):
    with pytest.raises(InvalidArgument, match="attack must be one of std, rob, mix, auto, got 'fgsm'"):
        attack_mixture(
            dataset,
            accurate=accurate,
            robust=robust,
            mixing_weight=[0.5],
            norm="l2",
            attack_radius=1.0,
            attacks=["fgsm"],
        )
    with pytest.raises(InvalidArgument, match="losses must name at least one loss"):
        attack_mixture(
            dataset, accurate=accurate, robust=robust, mixing_weight=[0.5], norm="l2", attack_radius=1.0, losses=[]
        )
    for name in ("restarts", "steps", "batch_size"):
        with pytest.raises(InvalidArgument, match=f"{name} must be >= 1, got 0"):
            attack_mixture(
                dataset,
                accurate=accurate,
                robust=robust,
                mixing_weight=[0.5],
                norm="l2",
                attack_radius=1.0,
                **{name: 0},
            )


def test_cross_entropy_alone_overrates_the_mixture(accurate, robust, dataset):
    how = {"mixing_weight": [0.8], "norm": "linf", "attack_radius": 0.15, "attacks": ["mix"],
           "accurate_vote": "softmax"}  # fmt: skip
    both = attack_mixture(dataset, accurate=accurate, robust=robust, **how)
    alone = attack_mixture(dataset, accurate=accurate, robust=robust, losses=["cross-entropy"], **how)
    assert (both.right["mix"] <= alone.right["mix"]).all()
    assert both.accuracy("mix")[0] < alone.accuracy("mix")[0] - 0.01


def test_g_votes_with_its_class_and_the_attack_climbs_its_softmax(accurate, robust, dataset):
    how = {"accurate": accurate, "robust": robust, "mixing_weight": [0.3, 0.8], "norm": "linf", "attack_radius": 0.15}
    found = attack_mixture(dataset, batch_size=70, **how)
    mixture = MixedClassifier(accurate=accurate, robust=robust, mixing_weight=0.8)
    inputs, labels = stack(dataset)
    assert np.array_equal(found.right["clean"][1], (mixture(inputs).argmax(dim=1) == labels).numpy())
    # Below 1/2 the mixture is g: an attack without gradients of g would leave it as right as the transferred one of h.
    assert found.accuracy("mix")[0] < found.accuracy("rob")[0] - 0.2
    assert found.accuracy("mix")[0] <= found.accuracy("std")[0] + 0.05
