"""`certmix verify`: an honest run passes; an edited vote, radius or model does not."""

import json

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from certmix.runs.store import shard_name


@pytest.fixture
def stored(run, model, tmp_path):
    out = tmp_path / "run"
    sampling = ("--robust", model, "--accurate", model, "--dataset", "digits", "--sigma", 0.5, "--max", 3)
    options = ("--num-estimation", 60, "--mixing-weight", 0.9, "--mixing-weight", 1, "--failure-probability", 0.05)
    assert run("certify", *sampling, *options, "--out", out, "-q").code == 0
    return out


def _rewrite(path, change):
    """Edit a Parquet file as a forger would: a valid file, checksums and all."""
    table = pq.read_table(path)
    rows = table.to_pylist()
    change(rows[0])
    edited = pa.Table.from_pylist(rows, schema=table.schema)
    pq.write_table(edited, path, compression="zstd", write_page_checksum=True)


def test_an_honest_run_holds(run, stored):
    result = run("verify", stored, "--sample", 2, "-q")
    assert result.code == 0, result.err
    assert "The run holds: 2 of 3 inputs drawn again (320 draws), 6 radii of certificates.parquet" in result.out
    for derived in (*stored.glob("certificates*"), stored / "result.json"):
        derived.unlink()
    summary = json.loads(run("verify", stored, "--certifier", "theorem-a1", "--json", "-q").out)
    assert summary["holds"] is True
    assert summary["certificates_checked"] == 3
    assert sorted(summary["redrawn"]) == [0, 3, 6]


def test_a_shard_edited_by_one_vote_is_caught(run, stored):
    (shard,) = (stored / "shards").glob("*.parquet")

    def move_one_vote(row):
        counts = row["estimation_counts"]
        top = max(range(10), key=counts.__getitem__)
        counts[top] -= 1
        counts[(top + 1) % 10] += 1

    _rewrite(shard, move_one_vote)
    shard.rename(shard.with_name(shard_name(shard.read_bytes(), 0, 3)))  # a forger renames what its name is the hash of
    result = run("verify", stored, "--sample", 3, "-q")
    assert result.code == 1
    assert "The run does NOT hold" in result.out
    assert "estimation votes stored" in result.out
    assert "1 differ" in result.out


def test_a_radius_that_was_raised_is_caught(run, stored):
    _rewrite(stored / "certificates.parquet", lambda row: row.update(radius=row["radius"] + 0.01))
    result = run("verify", stored, "--sample", 1, "-q")
    assert result.code == 1
    assert "is above what the votes support" in result.out


def test_what_cannot_be_verified_is_one_line(run, stored, tmp_path):
    result = run("verify", tmp_path / "nothing")
    assert (result.code, result.out) == (2, "")
    assert "is not a run folder" in result.err
    result = run("verify", stored, "--sample", 0, "-q")
    assert result.code == 2
    assert "--sample must be a whole number from 1 to" in result.err
    result = run("verify", stored, "--robust", tmp_path / "gone.safetensors", "-q")
    assert result.code == 2
    assert "model file must exist" in result.err
    (stored / "certificates.parquet").write_text("not Parquet")
    result = run("verify", stored, "-q")
    assert result.code == 2
    assert "must be one that certmix wrote" in result.err
    assert result.err.count("\n") == 1
