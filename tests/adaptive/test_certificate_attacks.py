"""Attack D breaks no certificate at the floor; a false certificate is shouted; the judge sees g and the gate."""

import numpy as np
import pytest
import torch

import certmix
from certmix.adaptive.certificate_attacks import attack_adaptive_certificates
from certmix.adaptive.certification import certify_adaptive
from certmix.adaptive.evaluation import measure_gate
from certmix.adaptive.mixture import AdaptiveMixture
from certmix.attacks.certificates import CertificateBroken
from certmix.datasets import Subset
from certmix.errors import InvalidArgument
from certmix.training.train import train

SIGMA = 0.3


def test_attack_d_breaks_no_certificate_and_a_false_certificate_is_shouted():
    data = certmix.load_dataset("digits", split="train", max=300)
    test = certmix.load_dataset("digits", max=20)
    torch.manual_seed(0)
    mixture = AdaptiveMixture(
        accurate=train(data, epochs=15), robust=train(data, epochs=12, sigma=SIGMA), input_shape=(1, 8, 8),
        gate_range=(0.7, 0.95),
    ).eval()  # fmt: skip
    drawn = certmix.sample(mixture.robust, test, accurate=mixture.accurate, sigma=SIGMA, num_estimation=1000, seed=1)
    made = certify_adaptive(drawn, measure_gate(mixture, test)).certificates
    how = {"sigma": SIGMA, "grid_levels": 16, "strong_steps": 10, "draws": 8, "votes": 1000}
    found = attack_adaptive_certificates(mixture, test, made.prediction, made.radius[0], batch_size=7, **how)
    assert len(found.row) == (made.radius[0] > 0).sum() > 5
    assert not found.broken.any()
    assert (found.mixing_weight >= mixture.floor).all()
    assert (found.distance <= found.radius).all()
    found.check()
    wrong = attack_adaptive_certificates(mixture, test, made.prediction, np.full(20, 3.0), **how)
    assert wrong.broken.any()
    with pytest.raises(
        CertificateBroken, match=r"CERTIFICATES BROKEN by attacks inside their radius; the first is input"
    ):
        wrong.check()
    part = Subset(test, range(5))
    for change, message in (
        ({}, r"radius must have shape \(rules, inputs\) = \(1, 5\)"),
        ({"restarts": 0}, "restarts must be >= 1, got 0"),
        ({"votes": 0}, "votes must be >= 1, got 0"),
        ({"setting": "E"}, "attack setting must be one of A, B, C, D, got 'E'"),
    ):
        with pytest.raises(InvalidArgument, match=message):
            attack_adaptive_certificates(mixture, part, made.prediction, made.radius[0], **{**how, **change})
    with pytest.raises(InvalidArgument, match=r"share_of_radius must be in \(0, 1\), got 1"):
        attack_adaptive_certificates(mixture, test, made.prediction, made.radius[0], share_of_radius=1.0, **how)
