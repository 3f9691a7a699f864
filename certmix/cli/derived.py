"""The folder that takes what is derived from a run, and what is written there."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from certmix.certification.certify import Certificates
from certmix.errors import InvalidArgument
from certmix.formats.certification_log import write_certification_log
from certmix.runs.grouping import Run
from certmix.runs.manifest import MANIFEST
from certmix.runs.store import Statistics


def derived_folder(run: Run, out: Path | None, runs: int) -> Path:
    """Where certificates of a run go: beside its draws, or into `out`, which is no other run's folder.

    Args:
        run: of which they are.
        out: of the command line.
        runs: how many runs there are.
    Raises: InvalidArgument: parts without `out`, several runs with it, or a folder of other draws.
    """
    if out is None:
        if len(run.folders) > 1:
            raise InvalidArgument(
                f"{', '.join(map(str, run.folders))} are parts of one run: give --out FOLDER for what is derived of them."
            )
        return run.folders[0]
    if runs > 1:
        raise InvalidArgument(f"--out takes what is derived of one run, got {runs} runs of other draws; certify each.")
    for folder in (out, *out.absolute().parents):
        if (folder / MANIFEST).exists() and [folder.resolve()] != [part.resolve() for part in run.folders]:
            raise InvalidArgument(f"--out must not be in another run's folder, got {out} in {folder}; choose another.")
    return out


def write_certificates(
    folder: Path, statistics: Statistics, made: Sequence[Certificates], *, rule: str, bound: str = "betting"
) -> list[str]:
    """Write certificates.parquet and one Cohen-format log per certifier and weight; returns their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    columns: dict[str, list[Any]] = {name: [] for name in ("index", "label", "prediction", "certifier")}
    columns |= {"mixing_weight": [], "radius": []}
    files = [str(folder / "certificates.parquet")]
    several = len(made) * len(made[0].mixing_weight) > 1
    for certificates in made:
        for position, weight in enumerate(certificates.mixing_weight):
            count = len(statistics)
            columns["index"] += statistics.indices.tolist()
            columns["label"] += statistics.labels.tolist()
            columns["prediction"] += certificates.prediction.tolist()
            columns["certifier"] += [certificates.certifier] * count
            columns["mixing_weight"] += [float(weight)] * count
            columns["radius"] += certificates.radius[position].tolist()
            stem = f"certificates-{certificates.certifier}-{weight:g}" if several else "certificates"
            files.append(str(folder / f"{stem}.tsv"))
            write_certification_log(files[-1], certificates, weight_position=position, seconds=statistics.seconds)
    promise = {
        "sigma": statistics.sigma,
        "failure_probability": made[0].failure_probability,
        "rule": rule,
        "votes": made[0].votes,
        "bound": bound,
        "real_valued": made[0].real_valued,
        "dataset": statistics.draws.to_json()["dataset"],
    }
    table = pa.table(columns).replace_schema_metadata({b"certmix": json.dumps(promise).encode()})
    pq.write_table(table, files[0], compression="zstd")
    return files
