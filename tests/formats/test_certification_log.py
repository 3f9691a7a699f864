"""Published logs: the numbers come back; what we write never overstates; bad files are named."""

import csv
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import certmix
from certmix.certification.certify import Certificates
from certmix.errors import InvalidArgument
from certmix.formats.certification_log import log_text, read_predictions
from certmix.rules import LinearRule

HEADER = "idx\tlabel\tpredict\tradius\tcorrect\ttime\n"


def _published(path, radius):
    with path.open() as handle:
        rows = list(csv.DictReader(handle, delimiter="\t"))
    return np.mean([row["correct"] == "1" and float(row["radius"]) >= radius for row in rows])


@pytest.mark.parametrize(
    ("name", "sigma", "at_zero"), [("0.25", 0.25, 0.748), ("0.50", 0.5, 0.652), ("1.00", 1.0, 0.472)]
)
def test_cohens_certified_accuracies_come_back_at_weight_one(shared_data, name, sigma, at_zero):
    path = shared_data / "cohen_cifar10" / f"sigma_{name}.tsv"
    bounds = certmix.read_certification_log(path, sigma=sigma, printed_rounding="trust")
    radii = [0.0, 0.25, 0.5, 0.75, 1.0, 1.25, 1.5, 2.0, 2.5, 3.0]
    for certifier in ("exact", "theorem-a1"):
        curve = certmix.certified_accuracy(certmix.certify(bounds, certifier=certifier), bounds.labels, radii)
        assert curve.accuracy[0].tolist() == [_published(path, radius) for radius in radii]
    assert curve.accuracy[0, 0] == at_zero


def test_the_exact_certificate_certifies_where_theorem_a1_cannot(shared_data):
    path = shared_data / "cohen_cifar10" / "sigma_0.50.tsv"
    bounds = certmix.read_certification_log(path, sigma=0.5, printed_rounding="trust")
    accuracy = {
        name: certmix.certified_accuracy(
            certmix.certify(bounds, mixing_weight=0.79, certifier=name), bounds.labels, [0.5]
        ).accuracy[0, 0]
        for name in ("theorem-a1", "exact")
    }
    assert accuracy == {"theorem-a1": 0.0, "exact": 0.35}


def test_logs_with_more_columns_are_read(shared_data):
    folder = shared_data / "aces_cifar10_gaussian"
    bounds = certmix.read_certification_log(folder / "sigma_0.25.tsv", sigma=0.25)
    indices, labels, predictions = read_predictions(folder / "accurate_lanet.tsv")
    assert np.array_equal(bounds.indices, indices)
    assert (labels == predictions).mean() == 0.99


# How writers print: so many significant digits or decimals, with or without the zeros at the end.
WRITERS = {
    "{:.3}": lambda radius: f"{radius:.3}",
    "{:.4f}": lambda radius: f"{radius:.4f}",
    "round(., 2)": lambda radius: str(round(radius, 2)),
    "str": str,
}


@pytest.mark.parametrize("writer", WRITERS)
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(radii=st.lists(st.floats(0.01, 4.0), min_size=1, max_size=30))
def test_a_published_radius_is_never_read_as_more_than_it_was(tmp_path, writer, radii):
    rows = "".join(f"{i}\t1\t1\t{WRITERS[writer](radius)}\t1\t1\n" for i, radius in enumerate(radii))
    (tmp_path / "log.tsv").write_text(HEADER + rows)
    read = certmix.certify(certmix.read_certification_log(tmp_path / "log.tsv", sigma=1.0)).radius[0]
    assert (read <= radii).all()


def test_half_a_unit_of_the_last_digit_printed_is_taken_off(tmp_path):
    path = tmp_path / "log.tsv"
    path.write_text(HEADER + "0\t1\t1\t0.5\t1\t0:00:01.5\n1\t2\t-1\t0.0\t0\t15.4\n2\t0\t0\t1.22\t1\t1\n")
    trusted = certmix.certify(certmix.read_certification_log(path, sigma=0.5, printed_rounding="trust")).radius[0]
    assert trusted == pytest.approx([0.5, 0.0, 1.22], rel=1e-11)
    assert trusted[0] >= 0.5
    down = certmix.certify(certmix.read_certification_log(path, sigma=0.5)).radius[0]
    assert down == pytest.approx([0.495, 0.0, 1.215], rel=1e-9)
    with pytest.raises(InvalidArgument, match="printed_rounding must be one of down, trust, got 'up'"):
        certmix.read_certification_log(path, sigma=0.5, printed_rounding="up")


def test_cohens_logs_lose_less_than_their_printed_digits(shared_data):
    path = shared_data / "cohen_cifar10" / "sigma_0.50.tsv"
    down, trusted = (
        certmix.certify(certmix.read_certification_log(path, sigma=0.5, printed_rounding=how)).radius[0]
        for how in ("down", "trust")
    )
    assert (down[trusted > 0] < trusted[trusted > 0]).all()
    assert (trusted - down).max() <= 0.0051


def test_what_is_written_never_overstates_and_is_read_again(tmp_path):
    g = np.random.default_rng(0)
    radius = np.where(g.random(200) < 0.2, 0.0, g.uniform(0, 3, 200))
    made = Certificates(
        prediction=g.integers(0, 10, 200),
        radius=radius[None],
        rules=(LinearRule(1.0),),
        certifier="exact",
        sigma=1.0,
        labels=g.integers(0, 10, 200),
        indices=np.arange(0, 2000, 10),
    )
    (tmp_path / "log.tsv").write_text(log_text(made, seconds=np.full(200, 1.25)))
    with (tmp_path / "log.tsv").open() as handle:
        rows = list(csv.DictReader(handle, delimiter="\t"))
    for row, value, predicted, label in zip(rows, radius, made.prediction, made.labels, strict=True):
        assert Decimal(row["radius"]) <= Decimal(float(value))
        assert int(row["predict"]) == (predicted if value > 0 else -1)
        assert int(row["correct"]) == int(value > 0 and predicted == label)
    again = certmix.read_certification_log(tmp_path / "log.tsv", sigma=1.0)
    assert certmix.certify(again).radius[0] == pytest.approx(radius, abs=1.6e-6)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("hello\nworld\n", "must be a certification log with columns"),
        ("", "must be a certification log"),
        (HEADER + "0\t1\tx\t0.5\t1\t1\n", "line 2 must hold numbers"),
        (HEADER + "0\t1\t1\t0.5\t1\t1\n1\t1\t1\t-0.5\t1\t1\n", "line 3 must hold numbers, with radius >= 0"),
        (HEADER + "0\t1\t1\t0.5\t1\t1\n0\t1\t1\t0.5\t1\t1\n", "repeated idx"),
        (HEADER + "0\t1\t1\tnan\t1\t1\n", "line 2 must hold numbers, with radius >= 0"),
        (HEADER + "0\t1\t1\t1e999999\t1\t1\n", "line 2 must hold numbers, with radius >= 0"),
        (HEADER + "0\t1\t1\t50\t1\t1\n", "sigma must be the one that"),
    ],
)
def test_bad_logs_are_named(tmp_path, text, message):
    (tmp_path / "log.tsv").write_text(text)
    with pytest.raises(InvalidArgument, match=message):
        certmix.read_certification_log(tmp_path / "log.tsv", sigma=0.5)


def test_a_missing_log_and_a_bad_sigma_are_named(tmp_path):
    with pytest.raises(InvalidArgument, match="must exist"):
        certmix.read_certification_log(tmp_path / "absent.tsv", sigma=0.5)
    with pytest.raises(InvalidArgument, match="sigma must be > 0"):
        certmix.read_certification_log(tmp_path / "absent.tsv", sigma=0.0)
