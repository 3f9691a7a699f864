"""The sweep against brute force, on random data and on published logs."""

import numpy as np
import pytest
from statsmodels.stats.contingency_tables import mcnemar

import certmix
from certmix.certification.certify import bound_probabilities
from certmix.clean_accuracy import clean_accuracy
from certmix.errors import InvalidArgument
from certmix.formats.certification_log import read_predictions
from certmix.pareto import Candidate, candidate_from_log, paired_p_values, pareto_frontier


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
    assert [(pair.sigma, pair.mixing_weight) for pair in result.standalone] == [(c.bounds.sigma, 1.0) for c in family]
    for pair, candidate in zip(result.standalone, family, strict=True):
        alone = certmix.certify(candidate.bounds, mixing_weight=1.0, certifier=certifier)
        assert np.array_equal(pair.certificates.radius, alone.radius)


def test_a_split_chooses_on_other_inputs_and_says_so():
    family = _candidates(inputs=101)
    one, two = (pareto_frontier(family, baseline=0.25, split=0.4, seed=seed) for seed in (3, 3))
    other = pareto_frontier(family, baseline=0.25, split=0.4, seed=4)
    assert (one.num_chosen, one.num_reported) == (40, 61)
    assert [m.mixing_weight for m in one.matched] == [m.mixing_weight for m in two.matched]
    assert [m.mixing_weight for m in one.matched] != [m.mixing_weight for m in other.matched]
    assert "chosen on 40 inputs and reported on the other 61" in one.selection()
    assert "same 101 inputs" in pareto_frontier(family, baseline=0.25).selection()
    assert one.matched[0].curve.num_inputs == 61


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
        candidate_from_log(certmix.read_certification_log(folder / f"sigma_{s:.2f}.tsv", sigma=s), predictions)
        for s in (0.25, 0.5, 1.0)
    ]


def test_on_published_logs_only_the_exact_certificate_overtakes_the_baseline(shared_data):
    family, radii = _published(shared_data), np.round(np.arange(0, 3.01, 0.1), 10)
    exact, paper = (
        pareto_frontier(family, baseline=0.25, certifier=name, radii=radii) for name in ("exact", "theorem-a1")
    )
    assert exact.target == pytest.approx(0.836)
    assert [pair.mixing_weight for pair in exact.matched] == pytest.approx([1.0, 0.88082, 0.82925], abs=1e-5)
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
        ({"mode": "some"}, "mode must be all or matched"),
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
