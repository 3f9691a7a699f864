"""From counts to radii against 50-digit arithmetic of its own, and replays that notice one vote.

A new sample of counts each day: what fails is named with its seed. CERTMIX_POINTS sets how many.
"""

import datetime
import os
from dataclasses import replace

import numpy as np
import pytest
import torch

import certmix
from certmix.certification.bounds import bound_probabilities
from certmix.certifiers import CERTIFIERS
from certmix.datasets import ArrayDataset
from certmix.errors import InvalidArgument
from certmix.promise import INTERVALS, Promise
from certmix.rules import ThresholdRule
from certmix.verification.formulas import bounds_of_counts, certifies
from certmix.verification.recompute import check_certificates
from certmix.verification.redraw import Verification, redraw

FORMULAS = ("exact", "theorem-a1", "theorem-3.5", "theorem-3.5-paper")


SEED = datetime.date.today().toordinal()


def _random_votes(count):
    """(votes with the selected class first, failure probability, weight), many of them at the edges."""
    rng = np.random.default_rng(SEED)
    for i in range(count):
        n = 100_000 if i % 100 == 0 else int(10 ** rng.uniform(1.5, 4.0))
        misses = int(10 ** rng.uniform(0, np.log10(n + 1))) - 1 if rng.random() < 0.7 else int(rng.integers(0, n + 1))
        rivals = rng.multinomial(misses, rng.dirichlet(np.full(int(rng.integers(1, 10)), rng.choice([0.1, 1.0, 10.0]))))
        weight = float(rng.choice([0.5, 1.0])) if rng.random() < 0.15 else float(rng.uniform(0.5, 1))
        yield np.append(n - misses, rivals), float(10 ** rng.uniform(-6, -1)), weight


@pytest.mark.slow
@pytest.mark.parametrize("interval", INTERVALS)
def test_no_radius_from_counts_exceeds_50_digit_arithmetic(interval):
    points = int(os.environ.get("CERTMIX_POINTS", "900")) // (1 if interval == "pair" else 4)
    positive = dict.fromkeys(FORMULAS, 0)
    for votes, err, weight in _random_votes(points):
        selection = np.eye(len(votes), dtype=np.int64)[:1]
        bounds = bound_probabilities(selection, votes[None], sigma=1.0, failure_probability=err, interval=interval)
        truth = bounds_of_counts(
            int(votes[0]), int(votes[1:].max()), int(votes.sum()), err, Promise(err, interval).share
        )
        for name in FORMULAS:
            radius = float(CERTIFIERS[name].radius(bounds.top_lower, bounds.rival_upper, weight, 1.0)[0])
            if radius > 0:
                positive[name] += 1
                assert certifies(name, truth, weight, radius), (SEED, name, votes, err, weight, radius)
            assert not certifies(name, truth, weight, radius + 1e-6), (SEED, name, votes, err, weight, radius)
    assert min(positive.values()) > points // 4


@pytest.fixture(scope="module")
def scene():
    torch.manual_seed(0)
    h, g = (torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10)) for _ in range(2))
    data = certmix.load_dataset("digits", max=6)
    options = {
        "sigma": 0.5,
        "num_estimation": 300,
        "accurate": g,
        "seed": 9,
        "execution": certmix.Execution("cpu", 100),
    }
    return h, g, data, certmix.sample(h, data, **options)


def _edited(statistics, row=2):
    counts = statistics.estimation_counts.copy()
    second, first = counts[row].argsort()[-2:]
    counts[row, [first, second]] += [1, -1]
    return replace(statistics, estimation_counts=counts)


def test_a_replay_of_an_honest_run_finds_nothing(scene):
    h, g, data, statistics = scene
    result = Verification()
    redraw(statistics, result, robust=h, accurate=g, dataset=data, count=4, seed=0)
    for name in FORMULAS:
        rules = [] if name == "theorem-a1" else [ThresholdRule(0.45)]
        made = certmix.certify(statistics, mixing_weight=[0.7, 1.0], rules=rules, certifier=name)
        check_certificates(statistics, made, result)
    assert result.holds, result.differences
    assert len(result.redrawn) == 4
    assert result.draws_repeated == 4 * 400
    assert result.certificates_checked == (4 * 2 + 3) * 6


def test_one_vote_is_noticed(scene):
    h, _, data, statistics = scene
    result = Verification()
    redraw(_edited(statistics), result, robust=h, dataset=data, count=100)
    assert len(result.differences) == 1
    assert "input" in result.differences[0]
    assert "1 differ" in result.differences[0]


def test_another_model_data_set_or_seed_is_noticed(scene):
    h, g, data, statistics = scene
    result = Verification()
    label = [(data[0][1] + 1) % 10]
    other = ArrayDataset(1 - data[0][0].numpy()[None], label, num_classes=10, grid_levels=16, indices=[data.indices[0]])
    redraw(statistics, result, robust=g, accurate=h, dataset=other, count=3)
    said = "\n".join(result.differences)
    for words in (
        "content of the data set",
        "sha256 of the model",
        "sha256 of the accurate",
        "votes stored",
        "label of input",
    ):
        assert words in said
    with pytest.raises(InvalidArgument, match="sample must be >= 1"):
        redraw(statistics, result, robust=h, dataset=data, count=0)


@pytest.mark.parametrize(
    "change",
    [
        {"labels": np.roll(np.arange(6), 1)},
        {"indices": np.arange(1, 7)},
        {"prediction": np.full(6, 3)},
        {"promise": Promise(5e-4)},
        {"promise": Promise(real_valued=True)},
        {"sigma": 0.6},
        {"rules": (ThresholdRule(0.9), ThresholdRule(0.3))},
    ],
    ids=lambda change: next(iter(change)),
)
def test_certificates_that_claim_something_else_are_noticed(scene, change):
    statistics, result = scene[3], Verification()
    made = certmix.certify(statistics, mixing_weight=[0.7, 1.0])
    check_certificates(statistics, replace(made, **change), result)
    assert not result.holds


@pytest.mark.parametrize("factor", [1 + 1e-9, 1 - 1e-4])
def test_a_radius_that_was_changed_is_noticed(factor):
    counts = np.array([[280, 15, 5]])
    bounds = bound_probabilities([[5, 0, 0]], counts, sigma=0.5)
    truth = bounds_of_counts(280, 15, 300, 1e-3, 0.5)
    made = certmix.certify(bounds, mixing_weight=0.9)
    changed = float(made.radius[0, 0]) * factor / 0.5
    if factor > 1:
        assert not certifies("exact", truth, 0.9, changed)
    else:
        assert certifies("exact", truth, 0.9, changed + 1e-6)


def test_real_valued_certificates_give_up_the_quantisation_distance(scene):
    statistics = scene[3]
    on_grid = certmix.certify(statistics, mixing_weight=[0.8, 1.0])
    anywhere = certmix.certify(statistics, mixing_weight=[0.8, 1.0], real_valued=True)
    distance = np.sqrt(64) / (2 * 16)
    expected = np.where(on_grid.radius > distance, on_grid.radius - distance, 0.0)
    assert anywhere.radius == pytest.approx(expected, abs=1e-12)
    assert (anywhere.radius <= expected).all()
    assert anywhere.promise.real_valued
    result = Verification()
    check_certificates(statistics, anywhere, result)
    assert result.holds, result.differences
    with pytest.raises(InvalidArgument, match="real_valued, confidence and lipschitz must be left out"):
        certmix.certify(bound_probabilities([[5, 0]], [[90, 10]], sigma=0.5), real_valued=True)
    floats = certmix.sample(scene[0], scene[2], sigma=0.5, num_estimation=20, noise="float", seed=1)
    with pytest.raises(InvalidArgument, match="integer noise"):
        certmix.certify(floats, real_valued=True)
