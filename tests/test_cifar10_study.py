"""The committed CIFAR-10 runs as real data: what the README says of them holds, and weights and votes belong together."""

import json
from pathlib import Path

import numpy as np
import pytest

import certmix
from certmix.certification.certify import certified_at
from certmix.models import fingerprint
from certmix.pareto import compare_methods
from certmix.verification.published import check_published
from certmix.verification.redraw import Verification

STUDY = Path(__file__).parents[1] / "benchmarks" / "cifar10"
RUNS = sorted((STUDY / "runs").iterdir())


@pytest.mark.parametrize("folder", RUNS, ids=lambda folder: folder.name)
def test_a_run_is_whole_and_its_certificates_are_those_of_its_votes(folder):
    statistics = certmix.read_statistics(folder)
    assert np.bincount(statistics.labels).tolist() == [50] * 10
    assert (statistics.estimation_draws == 10_000).all()
    result = Verification()
    check_published([statistics], folder, result, required=True)
    assert (result.certificates_checked, result.differences) == (500, [])


@pytest.mark.parametrize("folder", RUNS, ids=lambda folder: folder.name)
def test_a_run_is_of_the_committed_weights(folder, monkeypatch):
    monkeypatch.chdir(STUDY)
    draws = certmix.read_statistics(folder).draws
    for record in (draws.model, draws.accurate):
        assert fingerprint(certmix.load_model(record.spec)) == record.sha256


@pytest.mark.parametrize("folder", RUNS, ids=lambda folder: folder.name)
def test_nothing_committed_names_the_machine_that_made_it(folder):
    manifest = json.loads((folder / "manifest.json").read_text())
    assert manifest["draws"]["dataset"]["spec"] == "folder:data,mode=rgb"
    assert "/" not in json.dumps(manifest).replace("weights/", "")


def test_the_readmes_figures_are_those_of_the_votes():
    run = certmix.read_statistics(STUDY / "runs" / "gaussian-0.25")
    alone = certmix.certify(run, mixing_weight=1.0, votes="hard")
    assert (certified_at(alone.radius[0], 0.0) & (alone.prediction == run.labels)).mean() == pytest.approx(0.79)
    made = {one.name: one for one in compare_methods([run], target=0.86, confidences=(40 / 64, 52 / 64))}
    found = {name: (one.right & certified_at(one.radius, 0.5)).mean() for name, one in made.items()}
    assert found["Eq. 5, Theorem A.1"] == 0
    assert found["Eq. 5, exact"] == pytest.approx(0.288)
    assert found["Threshold, confident votes"] == pytest.approx(0.4)
    assert all(0.848 <= one.clean_accuracy <= 0.852 for one in made.values())
