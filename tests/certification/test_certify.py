"""Votes -> bounds -> certificates, and the promise of the whole pipeline in seeded simulations."""

import numpy as np
import pytest
from scipy import special, stats

import certmix
from certmix.certification.certify import bound_probabilities, certified_at, certify, maximum_radius
from certmix.errors import InvalidArgument
from certmix.intervals import ABSTAIN, clopper_pearson_lower, clopper_pearson_upper

SELECTION = np.array([[9, 1, 0], [0, 5, 5], [0, 0, 0]])
ESTIMATION = np.array([[900, 80, 20], [100, 700, 200], [500, 300, 200]])


def test_the_pair_rule_spends_half_on_each_and_takes_the_largest_rival():
    bounds = bound_probabilities(SELECTION, ESTIMATION, sigma=0.5)
    assert bounds.prediction.tolist() == [0, 1, ABSTAIN]
    assert bounds.top_lower[0] == pytest.approx(float(clopper_pearson_lower(900, 1000, 5e-4)), rel=1e-12)
    assert bounds.rival_upper[0] == pytest.approx(float(clopper_pearson_upper(80, 1000, 5e-4)), rel=1e-12)
    assert bounds.rival_upper[1] == pytest.approx(float(clopper_pearson_upper(200, 1000, 5e-4)), rel=1e-12)
    assert (bounds.top_lower[2], bounds.rival_upper[2]) == (0.0, 1.0)


def test_cohens_rule_spends_all_on_the_top():
    bounds = bound_probabilities(SELECTION, ESTIMATION, sigma=0.5, rule="cohen")
    assert bounds.top_lower[0] == pytest.approx(float(clopper_pearson_lower(900, 1000, 1e-3)), rel=1e-12)
    assert (bounds.rival_upper >= 1 - bounds.top_lower).all()


def test_invalid_votes_are_a_rival():
    few = bound_probabilities([[5, 0]], [[600, 10]], sigma=1.0, invalid=[390])
    assert few.top_lower[0] == pytest.approx(float(clopper_pearson_lower(600, 1000, 5e-4)), rel=1e-12)
    assert few.rival_upper[0] == pytest.approx(min(float(clopper_pearson_upper(390, 1000, 5e-4)), 1 - few.top_lower[0]))


def test_the_distance_of_the_noise_from_gaussian_is_paid_for():
    plain = bound_probabilities(SELECTION, ESTIMATION, sigma=0.5)
    paid = bound_probabilities(SELECTION, ESTIMATION, sigma=0.5, total_variation=0.01)
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
    for rule in ("cohen", "pair"):
        best = certify(bound_probabilities(*votes, sigma=2.0, failure_probability=err, rule=rule)).radius[0, 0]
        assert best == pytest.approx(maximum_radius(n, err, 2.0, rule), rel=1e-9)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"failure_probability": 0.0}, r"failure_probability must be in \(0, 1\)"),
        ({"failure_probability": 1.0}, r"failure_probability must be in \(0, 1\)"),
        ({"rule": "bonferroni"}, "rule must be one of pair, cohen"),
        ({"sigma": -0.25}, r"sigma must be > 0 .*got -0\.25"),
        ({"estimation_counts": [[1, 2], [3, 4]]}, "must have one shape"),
        ({"estimation_counts": ESTIMATION / 1000}, "must be integers"),
        ({"estimation_counts": -ESTIMATION}, "must be >= 0"),
        ({"estimation_counts": ESTIMATION[0]}, "must have shape"),
        ({"estimation_counts": ESTIMATION // 500}, "num_estimation must be at least 11 to certify anything"),
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


def _false_claims(p, err, n, rule, runs, seed, same_batch=False):
    """Runs in which any weight's stated radius exceeds the truth: one region must cover them all at once."""
    g = np.random.default_rng(seed)
    weights = np.array([0.55, 0.8, 1.0])
    estimation = g.multinomial(n, p, runs)
    selection = estimation if same_batch else g.multinomial(20, p, runs)
    made = certify(
        bound_probabilities(selection, estimation, sigma=1.0, failure_probability=err, rule=rule), mixing_weight=weights
    )
    truth = np.array([_true_exact_radius(p, y, weights) for y in range(len(p))])
    return int((made.radius > truth[made.prediction].T + 1e-9).any(axis=0).sum())


@pytest.mark.slow
@pytest.mark.parametrize("rule", ["pair", "cohen"])
@pytest.mark.parametrize("err", [0.05, 0.01])
@pytest.mark.parametrize("n", [30, 500])
@pytest.mark.parametrize("pattern", PATTERNS)
def test_the_pipeline_claims_too_much_no_more_often_than_promised(pattern, n, err, rule):
    runs = 20_000
    false = _false_claims(np.array(PATTERNS[pattern]), err, n, rule, runs, seed=n)
    # One-sided binomial test: a sound pipeline fails each of these 40 cases with probability below 1e-5.
    assert stats.binom.sf(false - 1, runs, err) > 1e-5


def test_the_judge_catches_selection_from_the_same_batch():
    p = np.full(10, 0.1)
    false = _false_claims(p, 0.05, 60, "cohen", 20_000, seed=0, same_batch=True)
    honest = _false_claims(p, 0.05, 60, "cohen", 20_000, seed=0)
    assert honest <= 0.05 * 20_000
    top = clopper_pearson_lower(np.random.default_rng(1).multinomial(60, p, 20_000).max(axis=1), 60, 0.05)
    assert stats.binom.sf(int((top > 0.1).sum()) - 1, 20_000, 0.05) < 1e-5  # the same-batch bound misses too often
    assert false >= honest
