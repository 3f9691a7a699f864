"""Every point of a sweep as a Parquet table."""

from collections.abc import Sequence
from pathlib import Path

import pyarrow as pa

from certmix.files import write_whole
from certmix.pareto import MatchedPair, ParetoResult
from certmix.parquet import pack_table


def write_sweep(results: Sequence[ParetoResult], path: str | Path, *, force: bool = True) -> str:
    """Write a row per certifier, pair and radius; returns the path.

    Args:
        results: of `pareto_frontier`.
        path: of the Parquet.
        force: replace a file that is there.
    """
    rows = [
        row
        for result in results
        for kind, pairs in (("standalone", result.standalone), ("matched", result.matched))
        for pair in pairs
        for row in _rows(result.certifier, kind, pair)
    ]
    write_whole(path, pack_table(pa.Table.from_pylist(rows)), force=force)
    return str(path)


def _rows(certifier: str, kind: str, pair: MatchedPair) -> list[dict[str, object]]:
    curve = pair.curve
    return [
        {
            "certifier": certifier,
            "kind": kind,
            "sigma": pair.sigma,
            "rule": pair.rule.kind,
            "parameter": pair.rule.parameter,
            "clean_accuracy": pair.clean_accuracy,
            "radius": float(radius),
            "certified_accuracy": float(curve.accuracy[0, k]),
            "lower": float(curve.lower[0, k]),
            "upper": float(curve.upper[0, k]),
        }
        for k, radius in enumerate(curve.radii)
    ]
