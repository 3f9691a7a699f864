"""Votes -> bounds -> certificates, and the promise of the whole pipeline in seeded simulations."""

import numpy as np
import pytest
from scipy import special, stats

import certmix
from certmix.certification.bounds import bound_probabilities, check_certifiable, maximum_radius, pair_bounds
from certmix.certification.certify import certified_at, certify
from certmix.certification.votes import hard_votes
from certmix.errors import InvalidArgument
from certmix.intervals import ABSTAIN, clopper_pearson_lower, clopper_pearson_upper
from certmix.promise import Promise
from certmix.rules import LinearRule, ThresholdRule, threshold_radius

SELECTION = np.array([[9, 1, 0], [0, 5, 5], [0, 0, 0]])
ESTIMATION = np.array([[900, 80, 20], [100, 700, 200], [500, 300, 200]])


def test_the_pair_interval_spends_half_on_each_and_takes_the_largest_rival():
    bounds = bound_probabilities(SELECTION, ESTIMATION, sigma=0.5)
    assert bounds.prediction.tolist() == [0, 1, ABSTAIN]
    assert bounds.top_lower[0] == pytest.approx(float(clopper_pearson_lower(900, 1000, 5e-4)), rel=1e-12)
    assert bounds.rival_upper[0] == pytest.approx(float(clopper_pearson_upper(80, 1000, 5e-4)), rel=1e-12)
    assert bounds.rival_upper[1] == pytest.approx(float(clopper_pearson_upper(200, 1000, 5e-4)), rel=1e-12)
    assert (bounds.top_lower[2], bounds.rival_upper[2]) == (0.0, 1.0)


def test_cohens_interval_spends_all_on_the_top():
    bounds = bound_probabilities(SELECTION, ESTIMATION, sigma=0.5, interval="cohen")
    assert bounds.top_lower[0] == pytest.approx(float(clopper_pearson_lower(900, 1000, 1e-3)), rel=1e-12)
    assert (bounds.rival_upper >= 1 - bounds.top_lower).all()


def test_invalid_votes_are_a_rival():
    few = bound_probabilities([[5, 0]], [[600, 10]], sigma=1.0, invalid=[390])
    assert few.top_lower[0] == pytest.approx(float(clopper_pearson_lower(600, 1000, 5e-4)), rel=1e-12)
    assert few.rival_upper[0] == pytest.approx(min(float(clopper_pearson_upper(390, 1000, 5e-4)), 1 - few.top_lower[0]))


def test_the_distance_of_the_noise_from_gaussian_is_paid_for():
    plain = bound_probabilities(SELECTION, ESTIMATION, sigma=0.5)
    votes = hard_votes(SELECTION, ESTIMATION, np.zeros(3, dtype=np.int64))
    paid = pair_bounds(votes, Promise(), sigma=0.5, total_variation=0.01)
    assert paid.top_lower[0] == pytest.approx(plain.top_lower[0] - 0.01)
    assert paid.rival_upper[0] == pytest.approx(plain.rival_upper[0] + 0.01)


def test_certificates_of_many_weights_come_from_one_region():
    bounds = bound_probabilities(SELECTION, ESTIMATION, sigma=0.5)
    certificates = certify(bounds, mixing_weight=[0.3, 0.6, 1.0])
    assert certificates.radius.shape == (3, 3)
    assert (certificates.radius[0] == 0).all()
    assert certificates.radius[1, 0] < certificates.radius[2, 0]
    assert (certificates.radius[:, 2] == 0).all()  # abstained
    for position, weight in enumerate((0.3, 0.6, 1.0)):
        alone = certmix.exact_radius(bounds.top_lower[:2], bounds.rival_upper[:2], weight, 0.5)
        assert certificates.radius[position, :2] == pytest.approx(alone)


def test_radius_zero_is_not_certified_at_zero():
    assert certified_at([0.0, 1e-9, 0.5], 0.0).tolist() == [False, True, True]
    assert certified_at([0.4999, 0.5], 0.5).tolist() == [False, True]


@pytest.mark.parametrize(("n", "err", "expected"), [(10_000, 1e-3, 3.199), (100_000, 1e-3, 3.811)])
def test_the_largest_radius_that_draws_can_give(n, err, expected):
    assert maximum_radius(n, err, 1.0, "cohen") == pytest.approx(expected, abs=6e-4)
    votes = [[1, 0]], [[n, 0]]
    for interval in ("cohen", "pair"):
        best = certify(bound_probabilities(*votes, sigma=2.0, failure_probability=err, interval=interval)).radius[0, 0]
        assert best == pytest.approx(maximum_radius(n, err, 2.0, interval), rel=1e-9)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"failure_probability": 0.0}, r"failure_probability must be in \(0, 1\)"),
        ({"failure_probability": 1.0}, r"failure_probability must be in \(0, 1\)"),
        ({"interval": "bonferroni"}, "interval must be one of pair, cohen"),
        ({"sigma": -0.25}, r"sigma must be > 0 .*got -0\.25"),
        ({"estimation_counts": [[100, 200], [200, 100]]}, "must have one shape"),
        ({"estimation_counts": ESTIMATION / 1000}, "must be integers"),
        ({"estimation_counts": -ESTIMATION}, "must be >= 0"),
        ({"estimation_counts": ESTIMATION[0]}, "must have shape"),
        ({"estimation_counts": [[2, 0, 0]] * 3}, "num_estimation must be at least 11 to certify anything"),
        (
            {"estimation_counts": ESTIMATION * [[1], [3], [9]]},
            "as many draws of every input, got 1000 to 9000: counts of a run",
        ),
    ],
)
def test_bad_arguments_are_named(options, message):
    arguments = {"selection_counts": SELECTION, "estimation_counts": ESTIMATION, "sigma": 0.5, **options}
    with pytest.raises(InvalidArgument, match=message):
        bound_probabilities(**arguments)


def test_the_smallest_number_of_draws_that_is_named_is_enough():
    bound_probabilities([[1, 0]], [[11, 0]], sigma=1.0)
    assert certify(bound_probabilities([[1, 0]], [[11, 0]], sigma=1.0)).radius[0, 0] > 0
    with pytest.raises(InvalidArgument):
        bound_probabilities([[1, 0]], [[10, 0]], sigma=1.0)


PATTERNS = {
    "one rival": [0.7, 0.3],
    "nine tied rivals": [0.28] + [0.08] * 9,
    "near tie": [0.335, 0.333, 0.332],
    "near one": [0.995, 0.004, 0.001],
    "invalid rival": [0.6, 0.05, 0.35],
}


def _true_exact_radius(p, y, weight):
    """Largest radius for the worst classifier with these true probabilities, by an inverse independent of ours."""
    p_a, p_b = p[y], max(v for i, v in enumerate(p) if i != y)
    need = (1 - weight) / weight
    low, high = np.zeros_like(need), np.full_like(need, 10.0)
    for _ in range(80):
        middle = 0.5 * (low + high)
        margin = special.ndtr(special.ndtri(p_a) - middle) - special.ndtr(special.ndtri(p_b) + middle)
        low, high = np.where(margin > need, middle, low), np.where(margin > need, high, middle)
    return np.where(p_a - p_b > need, low, 0.0)


def _false_claims(p, err, n, interval, runs, seed, same_batch=False):
    """Runs in which any weight's stated radius exceeds the truth: one region must cover them all at once."""
    g = np.random.default_rng(seed)
    weights = np.array([0.55, 0.8, 1.0])
    estimation = g.multinomial(n, p, runs)
    selection = estimation if same_batch else g.multinomial(20, p, runs)
    made = certify(
        bound_probabilities(selection, estimation, sigma=1.0, failure_probability=err, interval=interval),
        mixing_weight=weights,
    )
    truth = np.array([_true_exact_radius(p, y, weights) for y in range(len(p))])
    return int((made.radius > truth[made.prediction].T + 1e-9).any(axis=0).sum())


@pytest.mark.slow
@pytest.mark.parametrize("interval", ["pair", "cohen"])
@pytest.mark.parametrize("err", [0.05, 0.01])
@pytest.mark.parametrize("n", [30, 500])
@pytest.mark.parametrize("pattern", PATTERNS)
def test_the_pipeline_claims_too_much_no_more_often_than_promised(pattern, n, err, interval):
    runs = 20_000
    false = _false_claims(np.array(PATTERNS[pattern]), err, n, interval, runs, seed=n)
    # One-sided binomial test: a sound pipeline fails each of these 40 cases with probability below 1e-5.
    assert stats.binom.sf(false - 1, runs, err) > 1e-5


def test_the_judge_catches_selection_from_the_same_batch():
    # Two equal classes: nothing may be certified, and choosing by the same draws doubles the false rate.
    p, err, n, runs = np.array([0.5, 0.5]), 0.05, 200, 20_000
    honest = _false_claims(p, err, n, "cohen", runs, seed=0)
    reused = _false_claims(p, err, n, "cohen", runs, seed=0, same_batch=True)
    assert 0 < honest < reused
    assert stats.binom.sf(honest - 1, runs, err) > 1e-5
    assert stats.binom.sf(reused - 1, runs, err) < 1e-5


def test_rules_of_every_kind_come_from_one_region_in_the_order_asked():
    bounds = bound_probabilities(SELECTION, ESTIMATION, sigma=0.5)
    made = certify(bounds, mixing_weight=[0.6, 1.0], rules=[ThresholdRule(0.6)])
    assert made.rules == (LinearRule(0.6), LinearRule(1.0), ThresholdRule(0.6))
    assert made.promise == Promise()
    direct = threshold_radius(bounds.top_lower[:2], bounds.rival_upper[:2], 0.6, 0.5)
    assert np.array_equal(made.radius[2, :2], direct)
    assert made.radius[2, 2] == 0  # abstained
    assert certify(bounds, rules=LinearRule(0.6)).rules == (LinearRule(0.6),)
    assert certify(bounds).rules == (LinearRule(1.0),)


def test_bounds_keep_the_promise_they_were_made_under():
    bounds = bound_probabilities(SELECTION, ESTIMATION, sigma=0.5, failure_probability=0.01, interval="cohen")
    assert certify(bounds).promise == Promise(0.01, "cohen")
    for asked in ({"failure_probability": 0.01}, {"interval": "cohen"}, {"votes": "hard"}, {"real_valued": True}):
        with pytest.raises(InvalidArgument, match="must be left out with bounds"):
            certify(bounds, **asked)
    with pytest.raises(InvalidArgument, match="certifier must be one with an envelope for a threshold"):
        certify(bounds, rules=ThresholdRule(0.6), certifier="theorem-a1")


def test_what_cannot_be_certified_is_said_before_drawing():
    said = check_certifiable([LinearRule(1.0), ThresholdRule(0.9), LinearRule(0.5)], 1000, Promise(), 0.5)
    assert said.startswith(
        "1000 draws can certify radii up to 1.214 at weight 1, 0.573 at threshold 0.9; nothing can be"
    )
    assert "at weight 0.5: a mixing weight must be above 0.5" in said
    for rules, draws in (([LinearRule(0.5), LinearRule(0.2)], 10_000), ([LinearRule(0.51)], 50)):
        with pytest.raises(InvalidArgument, match="nothing can be certified at weight 0.5"):
            check_certifiable(rules, draws, Promise(), 0.5)
    with pytest.raises(InvalidArgument, match="num_estimation must be at least 11"):
        check_certifiable([LinearRule(1.0)], 10, Promise(), 0.5)
