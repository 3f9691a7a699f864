"""Methods at one clean accuracy: each keeps it where it was chosen, and no better choice was there."""

import numpy as np
import pytest

import certmix
from certmix.errors import InvalidArgument
from certmix.pareto import (
    chain_candidate,
    choose_chain,
    choose_thresholds,
    compare_methods,
    pareto_frontier,
    split_rows,
)
from certmix.pareto.methods import CHAIN, EXACT, THEOREM_A1, THRESHOLD
from tests.report.made import write_run

TARGET, RADII = 0.93, (0.1, 0.3)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    return [certmix.read_statistics(write_run(folder / f"{sigma}", sigma, inputs=120)) for sigma in (0.5, 0.25)]


def test_on_the_inputs_that_chose_it_every_method_is_the_best_of_its_kind(runs):
    found = {one.name: one for one in compare_methods(runs, target=TARGET, objective=RADII, split=None)}
    assert list(found) == [THEOREM_A1, EXACT, THRESHOLD, CHAIN]
    scores = {
        name: sum((one.right & (one.radius > 0) & (one.radius >= r)).mean() for r in RADII)
        for name, one in found.items()
    }
    assert all(one.clean_accuracy >= TARGET - 1e-12 for one in found.values())
    for name, rule, certifier in (
        (THEOREM_A1, "linear", "theorem-a1"), (EXACT, "linear", "exact"), (THRESHOLD, "threshold", "exact"),
    ):  # fmt: skip
        sweep = pareto_frontier(runs, rules=[rule], target=TARGET, certifier=certifier, radii=RADII)
        assert scores[name] == pytest.approx(max(pair.curve.accuracy[0].sum() for pair in sweep.matched))
    rows = np.arange(120)
    ascending = chain_candidate(runs[::-1])
    assert scores[CHAIN] == pytest.approx(choose_thresholds(ascending, rows, target=TARGET, radii=RADII)[1])
    assert scores[THEOREM_A1] <= scores[EXACT]


def test_what_is_reported_are_other_inputs_than_chose(runs):
    _, report = split_rows(120, 0.5, 3)
    for one in compare_methods(runs, target=TARGET, objective=RADII, seed=3):
        assert len(one.radius) == len(one.right) == len(report)
        assert one.choice
    exact = next(one for one in compare_methods(runs, target=TARGET, objective=RADII, seed=3) if one.name == EXACT)
    sigma, weight = (float(part.split()[1]) for part in exact.choice.split(", "))
    statistics = next(run for run in runs if run.sigma == sigma)
    made = certmix.certify(statistics, mixing_weight=weight)
    np.testing.assert_allclose(
        exact.radius, made.radius[0][report], atol=5e-3
    )  # the weight is printed with four digits


def test_of_several_chains_the_best_that_reaches_the_target_is_chosen(runs):
    chains, rows = [chain_candidate(order) for order in (runs, runs[::-1])], np.arange(120)
    scores = [choose_thresholds(one, rows, target=TARGET, radii=RADII) for one in chains]
    best, thresholds = choose_chain(chains, rows, target=TARGET, radii=RADII)
    assert (thresholds, max(score for _, score in scores)) == scores[best]
    with pytest.raises(InvalidArgument, match="the best is"):
        choose_chain(chains, rows, target=1.0, radii=RADII)


def test_a_target_out_of_reach_and_no_run_are_refused(runs):
    with pytest.raises(InvalidArgument, match=r"Eq\. 5, Theorem A\.1 keeps no clean accuracy of 1\.0000"):
        compare_methods(runs, target=1.0)
    with pytest.raises(InvalidArgument, match="at least one run"):
        compare_methods([], target=0.9)
