"""No attack succeeds inside a certified radius; outside one it does, and is shouted."""

import numpy as np
import pytest
import torch
from torch import nn

import certmix
from certmix.attacks.certificates import CertificateBroken, attack_certificates
from certmix.datasets.batches import stack
from certmix.errors import InvalidArgument

WEIGHTS = [0.7, 1.0]


@pytest.fixture(scope="module")
def certified(noisy):
    data = certmix.load_dataset("digits", split="test", max=25)
    statistics = certmix.sample(noisy, data, sigma=0.5, num_estimation=2000, seed=5)
    return noisy, stack(data)[0], certmix.certify(statistics, mixing_weight=WEIGHTS)


def _attack(certified, scale=1.0, **how):
    robust, inputs, certificates = certified
    return attack_certificates(
        robust, inputs, certificates.prediction, scale * certificates.radius, WEIGHTS, sigma=0.5, grid_levels=16,
        **{"restarts": 2, "steps": 20, "votes": 1000, **how},
    )  # fmt: skip


def test_no_attack_succeeds_inside_a_certified_radius(certified):
    result = _attack(certified)
    _, inputs, certificates = certified
    assert len(result.row) == (certificates.radius > 0).sum() > 25
    assert not result.broken.any()
    assert (result.margin > result.required).all()
    result.check()
    moved = (result.inputs - inputs[result.row]).flatten(1).norm(dim=1).numpy()
    assert (moved <= result.radius).all()
    assert np.median(moved / result.radius) > 0.95  # the attacks do use their budget


def test_attacks_outside_succeed_and_are_shouted(certified):
    robust, inputs, certificates = certified
    few = certmix.Certificates(certificates.prediction[:6], certificates.radius[:, :6], np.array(WEIGHTS), "exact", 0.5)
    result = _attack((robust, inputs[:6], few), scale=4.0)
    assert result.broken.mean() > 0.5
    with pytest.raises(
        CertificateBroken, match=r"CERTIFICATES BROKEN by attacks inside their radius; the first is input"
    ):
        result.check()


def test_a_half_space_breaks_exactly_at_its_radius():
    class HalfSpace(nn.Module):
        def forward(self, inputs):
            return torch.stack([inputs[:, 0] * 30, 0 * inputs[:, 0]], dim=1)

    inputs, sigma = torch.tensor([[0.3, 0.0]]), 0.25
    for radius, broken in ((0.27, False), (0.33, True)):  # the true radius at weight 1 is the distance 0.3
        found = attack_certificates(HalfSpace(), inputs, [0], [[radius]], [1.0], sigma=sigma, restarts=1, steps=20)
        assert bool(found.broken[0]) == broken


def test_nothing_certified_nothing_attacked():
    found = attack_certificates(nn.Identity(), torch.zeros(2, 3), [0, 1], np.zeros((1, 2)), [0.8], sigma=0.5)
    assert len(found.row) == 0
    found.check()


def test_bad_input_is_named():
    inputs = torch.zeros(2, 3)
    with pytest.raises(InvalidArgument, match=r"radius must have shape \(weights, inputs\) = \(1, 2\)"):
        attack_certificates(nn.Identity(), inputs, [0, 1], np.zeros((1, 3)), [0.8], sigma=0.5)
    with pytest.raises(
        InvalidArgument, match=r"share_of_radius must be in \(0, 1\), got 1.0; the certified ball is open"
    ):
        attack_certificates(nn.Identity(), inputs, [0, 1], np.zeros((1, 2)), [0.8], sigma=0.5, share_of_radius=1.0)
