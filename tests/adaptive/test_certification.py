"""Certificates at the floor: aligned with the draws, refused at 1/2, exact on the frontier."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

import certmix
from certmix.adaptive.certification import (
    adaptive_candidate,
    certify_adaptive,
    read_gate,
    write_gate,
)
from certmix.adaptive.evaluation import measure_gate
from certmix.adaptive.mixture import AdaptiveMixture
from certmix.adaptive.smoothed import SmoothedAdaptiveMixture
from certmix.errors import InvalidArgument, RunError
from certmix.rules import LinearRule
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
        accurate=train(data, epochs=15),
        robust=train(data, epochs=12, sigma=SIGMA),
        input_shape=(1, 8, 8),
        gate_range=(0.7, 0.95),
    ).eval()


@pytest.fixture(scope="module")
def statistics(mixture, test_data):
    return certmix.sample(
        mixture.robust, test_data, accurate=mixture.accurate, sigma=SIGMA, num_estimation=1000, seed=1
    )


def test_radii_are_those_of_the_floor_and_clean_accuracy_that_of_each_weight(mixture, test_data, statistics):
    weights = measure_gate(mixture, test_data, spec="m")
    for name in ("exact", "theorem-a1", "theorem-3.5"):
        made = certify_adaptive(statistics, weights, certifier=name)
        plain = certmix.certify(statistics, mixing_weight=mixture.floor, certifier=name)
        assert np.array_equal(made.certificates.radius, plain.radius)
    with torch.no_grad():
        a = mixture.gate(torch.stack([test_data[i][0] for i in range(40)])).double().numpy()
    assert made.gate == pytest.approx(a, abs=1e-6)
    shares = statistics.estimation_counts / statistics.estimation_counts.sum(axis=1, keepdims=True)
    mixed = (1 - a)[:, None] * weights.accurate_probabilities + a[:, None] * shares
    assert made.clean_accuracy == pytest.approx((mixed.argmax(axis=1) == statistics.labels).mean())


def test_a_larger_certificate_than_at_the_floor_would_be_wrong(statistics):
    # Radii grow with the weight, so that only the smallest weight an attacker can force is safe.
    radius = certmix.certify(statistics, mixing_weight=[0.7, 0.95]).radius
    assert (radius[0] <= radius[1]).all()
    assert (radius[0] < radius[1]).any()


def test_weights_follow_their_inputs_and_missing_ones_are_named(mixture, test_data, statistics, tmp_path):
    weights = measure_gate(mixture, test_data, spec="m.safetensors")
    order = np.random.default_rng(0).permutation(40)
    shuffled = _rows(weights, order)
    plain, moved = (certify_adaptive(statistics, w) for w in (weights, shuffled))
    assert np.array_equal(plain.clean_right, moved.clean_right)
    write_gate(tmp_path, shuffled)
    stored = read_gate(tmp_path)
    assert np.array_equal(stored.share, shuffled.share)
    assert (stored.floor, stored.ceiling, stored.mixture) == (weights.floor, weights.ceiling, weights.mixture)
    assert read_gate(tmp_path / "absent") is None
    (tmp_path / "adaptive.parquet").write_bytes(b"rubbish")
    with pytest.raises(RunError, match="adaptive.parquet is damaged"):
        read_gate(tmp_path)
    part = _rows(weights, slice(0, 5))
    with pytest.raises(InvalidArgument, match=f"got none for input {test_data.indices[5]}"):
        certify_adaptive(statistics, part)


def _rows(values, rows):
    return replace(
        values,
        indices=values.indices[rows],
        share=values.share[rows],
        accurate_probabilities=values.accurate_probabilities[rows],
    )


@pytest.mark.parametrize("floor", [0.4, 0.5])
def test_a_floor_that_certifies_nothing_is_refused(floor, test_data, statistics, mixture):
    low = replace(measure_gate(mixture, test_data), floor=floor)
    message = f"a_min of an adaptive mixture must be > 0.5 to certify anything, got {floor}"
    with pytest.raises(InvalidArgument, match=message):
        certify_adaptive(statistics, low)


def test_soft_votes_of_a_mixture_that_scales_h_are_refused(mixture, test_data):
    # Soft votes are means of softmax(h); the mixture's own h is softmax(s h): a certificate of one is none of the other.
    drawn = certmix.sample(
        mixture.robust, test_data, accurate=mixture.accurate, sigma=SIGMA, num_estimation=200, seed=1,
        votes="soft",
    )  # fmt: skip
    plain = measure_gate(mixture, test_data)
    assert plain.robust_scale == 1.0
    assert certify_adaptive(drawn, plain).certificates.promise.votes == "soft"
    scaled = replace(plain, robust_scale=0.25)
    for use in (certify_adaptive, adaptive_candidate):
        with pytest.raises(InvalidArgument, match="scales the robust model's logits by 0.25 must be certified by hard"):
            use(drawn, scaled)
    with_both = certmix.sample(
        mixture.robust, test_data, accurate=mixture.accurate, sigma=SIGMA, num_estimation=200, seed=1, votes="both"
    )
    certify_adaptive(with_both, scaled)  # by hard votes, which no scale changes
    with pytest.raises(InvalidArgument, match="must be certified by hard votes, got soft"):
        certify_adaptive(with_both, scaled, votes="soft")


def _weights_of(mixture, data, made={}):  # noqa: B006  (once: hypothesis calls this hundreds of times)
    return made.setdefault(id(mixture), measure_gate(mixture, data))


@settings(seeded, max_examples=60)
@given(floor=st.floats(0.51, 0.94))
def test_clean_accuracy_is_an_exact_step_function_of_the_floor(floor, mixture, test_data, statistics):
    weights = _weights_of(mixture, test_data)
    candidate = adaptive_candidate(statistics, weights)
    at = replace(weights, floor=floor)
    expected = certify_adaptive(statistics, at).clean_accuracy
    assert float(candidate.clean(LinearRule(1.0), np.arange(40))(floor)) == pytest.approx(expected)


def test_the_frontier_takes_adaptive_mixtures_as_points(mixture, test_data, statistics):
    weights = measure_gate(mixture, test_data)
    fixed = certmix.pareto.candidate_from_statistics(statistics)
    target = 0.7
    result = certmix.pareto_frontier(
        [fixed, adaptive_candidate(statistics, weights)], target=target, accurate_vote="softmax"
    )
    kinds = {pair.kind: pair for pair in result.matched}
    assert set(kinds) == {"fixed", "adaptive"}
    assert all(pair.clean_accuracy >= target for pair in kinds.values())
    assert kinds["adaptive"].rule.mixing_weight <= weights.ceiling
    assert len(result.standalone) == 1
    with pytest.raises(InvalidArgument, match="one run per sigma"):
        certmix.pareto_frontier([fixed, fixed], target=target)


def test_the_smoothed_mixture_is_equation_5_on_vote_shares(mixture):
    torch.manual_seed(0)
    x = torch.rand(3, 1, 8, 8)
    for hard in (True, False):
        smoothed = SmoothedAdaptiveMixture(mixture, sigma=SIGMA, draws=50, hard=hard, seed=3, batch_size=70)
        logits = mixture.robust((x[:, None] + smoothed.noise).flatten(0, 1)).view(3, 50, -1)
        shares = torch.nn.functional.one_hot(logits.argmax(-1), 10).float() if hard else logits.softmax(-1)
        a = mixture.gate(x)[:, None]
        expected = (1 - a) * mixture.accurate(x).softmax(1) + a * shares.mean(dim=1)
        assert torch.allclose(smoothed(x).exp(), expected, atol=1e-6)
    leaf = x.clone().requires_grad_(True)
    smoothed(leaf)[:, 0].sum().backward()
    assert leaf.grad.abs().sum() > 0
    with pytest.raises(InvalidArgument, match="sigma must be > 0"):
        SmoothedAdaptiveMixture(mixture, sigma=0.0, draws=5, hard=True)
    with pytest.raises(InvalidArgument, match="draws must be >= 1"):
        SmoothedAdaptiveMixture(mixture, sigma=0.1, draws=0, hard=True)
