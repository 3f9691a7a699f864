"""Early stopping: sound whatever stops it, decides as the full run does, and saves what it should."""

import json

import numpy as np
import pytest
from scipy import stats

import certmix
from certmix.certification.bounds import bound_probabilities
from certmix.certification.certify import certify
from certmix.certification.schedule import Schedule, make_schedule
from certmix.certifiers import exact_radius
from certmix.errors import InvalidArgument, RunError
from certmix.intervals import clopper_pearson_lower
from certmix.json_fields import Fields
from certmix.rules import LinearRule, ThresholdRule, threshold_radius
from certmix.runs.records import InputRecord
from certmix.runs.store import from_records
from tests.records import manifest


def test_looks_and_spending():
    schedule = make_schedule(10_000, sigma=0.5, target_radius=0.5)
    assert schedule.looks == (100, 300, 900, 2700, 8100, 10_000)
    assert schedule.spending == pytest.approx((1e-4,) * 5 + (5e-4,))
    assert sum(schedule.spending) == pytest.approx(1e-3)
    assert schedule.spent_at([100, 10_000]) == pytest.approx([1e-4, 5e-4])
    assert make_schedule(80, sigma=0.5, target_radius=0.1).spending == (1e-3,)


@pytest.mark.parametrize("rule", [LinearRule(0.8), ThresholdRule(0.6), LinearRule(0.7, "softmax")])
def test_a_schedule_is_read_as_it_was_written(rule):
    for how in ({"target_radius": 0.3}, {"radius_tolerance": 0.1}):
        schedule = make_schedule(5000, sigma=0.5, rule=rule, failure_probability=0.01, **how)
        tree = json.loads(json.dumps(schedule.to_json()))
        assert Schedule.from_json(Fields(tree, "schedule"), sigma=0.5, num_estimation=5000) == schedule


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"looks": [100, 100, 900]}, "looks must ascend to num_estimation"),
        ({"looks": [100, 300]}, "looks must ascend to num_estimation"),
        ({"looks": [0, 900]}, r"looks: 0 must be a whole number in \[1, 900\]"),
        ({"spending": [5e-4, 5e-4, 5e-4]}, "spending must be half on the last look"),
        ({"failure_probability": 1.0}, "failure_probability must be a finite number"),
        ({"failure_probability": 0.01}, "spending must be half on the last look"),
        (
            {"rule": {"kind": "quadratic", "parameter": 0.5, "accurate_vote": "class"}},
            "kind must be one of linear, threshold",
        ),
        ({"rule": {"kind": "linear", "parameter": 1.5, "accurate_vote": "class"}}, "parameter must be a finite number"),
        ({"target_radius": None}, "either target_radius or radius_tolerance"),
        ({"radius_tolerance": 0.1}, "either target_radius or radius_tolerance"),
        ({"more": 1}, "must hold known fields only, got more"),
    ],
)
def test_a_schedule_of_another_hand_is_refused(change, message):
    tree = {**make_schedule(900, sigma=0.5, target_radius=0.1).to_json(), **change}
    with pytest.raises(RunError, match=message):
        Schedule.from_json(Fields(tree, "schedule"), sigma=0.5, num_estimation=900)


def test_a_threshold_decides_its_own_question():
    strict = make_schedule(10_000, sigma=0.5, rule=ThresholdRule(0.8), target_radius=0.1)
    plain = make_schedule(10_000, sigma=0.5, target_radius=0.1)
    assert strict.reach < plain.reach
    votes = np.array([630, 880]), np.array([270, 20])
    # 70 % of the votes: h alone is certified, and the threshold is out of reach; 98 %: both are certified.
    assert plain.decided(*votes, 900).tolist() == strict.decided(*votes, 900).tolist() == [True, True]
    # 85 %: h alone is certified, the threshold is not decided.
    assert plain.decided(765, 135, 900)
    assert not strict.decided(765, 135, 900)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "either a target radius or a radius tolerance"),
        ({"target_radius": 0.5, "radius_tolerance": 0.1}, "either a target radius or a radius tolerance"),
        ({"target_radius": 5.0}, r"target radius must be in \[0, 1\.5.*got 5\.0"),
        ({"target_radius": -1.0}, "target radius must be in"),
        ({"radius_tolerance": 1.0}, r"radius_tolerance must be in \(0, 1\)"),
        ({"target_radius": 0.5, "failure_probability": 0.0}, r"failure_probability must be in \(0, 1\)"),
        ({"target_radius": 0.5, "rule": LinearRule(0.4)}, r"target radius must be in \[0, 0\.0000\]"),
        ({"radius_tolerance": 0.1, "rule": LinearRule(0.4)}, "10000 draws can certify nothing at weight 0.4"),
    ],
)
def test_bad_arguments_are_named(options, message):
    with pytest.raises(InvalidArgument, match=message):
        make_schedule(10_000, sigma=0.5, **options)


def _run(schedule, probabilities, generator):
    """Draw inputs of these class probabilities look by look: (selection, votes at the stop, draws used)."""
    inputs = len(probabilities)
    rows = np.arange(inputs)
    selection = generator.multinomial(50, probabilities)
    top = selection.argmax(axis=1)
    votes, final = np.zeros(probabilities.shape, dtype=np.int64), np.zeros(probabilities.shape, dtype=np.int64)
    running, used, before = np.ones(inputs, dtype=bool), np.zeros(inputs, dtype=np.int64), 0
    for look in schedule.looks:
        votes = votes + generator.multinomial(look - before, probabilities)
        before = look
        rivals = votes.copy()
        rivals[rows, top] = 0
        stops = running & schedule.decided(votes[rows, top], rivals.max(axis=1), look)
        final[stops], used[stops] = votes[stops], look
        running &= ~stops
    assert not running.any()
    return selection, final, used


def _statistics(schedule, selection, votes, sigma):
    records = [InputRecord(i, 0, s, v, 0, 0, None, 0.0) for i, (s, v) in enumerate(zip(selection, votes, strict=True))]
    about = manifest(
        num_classes=votes.shape[1], sigma=sigma, num_selection=50, num_estimation=schedule.looks[-1], schedule=schedule
    )
    return from_records(records, about)


PATTERNS = {
    "at the target": [0.7, 0.3],  # Phi(0.5244): a target of 0.5244 is exactly reached by p_A alone
    "tied rivals": [0.3] + [0.07] * 10,
    "near tie": [0.335, 0.333, 0.332],
    "near one": [0.995, 0.004, 0.001],
    "with a third class": [0.6, 0.25, 0.15],
}


@pytest.mark.slow
@pytest.mark.parametrize("err", [0.05, 0.01])
@pytest.mark.parametrize("how", [{"target_radius": 0.4}, {"target_radius": 0.0}, {"radius_tolerance": 0.1}])
@pytest.mark.parametrize("pattern", PATTERNS)
def test_a_stopped_run_claims_too_much_no_more_often_than_promised(pattern, how, err):
    runs, sigma = 6000, 1.0
    p = np.array(PATTERNS[pattern])
    schedule = make_schedule(2700, sigma=sigma, failure_probability=err, **how)
    selection, votes, _ = _run(schedule, np.tile(p, (runs, 1)), np.random.default_rng(2))
    weights = np.array([0.6, 0.8, 1.0])
    made = certify(_statistics(schedule, selection, votes, sigma), mixing_weight=weights)
    truth = np.zeros((3, len(p)))
    for y in range(len(p)):
        rival = np.delete(p, y).max()
        truth[:, y] = exact_radius(p[y], rival, weights, sigma)
    false = int((made.radius > truth[:, made.prediction] + 1e-9).any(axis=0).sum())
    assert stats.binomtest(false, runs, err, alternative="greater").pvalue > 1e-5, false


@pytest.mark.parametrize("threshold, target", [(0.5, 0.4), (0.6, 0.0), (0.5, 0.2), (0.35, 0.0)])
def test_a_run_that_stops_for_a_threshold_claims_too_much_no_more_often_than_promised(threshold, target):
    runs, err, rule = 3000, 0.05, ThresholdRule(threshold)
    at_the_target = stats.norm.cdf(
        target + stats.norm.ppf(threshold)
    )  # h_y falls to the threshold at the target exactly
    for p in (np.array([at_the_target, 1 - at_the_target]), np.array([0.6, 0.25, 0.15]), np.array([0.9, 0.06, 0.04])):
        schedule = make_schedule(2700, sigma=1.0, rule=rule, failure_probability=err, target_radius=target)
        selection, votes, used = _run(schedule, np.tile(p, (runs, 1)), np.random.default_rng(4))
        made = certify(_statistics(schedule, selection, votes, 1.0), rules=[rule, LinearRule(1.0)])
        rivals = np.array([np.delete(p, y).max() for y in range(len(p))])
        truth = np.stack([threshold_radius(p, rivals, threshold, 1.0), exact_radius(p, rivals, 1.0, 1.0)])
        false = (made.radius > truth[:, made.prediction] + 1e-9).any(axis=0)
        assert stats.binomtest(int(false.sum()), runs, err, alternative="greater").pvalue > 1e-5
        # An input that is far above its target stops early, and is certified to reach it.
        if p[0] == 0.9:
            assert used.mean() < 2700 / 2
            assert (made.radius[0] >= target).mean() > 0.99


def test_the_judge_catches_a_stopped_run_that_spends_everything_at_every_look():
    runs, err = 6000, 0.05
    schedule = make_schedule(2700, sigma=1.0, failure_probability=err, target_radius=0.0)
    greedy = Schedule(schedule.looks, 4 * err, 1.0, LinearRule(1.0), target_radius=0.0)
    selection, votes, _ = _run(greedy, np.tile([0.5, 0.5], (runs, 1)), np.random.default_rng(0))
    rows = np.arange(runs)
    top = votes[rows, selection.argmax(axis=1)]
    false = int((clopper_pearson_lower(top, votes.sum(axis=1), err * 2) > 0.5).sum())
    assert stats.binomtest(false, runs, err, alternative="greater").pvalue < 1e-5
    honest = certify(_statistics(schedule, selection, votes, 1.0))
    assert (honest.radius > 0).mean() <= err


def test_other_promises_than_the_declared_one_are_refused():
    schedule = make_schedule(900, sigma=0.5, target_radius=0.1)
    selection, votes, _ = _run(schedule, np.tile([0.9, 0.1], (3, 1)), np.random.default_rng(0))
    statistics = _statistics(schedule, selection, votes, 0.5)
    assert certify(statistics).promise.failure_probability == 1e-3
    assert np.array_equal(certify(statistics).radius, certify(statistics, failure_probability=1e-3).radius)
    with pytest.raises(
        InvalidArgument, match=r"failure_probability must be 0\.001, got 0\.01: this run could stop early"
    ):
        certify(statistics, failure_probability=0.01)
    with pytest.raises(InvalidArgument, match="interval must be pair, got 'cohen': this run could stop early"):
        certify(statistics, interval="cohen")


@pytest.mark.parametrize(
    ("sigma", "radius", "draws", "at_least"),
    [(0.25, 0.5, 10_000, 8.0), (0.25, 0.5, 100_000, 30.0), (0.5, 0.5, 10_000, 8.0), (0.5, 0.5, 100_000, 30.0)],
)
def test_savings_on_published_logs(shared_data, sigma, radius, draws, at_least):
    bounds = certmix.read_certification_log(shared_data / f"cohen_cifar10/sigma_{sigma:.2f}.tsv", sigma=sigma)
    # A log does not say how an input abstained: its share is taken to be just below one half.
    p = np.where(bounds.top_lower > 0, bounds.top_lower, 0.45)
    probabilities = np.stack([p, 1 - p], axis=1)
    schedule = make_schedule(draws, sigma=sigma, target_radius=radius)
    selection, votes, used = _run(schedule, probabilities, np.random.default_rng(1))
    assert draws / used.mean() >= at_least
    stopped = certify(_statistics(schedule, selection, votes, sigma)).radius[0] >= radius
    generator = np.random.default_rng(1)
    full = bound_probabilities(
        generator.multinomial(50, probabilities), generator.multinomial(draws, probabilities), sigma=sigma
    )
    assert abs(stopped.mean() - (certify(full).radius[0] >= radius).mean()) <= 0.01


def test_tolerance_stops_near_the_full_radius():
    generator = np.random.default_rng(0)
    p = 1 - 10 ** generator.uniform(-4, -0.6, 400)
    probabilities = np.stack([p, 1 - p], axis=1)
    means = []
    for tolerance in (0.05, 0.1, 0.2):
        schedule = make_schedule(100_000, sigma=1.0, radius_tolerance=tolerance)
        selection, votes, used = _run(schedule, probabilities, np.random.default_rng(1))
        radius = certify(_statistics(schedule, selection, votes, 1.0)).radius[0]
        full = exact_radius(p, 1 - p, 1.0, 1.0)
        assert np.median(radius / full) > 1 - tolerance - 0.03
        means.append(used.mean())
    assert means[0] > means[1] > means[2]
    assert means[1] < 100_000 / 4
