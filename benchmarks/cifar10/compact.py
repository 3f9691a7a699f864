"""A finished run with all its inputs in one shard: a file in the repository instead of hundreds.

    python compact.py RUN

The new shard is written before the others go, so that a kill loses nothing.
"""

import sys
from pathlib import Path

from certmix.runs.manifest import read_manifest
from certmix.runs.store import SHARDS, read_shards
from certmix.runs.writer import RunWriter


def main() -> None:
    run = Path(sys.argv[1])
    manifest = read_manifest(run)
    records = sorted(read_shards(run, manifest), key=lambda record: record.index)
    old = list((run / SHARDS).glob("*.parquet"))
    with RunWriter(run, manifest, flush_seconds=float("inf")) as writer:
        for record in records:
            writer.add(record)
    new = set((run / SHARDS).glob("*.parquet")) - set(old)
    assert new, "the run is one shard already"
    for path in old:
        path.unlink()
    (run / ".lock").unlink(missing_ok=True)


if __name__ == "__main__":
    main()
