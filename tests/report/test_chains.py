"""Chains in a report are what their runs' votes certify; anything else is refused."""

import numpy as np
import pytest

from certmix.certification.certify import certify
from certmix.errors import InvalidArgument
from certmix.formats.certificates import read_certificates, write_certificates
from certmix.pareto import chain_candidate
from certmix.report import read_chains, render_page
from certmix.runs.grouping import read_runs
from certmix.runs.store import read_statistics
from tests.report.made import report_of, write_chain, write_run
from tests.verification.forging import edit_certificates


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """Runs at two sigmas over the same 60 inputs."""
    base = tmp_path_factory.mktemp("runs")
    return [write_run(base / f"{sigma}", sigma) for sigma in (0.25, 0.5)]


@pytest.mark.parametrize("order", [(0, 1), (1, 0)])
def test_a_chain_comes_back_with_its_clean_accuracy(folders, tmp_path, order):
    nodes, rows = [folders[k] for k in order], np.arange(5, 50)
    (chain,) = read_chains(write_chain(tmp_path / "chained", *nodes, rows=rows), read_runs(folders))
    (stored,) = read_certificates(tmp_path / "chained")
    np.testing.assert_array_equal(chain.made.radius, stored.radius)
    assert chain.chain.sigmas == tuple((0.25, 0.5)[k] for k in order)
    candidate = chain_candidate([read_statistics(folder) for folder in nodes])
    assert chain.clean / len(rows) == pytest.approx(candidate.clean_accuracy((0.6, 0.3), rows))
    right = stored.prediction == stored.labels
    assert 0 < len(chain.reached) == np.sum((stored.radius[0] > 0) & right)


def test_without_g_its_clean_accuracy_is_not_known(tmp_path):
    runs = [write_run(tmp_path / f"{sigma}", sigma, inputs=8, accurate=False) for sigma in (0.25, 0.5)]
    report = report_of(*runs, certificates=write_chain(tmp_path / "chained", *runs))
    assert report.chains[0].clean is None
    assert report.groupings == ["class"]


def test_the_page_says_what_a_chain_is(folders, tmp_path):
    report = report_of(*folders, certificates=write_chain(tmp_path / "chained", *folders))
    page = render_page(report)
    assert "does not move" in page
    assert "σ\xa0=\xa00.25 above 0.6, σ\xa0=\xa00.5 above 0.3 answers, else g" in page
    assert "shared equally by the nodes" in page
    assert "chains" not in report.left_out
    assert "<caption>chain σ = 0.25, 0.5, 60 inputs</caption>" in page


def raise_radius(rows):
    next(row for row in rows if row["radius"] > 0)["radius"] += 1e-6


def raise_promise(about):
    about["certificates"][0]["promise"]["failure_probability"] = 0.01


@pytest.mark.parametrize("edit", [{"rows": raise_radius}, {"about": raise_promise}])
def test_a_forged_chain_is_refused(folders, tmp_path, edit):
    chained = write_chain(tmp_path / "chained", *folders)
    edit_certificates(chained, **edit)
    with pytest.raises(InvalidArgument, match="must follow from the votes of these runs, but [1-9]"):
        read_chains(chained, read_runs(folders))


def test_chains_of_other_runs_or_inputs_and_certificates_of_no_chain_are_refused(folders, tmp_path):
    chained = write_chain(tmp_path / "chained", *folders)
    with pytest.raises(InvalidArgument, match=r"chain of runs at sigma 0.25, 0.5, got runs at 0.25; name them all"):
        read_chains(chained, read_runs(folders[:1]))
    fewer = [write_run(tmp_path / f"{sigma}", sigma, inputs=20) for sigma in (0.25, 0.5)]
    with pytest.raises(InvalidArgument, match="must be over inputs of these runs, got others"):
        read_chains(chained, read_runs(fewer))
    write_certificates(tmp_path / "alone", [certify(read_statistics(folders[0]), mixing_weight=0.8)])
    with pytest.raises(InvalidArgument, match="must hold certificates of a chain, got weight 0.8"):
        read_chains(tmp_path / "alone", read_runs(folders))
