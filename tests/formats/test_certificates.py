"""certificates.parquet and its logs: the numbers come back as they were, the set replaces the set before."""

import json
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import certmix
from certmix.errors import InvalidArgument, RunError
from certmix.formats.certificates import read_certificates, write_certificates
from certmix.promise import Promise
from certmix.rules import Chain, LinearRule, ThresholdRule

CLOSE = (LinearRule(0.8), LinearRule(float(np.float32(0.8))), LinearRule(np.nextafter(0.8, 1)))  # equal to six digits


def _made(rules, promise=None, certifier="exact"):
    bounds = certmix.bound_probabilities(
        np.tile([5, 0, 0], (4, 1)),
        [[90, 8, 2], [60, 30, 10], [99, 1, 0], [40, 30, 30]],
        sigma=0.5,
        labels=np.array([0, 0, 1, 2]),
        indices=np.array([3, 5, 7, 11]),
        **({} if promise is None else {"failure_probability": promise.failure_probability}),
    )
    return certmix.certify(bounds, rules=rules, certifier=certifier)


def _same(one, other):
    assert (one.rules, one.certifier, one.sigma, one.promise) == (
        other.rules,
        other.certifier,
        other.sigma,
        other.promise,
    )
    for name in ("prediction", "radius", "labels", "indices"):
        assert np.array_equal(getattr(one, name), getattr(other, name))


def test_every_number_comes_back_as_it_was(tmp_path):
    made = [
        _made((*CLOSE, ThresholdRule(0.6), LinearRule(0.9, "softmax"))),
        _made((LinearRule(1.0),), Promise(0.05), "theorem-a1"),
    ]
    write_certificates(tmp_path / "new", made)
    for one, other in zip(read_certificates(tmp_path / "new"), made, strict=True):
        _same(one, other)
    stored = set(pq.read_table(tmp_path / "new" / "certificates.parquet")["parameter"].to_pylist())
    assert {rule.parameter for rule in CLOSE} <= stored


def test_a_chain_comes_back_too_and_only_by_itself(tmp_path):
    (one,) = [_made((LinearRule(1.0),))]
    chain = Chain([0.5, 0.25], [0.8, 0.1 + 0.2])
    made = [replace(one, rules=(chain,)), replace(one, rules=(chain,), certifier="theorem-3.5")]
    files = write_certificates(tmp_path, made)
    assert [path.rpartition("/")[2] for path in files[1:]] == [
        f"certificates-{name}-chain-0.5-0.25-0.8-0.30000000000000004.tsv" for name in ("exact", "theorem-3.5")
    ]
    for stored, meant in zip(read_certificates(tmp_path), made, strict=True):
        _same(stored, meant)

    def rules_of(tree):
        return tree["certificates"][0]["rules"]

    for change, message in (
        (
            lambda tree: rules_of(tree).append(LinearRule(1.0).to_json()),
            "must hold a chain by itself, in l2, got 2 rules",
        ),
        (lambda tree: rules_of(tree)[0]["thresholds"].pop(), "a chain of 2 runs needs as many thresholds, got 1"),
        (lambda tree: rules_of(tree)[0].update(sigmas=[0.5, 0.0]), "sigma must be > 0"),
        (lambda tree: rules_of(tree)[0].update(parameter=1), "must hold known fields only, got parameter"),
    ):
        write_certificates(tmp_path, made, force=True)
        _rewrite(tmp_path / "certificates.parquet", about=change)
        with pytest.raises(RunError, match=message):
            read_certificates(tmp_path)


def test_weights_equal_to_six_digits_have_logs_of_their_own(tmp_path):
    files = write_certificates(tmp_path, [_made(CLOSE)])
    assert len(set(files)) == 4
    assert len(list(tmp_path.glob("certificates-exact-0.8*.tsv"))) == 3


def test_a_set_replaces_the_set_before(tmp_path):
    (tmp_path / "manifest.json").touch()  # in a run folder, certificates are derived
    write_certificates(tmp_path, [_made(CLOSE)])
    (tmp_path / "notes.tsv").touch()
    files = write_certificates(tmp_path, [_made((ThresholdRule(0.6),))])
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "certificates.parquet", "certificates.tsv", "manifest.json", "notes.tsv",
    ]  # fmt: skip
    assert [str(tmp_path / name) for name in ("certificates.parquet", "certificates.tsv")] == files
    assert read_certificates(tmp_path)[0].rules == (ThresholdRule(0.6),)


def test_elsewhere_nothing_is_overwritten_unasked(tmp_path):
    write_certificates(tmp_path, [_made(CLOSE)])
    with pytest.raises(InvalidArgument, match="must not exist, but does"):
        write_certificates(tmp_path, [_made(CLOSE)])
    write_certificates(tmp_path, [_made(CLOSE)], force=True)
    log = certmix.certify(certmix.read_certification_log(next(tmp_path.glob("*.tsv")), sigma=0.5))
    with pytest.raises(InvalidArgument, match="need labels, indices and a promise"):
        write_certificates(tmp_path, [log], force=True)


def test_a_link_is_replaced_never_followed(tmp_path):
    (tmp_path / "precious").write_text("mine")
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "manifest.json").touch()
    for name in ("certificates.parquet", "certificates.tsv", "certificates-exact-1.tsv"):
        (folder / name).symlink_to(tmp_path / "precious")
    write_certificates(folder, [_made((LinearRule(1.0),))])
    assert (tmp_path / "precious").read_text() == "mine"
    assert not any(path.is_symlink() for path in folder.iterdir())


def _rewrite(path, *, column=None, value=None, about=None):
    table = pq.read_table(path)
    metadata = json.loads(table.schema.metadata[b"certmix"])
    if column is not None:
        values = table[column].to_pylist()
        values[1] = value
        field = table.schema.field(column)
        table = table.set_column(table.schema.get_field_index(column), field, pa.array(values, field.type))
    if about is not None:
        about(metadata)
    pq.write_table(table.replace_schema_metadata({b"certmix": json.dumps(metadata).encode()}), path)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"column": "certifier", "value": "cdf"}, "certifier must be the same in every row"),
        ({"column": "rule", "value": "threshold"}, "rule must be the same in every row"),
        ({"column": "parameter", "value": 0.8000001}, "parameter must be the same in every row"),
        ({"column": "index", "value": 4}, "index must be the same in every row"),
        ({"column": "label", "value": 2}, "label must be the same in every row"),
        ({"column": "prediction", "value": 2}, "prediction must be the same in every row"),
        ({"column": "radius", "value": float("inf")}, "radius must be finite and >= 0"),
        ({"column": "radius", "value": -1.0}, "radius must be finite and >= 0"),
        ({"column": "radius", "value": None}, "must hold no nulls"),
        (
            {"about": lambda tree: tree["certificates"][0]["rules"].pop()},
            "|".join(("as many rows", "same in every row")),
        ),
        ({"about": lambda tree: tree["certificates"][0].update(certifier="best")}, "certifier must be one of exact"),
        ({"about": lambda tree: tree["certificates"][0]["promise"].update(votes="loud")}, "votes must be one of hard"),
        (
            {"about": lambda tree: tree["certificates"][0]["promise"].update(failure_probability=0)},
            "failure_probability",
        ),
        ({"about": lambda tree: tree.update(sigma=-1)}, "sigma must be a finite number"),
    ],
)
def test_what_contradicts_itself_is_refused(tmp_path, change, message):
    write_certificates(tmp_path, [_made(CLOSE)])
    _rewrite(tmp_path / "certificates.parquet", **change)
    with pytest.raises(RunError, match=message):
        read_certificates(tmp_path)


def test_what_certmix_did_not_write_is_named(tmp_path):
    with pytest.raises(RunError, match="must exist; run certmix certify"):
        read_certificates(tmp_path)
    (tmp_path / "certificates.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(RunError, match="must be one that certmix wrote"):
        read_certificates(tmp_path)
    pq.write_table(pa.table({"radius": [0.5]}), tmp_path / "certificates.parquet")
    with pytest.raises(RunError, match="must be one that certmix wrote"):
        read_certificates(tmp_path)
