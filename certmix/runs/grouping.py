"""Run folders -> runs: parts of one run belong together, and a missing part is said, not overlooked."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from certmix.errors import RunError
from certmix.runs.manifest import read_manifest
from certmix.runs.store import Statistics, read_statistics


@dataclass(frozen=True)
class Run:
    """One run: its folders (several where it was drawn in parts) and what they hold together."""

    folders: tuple[Path, ...]
    statistics: Statistics

    @property
    def wanted(self) -> int:
        """Inputs that the run is to have: those of the data set that it, or each part of it, was drawn from."""
        parts = (read_manifest(folder).draws.dataset for folder in self.folders)
        return sum({part.fingerprint: part.inputs for part in parts}.values())

    @property
    def coverage(self) -> str:
        """ "7 of 60 inputs"."""
        return f"{len(self.statistics)} of {self.wanted} inputs"

    @property
    def name(self) -> str:
        """The folders, as text."""
        return " ".join(str(folder) for folder in self.folders)


def read_runs(folders: Sequence[str | Path]) -> list[Run]:
    """The runs of some folders, ascending in sigma; folders of the same draws over other inputs are merged.

    Raises: RunError: as `read_statistics`, or a run without a finished input.
    """
    groups: dict[str, list[Path]] = {}
    for folder in folders:
        part = json.dumps(read_manifest(folder).draws.as_part().to_json(), sort_keys=True)
        groups.setdefault(part, []).append(Path(folder))
    runs = [Run(tuple(group), read_statistics(*group)) for group in groups.values()]
    for run in runs:
        if not len(run.statistics):
            raise RunError(f"{run.folders[0]} holds no finished input yet; run its certify command again.")
    return sorted(runs, key=lambda run: run.statistics.sigma)


def read_nodes(folders: Sequence[str | Path]) -> list[Run]:
    """`read_runs` in the order of their first folders: the nodes of a chain."""
    order = list(map(Path, folders))
    return sorted(read_runs(folders), key=lambda run: order.index(run.folders[0]))
