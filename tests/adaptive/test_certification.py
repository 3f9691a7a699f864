"""Certificates at the floor: aligned with the draws, refused below 1/2, exact on the frontier, unbroken by attack D."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import certmix
from certmix.adaptive.certificate_attacks import attack_adaptive_certificates
from certmix.adaptive.certification import (
    AdaptiveWeights,
    adaptive_candidate,
    certify_adaptive,
    read_adaptive_weights,
    write_adaptive_weights,
)
from certmix.adaptive.evaluation import adaptive_weights
from certmix.adaptive.mixture import AdaptiveMixture
from certmix.adaptive.smoothed import SmoothedMixture
from certmix.attacks.certificates import CertificateBroken
from certmix.errors import InvalidArgument, RunError
from certmix.models import MixedClassifier
from certmix.training.train import train
from tests.strategies import seeded

SIGMA = 0.3


@pytest.fixture(scope="module")
def test_data():
    return certmix.load_dataset("digits", max=40)


@pytest.fixture(scope="module")
def mixture():
    data = certmix.load_dataset("digits", split="train", max=300)
    torch.manual_seed(0)
    return AdaptiveMixture(
        train(data, epochs=15), train(data, epochs=12, sigma=SIGMA), input_shape=(1, 8, 8), weight_range=(0.7, 0.95)
    ).eval()


@pytest.fixture(scope="module")
def statistics(mixture, test_data):
    return certmix.sample(
        mixture.robust, test_data, accurate=mixture.accurate, sigma=SIGMA, num_estimation=1000, seed=1
    )


def test_radii_are_those_of_the_floor_and_clean_accuracy_that_of_each_weight(mixture, test_data, statistics):
    weights = adaptive_weights(mixture, test_data, spec="m")
    for name in ("exact", "theorem-a1", "theorem-3.5"):
        made = certify_adaptive(statistics, weights, certifier=name)
        plain = certmix.certify(statistics, mixing_weight=mixture.floor, certifier=name)
        assert np.array_equal(made.certificates.radius, plain.radius)
    with torch.no_grad():
        a = mixture.mixing_weight(torch.stack([test_data[i][0] for i in range(40)])).double().numpy()
    assert made.mixing_weight == pytest.approx(a, abs=1e-6)
    shares = statistics.estimation_counts / statistics.estimation_counts.sum(axis=1, keepdims=True)
    mixed = (1 - a)[:, None] * weights.accurate_probabilities + a[:, None] * shares
    assert made.clean_accuracy == pytest.approx((mixed.argmax(axis=1) == statistics.labels).mean())


def test_a_larger_certificate_than_at_the_floor_would_be_wrong(statistics):
    # Radii grow with the weight, so that only the smallest weight an attacker can force is safe.
    radius = certmix.certify(statistics, mixing_weight=[0.7, 0.95]).radius
    assert (radius[0] <= radius[1]).all()
    assert (radius[0] < radius[1]).any()


def test_weights_follow_their_inputs_and_missing_ones_are_named(mixture, test_data, statistics, tmp_path):
    weights = adaptive_weights(mixture, test_data, spec="m.safetensors")
    order = np.random.default_rng(0).permutation(40)
    shuffled = AdaptiveWeights(
        weights.indices[order],
        weights.share[order],
        weights.accurate_probabilities[order],
        weights.floor,
        weights.ceiling,
        weights.mixture,
    )
    plain, moved = (certify_adaptive(statistics, w) for w in (weights, shuffled))
    assert np.array_equal(plain.clean_right, moved.clean_right)
    write_adaptive_weights(tmp_path, shuffled)
    stored = read_adaptive_weights(tmp_path)
    assert np.array_equal(stored.share, shuffled.share)
    assert (stored.floor, stored.ceiling, stored.mixture) == (weights.floor, weights.ceiling, weights.mixture)
    assert read_adaptive_weights(tmp_path / "absent") is None
    (tmp_path / "adaptive.parquet").write_bytes(b"rubbish")
    with pytest.raises(RunError, match="adaptive.parquet is damaged"):
        read_adaptive_weights(tmp_path)
    part = AdaptiveWeights(
        weights.indices[:5], weights.share[:5], weights.accurate_probabilities[:5], 0.7, 0.95, weights.mixture
    )
    with pytest.raises(InvalidArgument, match=f"got none for input {test_data.indices[5]}"):
        certify_adaptive(statistics, part)


def test_a_floor_below_one_half_is_refused(test_data, statistics, mixture):
    weights = adaptive_weights(mixture, test_data)
    low = AdaptiveWeights(weights.indices, weights.share, weights.accurate_probabilities, 0.4, 0.9, {})
    with pytest.raises(
        InvalidArgument, match=r"a_min of an adaptive mixture must be >= 0.5 to certify anything, got 0.4"
    ):
        certify_adaptive(statistics, low)


def _weights_of(mixture, data, made={}):  # noqa: B006  (once: hypothesis calls this hundreds of times)
    return made.setdefault(id(mixture), adaptive_weights(mixture, data))


@settings(seeded, max_examples=60)
@given(floor=st.floats(0.5, 0.94))
def test_clean_accuracy_is_an_exact_step_function_of_the_floor(floor, mixture, test_data, statistics):
    weights = _weights_of(mixture, test_data)
    candidate = adaptive_candidate(statistics, weights)
    at = AdaptiveWeights(weights.indices, weights.share, weights.accurate_probabilities, floor, weights.ceiling, {})
    expected = certify_adaptive(statistics, at).clean_accuracy
    assert float(candidate.clean("linear", np.arange(40))(floor)) == pytest.approx(expected)


def test_the_frontier_takes_adaptive_mixtures_as_points(mixture, test_data, statistics):
    weights = adaptive_weights(mixture, test_data)
    fixed = certmix.pareto.candidate_from_statistics(statistics)
    target = 0.7
    result = certmix.pareto_frontier(
        [fixed, adaptive_candidate(statistics, weights)], target=target, accurate_vote="softmax"
    )
    kinds = {pair.kind: pair for pair in result.matched}
    assert set(kinds) == {"fixed", "adaptive"}
    assert all(pair.clean_accuracy >= target for pair in kinds.values())
    assert kinds["adaptive"].rule.parameter <= weights.ceiling
    assert len(result.standalone) == 1
    with pytest.raises(InvalidArgument, match="one run per sigma"):
        certmix.pareto_frontier([fixed, fixed], target=target)


def test_attack_d_breaks_no_certificate_and_a_false_certificate_is_shouted(mixture, test_data, statistics):
    weights = adaptive_weights(mixture, test_data)
    made = certify_adaptive(statistics, weights).certificates
    x = torch.stack([test_data[i][0] for i in range(20)])
    how = {"sigma": SIGMA, "grid_levels": 16, "strong_steps": 10, "draws": 8, "votes": 1000}
    found = attack_adaptive_certificates(mixture, x, made.prediction[:20], made.radius[0, :20], **how)
    assert len(found.row) == (made.radius[0, :20] > 0).sum() > 5
    assert not found.broken.any()
    assert (found.mixing_weight >= mixture.floor).all()
    moved = (found.inputs - x[found.row]).flatten(1).norm(dim=1).numpy()
    assert (moved <= found.radius).all()
    found.check()
    wrong = attack_adaptive_certificates(mixture, x, made.prediction[:20], np.full(20, 3.0), **how)
    assert wrong.broken.any()
    with pytest.raises(
        CertificateBroken, match=r"CERTIFICATES BROKEN by attack D inside their radius; the first is input"
    ):
        wrong.check()
    with pytest.raises(InvalidArgument, match=r"prediction and radius must have shape \(inputs,\) = \(20,\)"):
        attack_adaptive_certificates(mixture, x, made.prediction, made.radius[0, :20], sigma=SIGMA)
    with pytest.raises(InvalidArgument, match=r"share_of_radius must be in \(0, 1\), got 1"):
        attack_adaptive_certificates(
            mixture, x, made.prediction[:20], made.radius[0, :20], sigma=SIGMA, share_of_radius=1.0
        )


def test_the_smoothed_mixture_is_equation_5_on_vote_shares(mixture):
    torch.manual_seed(0)
    x = torch.rand(3, 1, 8, 8)
    for hard in (True, False):
        smoothed = SmoothedMixture(mixture, sigma=SIGMA, draws=50, hard=hard, seed=3, batch_size=70)
        logits = mixture.robust((x[:, None] + smoothed.noise).flatten(0, 1)).view(3, 50, -1)
        shares = torch.nn.functional.one_hot(logits.argmax(-1), 10).float() if hard else logits.softmax(-1)
        a = mixture.mixing_weight(x)[:, None]
        expected = (1 - a) * mixture.accurate(x).softmax(1) + a * shares.mean(dim=1)
        assert torch.allclose(smoothed(x).exp(), expected, atol=1e-6)
    leaf = x.clone().requires_grad_(True)
    smoothed(leaf)[:, 0].sum().backward()
    assert leaf.grad.abs().sum() > 0
    with pytest.raises(InvalidArgument, match="sigma must be > 0"):
        SmoothedMixture(mixture, sigma=0.0, draws=5, hard=True)
    with pytest.raises(InvalidArgument, match="draws must be >= 1"):
        SmoothedMixture(mixture, sigma=0.1, draws=0, hard=True)


@seeded
@given(seed=st.integers(0, 10**6))
def test_theorem_4_1_the_oracle_is_right_wherever_either_model_is(seed):
    from certmix.adaptive.evaluation import Oracle

    torch.manual_seed(seed)
    inputs, classes = 30, int(torch.randint(2, 6, ()))
    labels = torch.randint(0, classes, (inputs,))
    g, h = (_Table(torch.randn(inputs, classes) * 3) for _ in range(2))
    x = torch.arange(inputs).float()[:, None]
    oracle = Oracle(g, h)
    either = (g(x).argmax(1) == labels) | (h(x).argmax(1) == labels)
    assert torch.equal(oracle.right(x, labels), either)
    # In Eq. 5's own numbers: the mixture at 0 is g and at 1 is h.
    for weight, model in ((0.0, g), (1.0, h)):
        assert torch.equal(MixedClassifier(g, h, weight)(x).argmax(1), model(x).argmax(1))


class _Table(torch.nn.Module):
    def __init__(self, logits):
        super().__init__()
        self.logits = logits

    def forward(self, inputs):
        return self.logits[inputs[:, 0].long()]
