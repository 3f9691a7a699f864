"""No attack succeeds inside a certified radius; outside one it does, and is shouted."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

import certmix
from certmix.attacks.certificates import CertificateBroken, attack_certificates
from certmix.datasets import ArrayDataset, Subset
from certmix.errors import InvalidArgument
from certmix.rules import LinearRule, ThresholdRule

RULES = [LinearRule(0.7), LinearRule(1.0), ThresholdRule(0.3), ThresholdRule(0.65)]
NOTHING = ArrayDataset(np.zeros((2, 3)), [0, 1], num_classes=3)


@pytest.fixture(scope="module")
def certified(noisy):
    data = certmix.load_dataset("digits", split="test", max=25)
    statistics = certmix.sample(noisy, data, sigma=0.5, num_estimation=2000, seed=5)
    return noisy, data, certmix.certify(statistics, rules=RULES)


def _attack(certified, scale=1.0, **how):
    robust, data, certificates = certified
    return attack_certificates(
        robust, data, certificates.prediction, scale * certificates.radius, RULES, sigma=0.5, grid_levels=16,
        **{"restarts": 2, "steps": 20, "votes": 1000, **how},
    )  # fmt: skip


def test_no_attack_succeeds_inside_a_certified_radius(certified):
    result = _attack(certified)
    _, _, certificates = certified
    assert len(result.row) == (certificates.radius > 0).sum() > 25
    assert not result.broken.any()
    assert (result.lead > 0).all()
    result.check()
    assert (result.distance <= result.radius).all()
    assert np.median(result.distance / result.radius) > 0.95  # the attacks do use their budget


def test_the_size_of_a_batch_is_no_part_of_the_answer(certified):
    whole, parts = (_attack(certified, batch_size=size) for size in (300, 7))
    assert np.array_equal(whole.row, parts.row)
    assert np.array_equal(whole.broken, parts.broken)


def test_attacks_outside_succeed_and_are_shouted(certified):
    robust, data, certificates = certified
    few = replace(certificates, prediction=certificates.prediction[:6], radius=certificates.radius[:, :6], labels=None)
    result = _attack((robust, Subset(data, range(6)), few), scale=4.0)
    for rule in RULES:  # each kind of rule is refuted, and by more than its own fragile inputs
        assert result.broken[[own == rule for own in result.rule]].mean() > 0.5, rule.label
    with pytest.raises(
        CertificateBroken, match=r"CERTIFICATES BROKEN by attacks inside their radius; the first is input"
    ):
        result.check()


@pytest.mark.parametrize("rule, true_radius", [(LinearRule(1.0), 0.3), (ThresholdRule(0.65), 0.3 - 0.25 * 0.38532)])
def test_a_half_space_breaks_exactly_at_its_radius(rule, true_radius):
    class HalfSpace(nn.Module):
        def forward(self, inputs):
            return torch.stack([inputs[:, 0] * 30, 0 * inputs[:, 0]], dim=1)

    data, sigma = ArrayDataset(np.array([[0.3, 0.0]]), [0], num_classes=2), 0.25
    # At weight 1 the true radius is the distance; at threshold c it is less by sigma z(c).
    for radius, broken in ((0.9 * true_radius, False), (1.1 * true_radius, True)):
        found = attack_certificates(HalfSpace(), data, [0], [[radius]], [rule], sigma=sigma, restarts=1, steps=20)
        assert bool(found.broken[0]) == broken


def test_nothing_certified_nothing_attacked():
    found = attack_certificates(nn.Identity(), NOTHING, [0, 1], np.zeros((1, 2)), [LinearRule(0.8)], sigma=0.5)
    assert len(found.row) == 0
    found.check()


@pytest.mark.parametrize(
    "change, message",
    [
        ({"share_of_radius": 1.0}, r"share_of_radius must be in \(0, 1\), got 1.0; the certified ball is open"),
        ({"restarts": 0}, "restarts must be >= 1, got 0"),
        ({"steps": 0}, "steps must be >= 1, got 0"),
        ({"draws": 0}, "draws must be >= 1, got 0"),
        ({"votes": 0}, "votes must be >= 1, got 0"),
        ({"batch_size": 0}, "batch_size must be >= 1, got 0"),
    ],
)
def test_values_that_would_void_the_answer_are_refused(change, message):
    with pytest.raises(InvalidArgument, match=message):
        attack_certificates(nn.Identity(), NOTHING, [0, 1], np.zeros((1, 2)), [LinearRule(0.8)], sigma=0.5, **change)


def test_shapes_that_do_not_fit_are_named():
    with pytest.raises(InvalidArgument, match=r"radius must have shape \(rules, inputs\) = \(1, 2\)"):
        attack_certificates(nn.Identity(), NOTHING, [0, 1], np.zeros((1, 3)), [LinearRule(0.8)], sigma=0.5)
