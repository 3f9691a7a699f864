"""No printed number is above the stored one, in any format that leaves the package."""

import csv
import io
import json
import re
from fractions import Fraction

import numpy as np
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import certmix
from certmix.certification.bounds import maximum_radius
from certmix.certification.certify import Certificates
from certmix.cli.accuracy import accuracy_table
from certmix.formats.certificates import write_certificates
from certmix.formats.certification_log import log_text
from certmix.promise import Promise
from certmix.rules import LinearRule

radii = st.lists(st.one_of(st.just(0.0), st.floats(0, 6), st.floats(1e-9, 1e-5)), min_size=1, max_size=8)


def _certificates(values, right):
    count = len(values)
    labels = np.arange(count) % 3
    return Certificates(
        prediction=np.where(np.resize(right, count), labels, (labels + 1) % 3),
        radius=np.array([values]),
        rules=(LinearRule(0.8),),
        certifier="exact",
        sigma=0.5,
        promise=Promise(),
        labels=labels,
        indices=np.arange(count),
    )


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(radii, st.lists(st.booleans(), min_size=1, max_size=8))
def test_logs_and_parquet(tmp_path, values, right):
    certificates = _certificates(values, right)
    (tmp_path / "log.tsv").write_text(log_text(certificates))
    rows = list(csv.DictReader((tmp_path / "log.tsv").read_text().splitlines(), delimiter="\t"))
    for row, value in zip(rows, values, strict=True):
        assert 0 <= Fraction(row["radius"]) <= Fraction(value)
        assert Fraction(value) - Fraction(row["radius"]) <= Fraction(1, 10**6)
    again = certmix.read_certification_log(tmp_path / "log.tsv", sigma=2.0)
    recertified = certmix.certify(again, mixing_weight=1.0).radius[0]
    assert (recertified <= np.array(values)).all()
    write_certificates(tmp_path / "run", [certificates], force=True)
    assert pq.read_table(tmp_path / "run" / "certificates.parquet")["radius"].to_pylist() == values


@given(radii, st.lists(st.booleans(), min_size=1, max_size=8), st.lists(st.floats(0, 6), min_size=1, max_size=4))
def test_tables_and_json(values, right, at):
    certificates = _certificates(values, right)
    at = sorted(set(at))
    curve = certmix.certified_accuracy(certificates, certificates.labels, at)
    correct = certificates.prediction == certificates.labels
    truth = [
        Fraction(
            sum(bool(ok) and value > 0 and value >= r for ok, value in zip(correct, values, strict=True)), len(values)
        )
        for r in at
    ]
    rows = curve.to_json()
    assert json.loads(json.dumps(rows))[0]["certified_accuracy"] == [float(share) for share in truth]
    for table_format in ("markdown", "latex", "csv"):
        text = accuracy_table(rows, table_format)
        if table_format == "csv":
            assert len(next(csv.reader(io.StringIO(text)))) == 3 + len(at)
        plain = text.replace(r"\phantom{0}", "")
        printed = re.findall(r"(\d+\.\d)(?: \[|\\,_{)(\d+\.\d)(?:, |}\^{)(\d+\.\d)[]}]", plain)
        assert len(printed) == len(at)
        for (value, low, high), share, below, above in zip(
            printed, truth, curve.lower[0].tolist(), curve.upper[0].tolist(), strict=True
        ):
            assert Fraction(value) <= 100 * share < Fraction(value) + Fraction(1, 10)
            assert float(low) <= 100 * below + 1e-8
            assert float(high) >= 100 * above - 1e-8


@pytest.mark.parametrize("n", [1_000, 10_000, 100_000])
def test_the_stated_reach_of_n_draws_is_never_exceeded(n):
    unanimous = certmix.bound_probabilities([[1, 0]], [[n, 0]], sigma=1.0)
    reach = maximum_radius(n, 1e-3, 1.0)
    assert 0 <= reach - float(certmix.certify(unanimous).radius[0, 0]) < 1e-9
