"""What a forger can do to a run folder: valid files, with every hash made anew."""

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

import certmix
from certmix.formats.certificates import FILE, read_certificates, write_certificates
from certmix.runs.store import read_statistics, shard_name


def edit_manifest(folder: Path, change) -> None:
    """Apply `change` to the manifest's JSON."""
    path = folder / "manifest.json"
    tree = json.loads(path.read_text())
    change(tree)
    path.write_text(json.dumps(tree))


def edit_shard(folder: Path, change) -> None:
    """Apply `change` to the list of rows of the run's one shard, which gets the name that its new bytes ask for."""
    (path,) = (folder / "shards").glob("*.parquet")
    table = pq.read_table(path)
    rows = table.to_pylist()
    change(rows)
    path.unlink()
    write_shard(folder, pa.Table.from_pylist(rows, schema=table.schema))


def write_shard(folder: Path, table: pa.Table) -> None:
    """Write a shard as certmix does."""
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd", write_page_checksum=True)
    content = bytes(sink.getvalue().to_pybytes())
    first = table["index"][0].as_py() if len(table) else 0
    (folder / "shards" / shard_name(content, first or 0, len(table))).write_bytes(content)


def edit_certificates(folder: Path, rows=None, about=None) -> None:
    """Apply `rows` to the list of rows of certificates.parquet, and `about` to its metadata."""
    table = pq.read_table(folder / FILE)
    tree, found = json.loads(table.schema.metadata[b"certmix"]), table.to_pylist()
    if rows:
        rows(found)
    if about:
        about(tree)
    schema = table.schema.with_metadata({b"certmix": json.dumps(tree).encode()})
    pq.write_table(pa.Table.from_pylist(found, schema=schema), folder / FILE)


def rewrite_logs(folder: Path) -> None:
    """Make the logs follow from certificates.parquet again."""
    write_certificates(folder, read_certificates(folder))


def certify_again(folder: Path) -> None:
    """Certificates and logs of whatever the shards say now, under the promises that were stated before."""
    statistics, before = read_statistics(folder), read_certificates(folder)
    made = [
        certmix.certify(
            statistics,
            rules=one.rules,
            certifier=one.certifier,
            failure_probability=one.promise.failure_probability,
            votes=one.promise.votes,
            real_valued=one.promise.real_valued,
        )
        for one in before
    ]
    write_certificates(folder, made, seconds=statistics.seconds)


def swap(values: list, one: int, other: int) -> None:
    """Exchange two entries."""
    values[one], values[other] = values[other], values[one]


def move_between_bins(packed: list, stage: int, variable: int, variables: int) -> None:
    """Move one soft vote of a packed histogram into a neighbouring bin, counts and sums as they must be."""
    from certmix.intervals.histograms import BINS, LEFT

    table = np.array(packed).reshape(2, variables, BINS, 2)
    histogram = table[stage, variable]
    full = int(histogram[:, 0].argmax())
    mean = int(histogram[full, 1] // histogram[full, 0])
    target = full - 1 if full else 1
    histogram[full] -= [1, mean]
    histogram[target] += [1, int(LEFT[target])]
    packed[:] = table.reshape(-1).tolist()
