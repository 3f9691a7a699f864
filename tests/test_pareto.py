"""The sweep against brute force, on random data and on published logs."""

import json

import numpy as np
import pytest
from statsmodels.stats.contingency_tables import mcnemar
from statsmodels.stats.multitest import multipletests

import certmix
from certmix.certification.bounds import bound_probabilities
from certmix.clean_accuracy import clean_accuracy
from certmix.errors import InvalidArgument
from certmix.formats.certification_log import read_predictions
from certmix.intervals import ProbabilityBounds
from certmix.pareto import Candidate, candidate_from_log, holm, paired_p_values, pareto_frontier
from certmix.promise import Promise
from certmix.rules import LinearRule, ThresholdRule


def _candidates(inputs=60, classes=4, sigmas=(0.25, 0.5, 1.0), seed=0, draws=400):
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, classes, inputs)
    g = np.eye(classes)[np.where(rng.random(inputs) < 0.95, labels, (labels + 1) % classes)]
    g[0] = np.eye(classes)[(labels[0] + 1) % classes]
    family = []
    for sigma in sigmas:
        p = rng.dirichlet(np.ones(classes) * 0.5, inputs)
        p[np.arange(inputs), labels] += 2.5 / (1 + sigma) * rng.random(inputs)
        p /= p.sum(axis=1, keepdims=True)
        p[0] = g[0]  # both models are wrong on the first input, so that no weight reaches 100 %
        votes = np.array([rng.multinomial(draws, row) for row in p])
        selection = np.array([rng.multinomial(50, row) for row in p])
        bounds = bound_probabilities(selection, votes, sigma=sigma, labels=labels, indices=np.arange(inputs))
        family.append(Candidate(bounds, g, votes.astype(float)))
    return family


@pytest.mark.parametrize("certifier", ["exact", "theorem-a1"])
def test_the_frontier_is_the_brute_force_maximum_over_all_admissible_pairs(certifier):
    family = _candidates()
    radii = np.linspace(0, 2, 41)
    result = pareto_frontier(family, baseline=0.25, certifier=certifier, radii=radii)
    brute = np.zeros(len(radii))
    for candidate in family:
        clean = clean_accuracy(candidate.accurate, candidate.robust, candidate.labels)
        weights = np.unique(
            np.concatenate([np.linspace(0, 1, 401), clean.breakpoints, np.nextafter(clean.breakpoints, 0)])
        )
        weights = weights[weights >= 0]
        admissible = weights[clean(weights) >= result.target - 1e-12]
        for weight in admissible:
            made = certmix.certify(candidate.bounds, mixing_weight=float(weight), certifier=certifier)
            brute = np.maximum(brute, certmix.certified_accuracy(made, candidate.labels, radii).accuracy[0])
    assert result.frontier == pytest.approx(brute)
    assert (np.diff(result.frontier) <= 0).all()
    for pair in result.matched:
        assert (result.frontier >= pair.curve.accuracy[0]).all()
        assert pair.clean_accuracy >= result.target - 1e-12
    assert result.baseline is not None
    assert (result.frontier >= result.baseline.curve.accuracy[0]).all()
    assert [(pair.sigma, pair.rule) for pair in result.standalone] == [
        (c.bounds.sigma, LinearRule(1.0)) for c in family
    ]
    for pair, candidate in zip(result.standalone, family, strict=True):
        alone = certmix.certify(candidate.bounds, mixing_weight=1.0, certifier=certifier)
        assert np.array_equal(pair.certificates.radius, alone.radius)


def test_a_split_chooses_on_other_inputs_and_says_so():
    family = _candidates(inputs=101)
    one, two = (pareto_frontier(family, baseline=0.25, split=0.4, seed=seed) for seed in (3, 3))
    other = pareto_frontier(family, baseline=0.25, split=0.4, seed=4)
    assert (one.num_chosen, one.num_reported) == (40, 61)
    assert [m.rule for m in one.matched] == [m.rule for m in two.matched]
    assert [m.rule for m in one.matched] != [m.rule for m in other.matched]
    assert "chosen on 40 inputs and reported on the other 61" in one.selection()
    assert "same 101 inputs" in pareto_frontier(family, baseline=0.25).selection()
    assert one.matched[0].curve.num_inputs == 61


def test_rules_and_sigmas_are_swept_together():
    family, radii = _candidates(inputs=120), np.linspace(0, 1.5, 31)
    both = pareto_frontier(family, baseline=0.25, rules=("linear", "threshold"), radii=radii)
    alone = [pareto_frontier(family, baseline=0.25, rules=[kind], radii=radii) for kind in ("linear", "threshold")]
    assert np.array_equal(both.frontier, np.maximum(alone[0].frontier, alone[1].frontier))
    assert {pair.rule.kind for pair in both.matched} == {"linear", "threshold"}
    assert len(both.matched) == 6
    for k, pair in enumerate(both.frontier_pair):
        assert both.frontier[k] == both.matched[pair].curve.accuracy[0, k]
    for pair in both.matched:
        assert pair.clean_accuracy >= both.target - 1e-12
    json.dumps(both.to_json())
    steps, accuracy = both.frontier_steps()
    place = np.minimum(np.searchsorted(steps, radii), len(steps) - 1)
    assert np.array_equal(np.where(radii <= steps[-1], accuracy[place], 0.0), both.frontier)


def test_the_threshold_of_a_pair_is_the_smallest_that_keeps_the_target():
    candidate = _candidates()[1]
    result = pareto_frontier([candidate], target=0.93, rules=["threshold"], radii=[0.0])
    chosen = result.matched[0].rule.threshold
    decided = [
        (ThresholdRule(c).decide(candidate.accurate, candidate.robust) == candidate.labels).mean()
        for c in np.linspace(0, 0.999, 1000)
    ]
    admissible = np.linspace(0, 0.999, 1000)[np.array(decided) >= 0.93]
    assert chosen <= admissible.min() <= chosen + 2e-3
    assert result.matched[0].clean_accuracy >= 0.93


def test_a_certifier_without_an_envelope_leaves_thresholds_out_and_says_why():
    result = pareto_frontier(_candidates(), baseline=0.25, certifier="theorem-a1", rules=("linear", "threshold"))
    assert {pair.rule.kind for pair in result.matched} == {"linear"}
    assert [entry.rule for entry in result.unreached] == ["threshold"] * 3
    assert "with an envelope" in result.unreached[0].why


def test_with_a_split_the_pair_of_every_radius_is_chosen_on_the_other_inputs():
    family, radii = _candidates(inputs=90, sigmas=(0.25, 0.35, 0.5, 0.7, 1.0)), np.linspace(0, 1.5, 16)
    result = pareto_frontier(family, target=0.9, split=0.5, radii=radii, rules=("linear", "threshold"))
    choose = np.sort(np.random.default_rng(0).permutation(90)[:45])
    by_hand = []
    for pair in result.matched:
        candidate = next(c for c in family if c.bounds.sigma == pair.sigma)
        made = certmix.certify(candidate.bounds.rows(choose), rules=pair.rule)
        by_hand.append(certmix.certified_accuracy(made, candidate.labels[choose], radii).accuracy[0])
    assert np.array_equal(result.frontier_pair, np.argmax(by_hand, axis=0))
    best = np.max([pair.curve.accuracy[0] for pair in result.matched], axis=0)
    assert (result.frontier <= best).all()
    assert (result.frontier < best).any()  # what choosing on the reported half would add
    edges, steps = result.frontier_steps()
    assert np.array_equal(np.append(steps, 0.0)[np.searchsorted(edges, result.radii)], result.frontier)
    assert "the pair at each radius were chosen on 45 inputs" in result.selection()


@pytest.mark.slow
def test_a_split_frontier_is_not_optimistic():
    """Six sigmas that are equally good: the best of them on the reported half flatters itself, a chosen one does not."""
    gaps = {None: [], 0.5: []}
    for seed in range(150):
        rng = np.random.default_rng(seed)
        labels, g = np.zeros(120, dtype=np.int64), np.eye(2)[rng.integers(0, 2, 120)]
        family = []
        for sigma in (0.25, 0.26, 0.27, 0.28, 0.29, 0.3):
            top = np.where(rng.random(120) < 0.6, 0.99, 0.4)
            bounds = ProbabilityBounds(labels, top, 1 - top, sigma, Promise(), labels, np.arange(120))
            family.append(Candidate(bounds, g, np.stack([top, 1 - top], axis=1)))
        for split, found in gaps.items():
            found.append(
                float(pareto_frontier(family, target=0.0, radii=[0.05], split=split, seed=seed).frontier[0]) - 0.6
            )
    means = {split: np.mean(found) / (np.std(found) / np.sqrt(len(found))) for split, found in gaps.items()}
    assert means[None] > 5
    assert abs(means[0.5]) < 4


def test_p_values_are_corrected_over_the_pairs():
    family = _candidates(inputs=200)
    result = pareto_frontier(family, baseline=0.25, rules=("linear", "threshold"), radii=[0.1, 0.3])
    raw = [paired_p_values(pair.certificates, result.baseline.certificates, [0.1, 0.3]) for pair in result.matched]
    for k in range(2):
        expected = multipletests([values[k] for values in raw], method="holm")[1]
        assert [pair.p_value[k] for pair in result.matched] == pytest.approx(list(expected))
    assert [p.tolist() for p in holm([np.array([0.2])])] == [[0.2]]
    assert "Holm over the 6 pairs; not corrected over radii, certifiers or sweeps" in result.selection()
    without = pareto_frontier(family, target=0.5, radii=[0.1])
    assert np.isnan(without.matched[0].p_value).all()
    assert "p-values" not in without.selection()


def test_p_values_are_those_of_the_exact_mcnemar_test():
    family = _candidates()
    one, two = (certmix.certify(c.bounds, mixing_weight=0.9) for c in family[:2])
    radii = [0.0, 0.2, 0.5]
    for radius, p_value in zip(radii, paired_p_values(one, two, radii), strict=True):
        right = [(c.prediction == c.labels) & (c.radius[0] > 0) & (c.radius[0] >= radius) for c in (one, two)]
        table = [[(right[0] == a)[right[1] == b].sum() for b in (True, False)] for a in (True, False)]
        assert p_value == pytest.approx(mcnemar(np.array(table), exact=True).pvalue)


def _published(shared_data):
    folder = shared_data / "aces_cifar10_gaussian"
    _, _, predictions = read_predictions(folder / "accurate_lanet.tsv")
    return [
        candidate_from_log(
            certmix.read_certification_log(folder / f"sigma_{s:.2f}.tsv", sigma=s, printed_rounding="trust"),
            predictions,
        )
        for s in (0.25, 0.5, 1.0)
    ]


def test_on_published_logs_only_the_exact_certificate_overtakes_the_baseline(shared_data):
    family, radii = _published(shared_data), np.round(np.arange(0, 3.01, 0.1), 10)
    exact, paper = (
        pareto_frontier(family, baseline=0.25, certifier=name, radii=radii) for name in ("exact", "theorem-a1")
    )
    assert exact.target == pytest.approx(0.836)
    assert [pair.rule.parameter for pair in exact.matched] == pytest.approx([1.0, 0.88082, 0.82925], abs=1e-5)
    assert exact.baseline is not None
    assert exact.matched[1].curve.accuracy[0, 7] > exact.baseline.curve.accuracy[0, 7]  # radius 0.7
    assert exact.frontier[[10, 20]].tolist() == [0.202, 0.072]
    for pair in paper.matched:
        assert (pair.curve.accuracy[0] <= paper.baseline.curve.accuracy[0]).all()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"baseline": 0.3}, "baseline must be one of the sigmas 0.25, 0.5, 1, got 0.3"),
        ({"baseline": None}, "either a baseline sigma or a target"),
        ({"target": 0.5}, "either a baseline sigma or a target"),
        (
            {"baseline": None, "target": 1.0},
            "target clean accuracy must be one that some weight reaches, got 1.0",
        ),
        ({"baseline": None, "target": 1.5}, "target must be in"),
        ({"split": 1.0}, "split must be in"),
        ({"mode": "some"}, "mode must be one of all, matched"),
        ({"rules": ["quadratic"]}, "rules must be one of linear, threshold"),
        ({"certifier": "theorem-b"}, "certifier must be one of"),
    ],
)
def test_bad_arguments_are_named(options, message):
    with pytest.raises(InvalidArgument, match=message):
        pareto_frontier(_candidates(), **{"baseline": 0.25, **options})


def test_runs_that_do_not_belong_together_are_refused():
    family, other = _candidates(), _candidates(seed=1)
    with pytest.raises(InvalidArgument, match="different labels at sigma 0.25 and 0.5"):
        pareto_frontier([family[0], other[1]], baseline=0.25)
    with pytest.raises(InvalidArgument, match="one run per sigma"):
        pareto_frontier([family[0], family[0]], baseline=0.25)
    with pytest.raises(InvalidArgument, match="at least one"):
        pareto_frontier([], baseline=0.25)
