"""Soft votes: counted on the device as by plain NumPy, stored and read unchanged, and certified soundly."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import special, stats

import certmix
from certmix.certification.certify import certify
from certmix.certification.soft import distribution_bounds, soft_bounds, tail_bounds
from certmix.certifiers import CERTIFIERS
from certmix.datasets import ArrayDataset
from certmix.errors import InvalidArgument
from certmix.intervals.histograms import THRESHOLDS, UNITS, num_rivals, unpack
from certmix.promise import Promise
from certmix.rules import LinearRule, ThresholdRule
from certmix.sampling.counting import ESTIMATION, SELECTION, VoteCounter
from certmix.verification.recompute import check_certificates
from certmix.verification.redraw import Verification
from tests.soft import pack, soft_votes


def _count(probabilities_of_logits, num_selection, chunk=7):
    """Count one input's logits, shape (draws, classes), the first ones as selection draws."""
    logits = torch.as_tensor(probabilities_of_logits)
    counter = VoteCounter(2, logits.shape[1], num_selection, soft=True, device=torch.device("cpu"))
    counter.clear(1)
    for stage, part in ((SELECTION, logits[:num_selection]), (ESTIMATION, logits[num_selection:])):
        for start in range(0, len(part), chunk):
            rows = part[start : start + chunk]
            where = torch.full((len(rows),), 1)
            made = counter.count(rows, where, torch.full((len(rows),), stage))
            if stage == SELECTION:
                counter.keep(made, 1, start)
        if stage == SELECTION:
            counter.choose(1)
    bins = torch.stack([counter.bin_counts[1], counter.bin_sums[1]], dim=-1).reshape(1, -1).numpy()
    return counter, unpack(counter.top[1:2].numpy(), counter.rivals[1:2].numpy(), bins)


def test_counts_equal_plain_numpy():
    generator = np.random.default_rng(0)
    logits = generator.normal(0, 3, (230, 5)).astype(np.float32)
    counter, ours = _count(logits, 30)
    probabilities = torch.softmax(torch.as_tensor(logits), dim=1).numpy()
    expected = soft_votes(probabilities[None, :30], probabilities[None, 30:])
    assert ours.prediction.tolist() == expected.prediction.tolist()
    assert ours.rivals.tolist() == expected.rivals.tolist()
    for stage in ("selection", "estimation"):
        for kind in ("counts", "sums"):
            assert np.array_equal(getattr(getattr(ours, stage), kind), getattr(getattr(expected, stage), kind))
    assert counter.hard[1, ESTIMATION, :-1].sum() == 200
    _, again = _count(logits, 30, chunk=64)
    assert np.array_equal(pack(ours, 0), pack(again, 0))
    assert ours.mean_probabilities(5)[0] == pytest.approx(probabilities[30:].mean(axis=0), abs=3e-6)


def test_roundings_go_to_the_safe_side():
    logits = np.random.default_rng(1).normal(0, 2, (500, 4)).astype(np.float32)
    _, votes = _count(logits, 50)
    p = torch.softmax(torch.as_tensor(logits[50:]), dim=1).double().numpy().mean(axis=0)
    top, rivals = int(votes.prediction[0]), votes.rivals[0]
    assert votes.top("estimation").mean[0] <= p[top]
    assert (votes.rival("estimation").mean[0] >= p[rivals]).all()
    assert (2 * votes.difference("estimation").mean[0] - 1 <= p[top] - p[rivals]).all()
    assert (votes.top("estimation").mean[0] + votes.rival("estimation").mean[0] <= 1 + 1e-9).all()


def test_a_draw_that_is_not_finite_is_the_worst_vote():
    logits = np.zeros((40, 3), dtype=np.float32)
    logits[:, 1] = 50.0
    clean = _count(logits, 10)[1]
    logits[25:30, 2] = np.nan
    counter, votes = _count(logits, 10)
    assert counter.hard[1, ESTIMATION].tolist() == [0, 25, 0, 5]
    assert votes.top("estimation").sums.sum() == clean.top("estimation").sums.sum() * 25 // 30
    # Every finite draw gives a rival e^-50, rounded up to one unit.
    assert (votes.rival("estimation").sums.sum(axis=-1) == 5 * UNITS + 25).all()
    assert (votes.difference("estimation").counts[0, :, 0] == 5).all()


def test_beyond_100_classes_the_leading_rivals_and_the_maximum_of_the_rest():
    generator = np.random.default_rng(2)
    classes = 130
    logits = generator.normal(0, 1, (300, classes)).astype(np.float32)
    logits[:, :120] += np.linspace(3, 0, 120, dtype=np.float32)
    _, votes = _count(logits, 100)
    assert votes.rivals.shape == (1, num_rivals(classes)) == (1, 100)
    assert votes.rivals[0, -1] == -1
    top, listed = int(votes.prediction[0]), votes.rivals[0, :-1]
    assert top not in listed
    assert len(set(listed.tolist())) == 99
    probabilities = torch.softmax(torch.as_tensor(logits), dim=1).numpy()
    means = probabilities[:100].mean(axis=0)
    rest = np.setdiff1d(np.arange(classes), [top, *listed])
    assert means[rest].max() <= means[listed].min()
    expected = np.ceil(probabilities[100:][:, rest].max(axis=1) * UNITS).sum()
    assert votes.rival("estimation").sums[0, -1].sum() == expected


class Precise(torch.nn.Module):
    """A linear classifier in float64, so that its float32 output does not depend on the shape of the batch."""

    def __init__(self):
        super().__init__()
        generator = torch.Generator().manual_seed(1)
        self.weight = torch.nn.Parameter(1.5 * torch.randn(16, 4, generator=generator, dtype=torch.float64))

    def forward(self, inputs):
        return (inputs.flatten(1).double() @ self.weight).float()


@pytest.fixture(scope="module")
def scene():
    model = Precise()
    generator = np.random.default_rng(0)
    inputs = generator.integers(0, 256, (5, 1, 4, 4)).astype(np.float32) / 255
    data = ArrayDataset(inputs, generator.integers(0, 4, 5), num_classes=4, grid_levels=255)
    return model, data


def _sample(scene, **options):
    model, data = scene
    how = certmix.Execution("cpu", options.pop("batch_size", None))
    return certmix.sample(model, data, execution=how, **{"sigma": 0.5, "num_estimation": 500, "seed": 3, **options})


@pytest.mark.parametrize("batch_size", [1, 7, 64])
def test_soft_statistics_do_not_depend_on_the_batch_size_and_leave_hard_votes_alone(scene, batch_size):
    hard, soft = _sample(scene), _sample(scene, votes="both", batch_size=1000)
    other = _sample(scene, votes="both", batch_size=batch_size)
    assert np.array_equal(hard.estimation_counts, other.estimation_counts)
    assert np.array_equal(hard.selection_counts, other.selection_counts)
    for row in range(len(soft)):
        assert np.array_equal(pack(soft.soft, row), pack(other.soft, row))


def test_what_is_stored_is_read_and_resumed(scene, tmp_path):
    whole = _sample(scene, votes="soft")
    stored = _sample(scene, votes="soft", out=tmp_path / "run")
    read = certmix.read_statistics(tmp_path / "run")
    again = _sample(scene, votes="soft", out=tmp_path / "run")
    for statistics in (stored, read, again):
        assert np.array_equal(statistics.soft.rivals, whole.soft.rivals)
        for row in range(len(whole)):
            assert np.array_equal(pack(statistics.soft, row), pack(whole.soft, row))


def test_certificates_take_the_votes_that_the_run_was_drawn_for(scene):
    soft, both, hard = (_sample(scene, votes=votes) for votes in ("soft", "both", "hard"))
    assert certify(soft).promise.votes == "soft"
    assert certify(both).promise.votes == certify(hard).promise.votes == "hard"
    assert np.array_equal(certify(both).radius, certify(hard).radius)
    assert np.array_equal(certify(both, votes="soft").radius, certify(soft).radius)
    assert certify(both, certifier="cdf").promise.votes == "soft"
    for options, message in (
        ({"votes": "soft"}, "votes 'soft' need a run that holds soft ones"),
        ({"certifier": "cdf"}, "votes 'soft' need a run that holds soft ones"),
        ({"votes": "firm"}, "votes must be one of hard, soft"),
    ):
        with pytest.raises(InvalidArgument, match=message):
            certify(hard, **options)
    for options, message in (
        ({"certifier": "cdf", "interval": "cohen"}, "interval must be pair"),
        ({"certifier": "cdf", "votes": "hard"}, "needs soft votes"),
        ({"mean_bound": "student"}, "mean_bound must be one of betting"),
    ):
        with pytest.raises(InvalidArgument, match=message):
            certify(soft, **options)
    with pytest.raises(InvalidArgument, match="votes must be hard, soft or both"):
        _sample(scene, votes="loud")
    for bound in ("bernstein", "hoeffding"):
        assert (certify(soft, mean_bound=bound).radius <= certify(soft).radius + 0.02).all()


# Dirichlet laws of class probabilities: confident, flat, tied rivals, near ties, at the edge.
LAWS = {
    "confident": [9.0, 0.5, 0.3],
    "flat": [3.0, 2.0, 2.0],
    "tied rivals": [4.0] + [1.0] * 5,
    "near tie": [5.0, 4.9, 4.9],
    "near one": [300.0, 0.5, 0.2],
    "spiky": [0.08, 0.03, 0.01],
}


@pytest.mark.slow
@pytest.mark.parametrize("err", [0.05, 0.01])
@pytest.mark.parametrize("law", LAWS)
def test_the_soft_pipeline_claims_too_much_no_more_often_than_promised(law, err):
    generator = np.random.default_rng(11)
    parameters, runs, n = np.array(LAWS[law]), 1200, 200
    votes = soft_votes(generator.dirichlet(parameters, (runs, 20)), generator.dirichlet(parameters, (runs, n)))
    mean = parameters / parameters.sum()
    made = distribution_bounds(votes, Promise(err), sigma=1.0)
    lower, upper = made.top_lower, made.rival_upper
    rivals = np.where(np.arange(len(mean)) == votes.prediction[:, None], 0.0, mean).max(axis=1)
    false = int(((lower > mean[votes.prediction]) | (upper < rivals)).sum())
    assert stats.binomtest(false, runs, err, alternative="greater").pvalue > 1e-5, false
    # The CDF certificate at radius 0+: the margin it states must not exceed the true one.
    weights = np.linspace(0.5, 1.0, 11)
    certified = certify(made, mixing_weight=weights, certifier="cdf").radius > 0
    needed = ((1 - weights) / weights)[:, None]
    true_margin = mean[votes.prediction] - rivals
    false = int((certified & (needed > true_margin)).any(axis=0).sum())
    assert stats.binomtest(false, runs, err, alternative="greater").pvalue > 1e-5, false
    for c in (0.3, 0.5, 0.8):  # each threshold by itself: h_y > c, and h_y above its rivals
        stated = certify(made, rules=ThresholdRule(c), certifier="cdf").radius[0] > 0
        false = int((stated & ((mean[votes.prediction] <= c) | (true_margin <= 0))).sum())
        assert stats.binomtest(false, runs, err, alternative="greater").pvalue > 1e-5, (c, false)


@pytest.mark.parametrize("err", [0.05, 0.01])
def test_all_64_tail_bounds_hold_together(err):
    generator = np.random.default_rng(5)
    runs, n = 1500, 120
    difference = generator.beta(4.0, 1.5, (runs, n))
    y, other = difference[..., None], 1 - difference[..., None]
    drawn = np.concatenate([y, other], axis=2)
    votes = soft_votes(drawn[:, :10], drawn)
    bounds = tail_bounds(votes.difference("estimation"), err)[:, 0]
    right = votes.prediction == 0  # elsewhere the difference has the opposite law
    truth = stats.beta(4.0, 1.5).sf((1 + THRESHOLDS[1:]) / 2)
    false = int((bounds[right] > truth + 1e-12).any(axis=1).sum())
    assert stats.binomtest(false, int(right.sum()), err, alternative="greater").pvalue > 1e-5, false


def test_confident_scores_certify_more_by_distribution_and_flat_ones_by_mean():
    generator = np.random.default_rng(6)

    def radii(law):
        size = law[0] * (1 - law[0]) / law[1] ** 2 - 1
        top = generator.beta(law[0] * size, (1 - law[0]) * size, (10, 10_100))[..., None]
        drawn = np.concatenate([top, 1 - top], axis=2)
        votes = soft_votes(drawn[:, :100], drawn[:, 100:])
        made = distribution_bounds(votes, Promise(), sigma=1.0)
        means = soft_bounds(votes, Promise(), sigma=1.0)
        assert np.array_equal(made.top_lower, means.top_lower)
        assert np.array_equal(made.rival_upper, means.rival_upper)
        exact, cdf = (CERTIFIERS[name].certify(made, 1.0).mean() for name in ("exact", "cdf"))
        return exact, cdf, made.by_distribution.mean()

    mean, chosen, share = radii((0.986, 0.043))
    assert mean == pytest.approx(2.144, rel=0.05)  # published: mean 2.144, CDF 2.545, truth 3.010
    assert chosen == pytest.approx(2.545, rel=0.05)
    assert share == 1.0
    mean, chosen, _ = radii((0.775, 0.249))
    assert chosen >= 0.99 * mean


def test_thresholds_on_distributions_are_below_the_truth_below_h_alone_and_above_what_the_mean_tells():
    law, sigma, thresholds = stats.beta(12.0, 0.6), 0.5, (0.0, 0.3, 0.5, 0.7, 0.9)
    top = law.rvs((20, 3100), random_state=np.random.default_rng(6))[..., None]
    drawn = np.concatenate([top, 1 - top], axis=2)
    made = distribution_bounds(soft_votes(drawn[:, :100], drawn[:, 100:]), Promise(), sigma=sigma)
    assert made.by_distribution.all()
    rules = [LinearRule(1.0), *(ThresholdRule(c) for c in thresholds)]
    alone, *found = certify(made, rules=rules, certifier="cdf").radius
    assert (np.diff(found, axis=0) <= 0).all()
    assert (found <= alone).all()
    assert found[2] == pytest.approx(alone, abs=1e-4)  # of two classes the one above 1/2 is ahead
    # Nested half-spaces with this law: h_y at distance r is the mean of Phi(z(P[p_y >= s]) - r / sigma) over s.
    quantiles = special.ndtri(law.sf((np.arange(20_000) + 0.5) / 20_000))
    for c, radius in zip(thresholds[3:], found[3:], strict=True):
        assert special.ndtr(quantiles - radius.max() / sigma).mean() > c
        by_mean = ThresholdRule(c).radius(CERTIFIERS["exact"], made)
        assert (radius > by_mean).mean() > 0.9, c
        made_by_means = replace(made, by_distribution=np.zeros(20, dtype=bool))
        assert np.array_equal(certify(made_by_means, rules=ThresholdRule(c), certifier="cdf").radius[0], by_mean)


def test_a_sweep_takes_soft_votes_and_the_cdf_certificate(scene):
    model, data = scene
    runs = [_sample(scene, votes="soft", sigma=sigma, accurate=model) for sigma in (0.25, 0.5)]
    result = certmix.pareto_frontier(
        runs, target=0.0, certifier="cdf", radii=[0.0, 0.1, 0.2], rules=("linear", "threshold")
    )
    for pair, run in zip(result.matched, [run for run in runs for _ in range(2)], strict=True):
        again = certify(run, rules=pair.rule, certifier="cdf")
        assert np.array_equal(pair.certificates.radius, again.radius)
        assert pair.certificates.promise.votes == "soft"
    split = certmix.pareto_frontier(runs, target=0.0, certifier="cdf", split=0.5)
    assert split.num_reported < len(data)
    with pytest.raises(InvalidArgument, match="certifier 'cdf' needs soft votes"):
        certmix.pareto_frontier([_sample(scene, accurate=model)], target=0.0, certifier="cdf")


def test_a_replay_recomputes_soft_certificates_by_the_rule_behind_them():
    generator = torch.Generator().manual_seed(0)
    model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(16, 2))
    model[1].weight.data = 3 * torch.randn(2, 16, generator=generator)
    images = np.random.default_rng(0).integers(0, 256, (6, 1, 4, 4)).astype(np.float32) / 255
    data = ArrayDataset(images, [0] * 6, num_classes=2, grid_levels=255)
    statistics = _sample((model, data), votes="soft")
    cohen, pair = (certify(statistics, interval=interval) for interval in ("cohen", "pair"))
    assert (cohen.radius > pair.radius).any()  # with two classes p_B = 1 - p_A loses nothing
    result = Verification()
    check_certificates(statistics, cohen, result)
    assert result.holds, result.differences
    check_certificates(statistics, replace(cohen, promise=pair.promise), result)
    assert not result.holds
