"""A run folder as a leaderboard takes it: nothing is believed that the folder says of itself, a verdict least of all."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from certmix.certification.certify import Certificates
from certmix.errors import CertmixError, InvalidArgument
from certmix.runs.manifest import MANIFEST
from certmix.runs.store import Statistics, read_statistics
from certmix.verification.published import check_published
from certmix.verification.redraw import Verification

Mark = Literal["verified", "recomputed", "refused"]
Redraw = Callable[[Statistics, Verification], None]


@dataclass(frozen=True)
class Entry:
    """One run and what was found out about it here.

    Attributes:
        name: of the folder.
        statistics: its votes; None where they cannot be read.
        certificates: that it states; none where they cannot be read.
        found: what was compared, and every difference.
    """

    name: str
    statistics: Statistics | None
    certificates: Sequence[Certificates]
    found: Verification

    @property
    def mark(self) -> Mark:
        """ "verified": some inputs were drawn again, and every stated number follows from the votes. "recomputed": only
        the latter, so that the votes are taken on trust. "refused": something differs."""
        if not self.found.holds or not self.certificates:
            return "refused"
        return "verified" if self.found.redrawn else "recomputed"


def judge(folder: Path, redraw: Redraw | None = None) -> Entry:
    """Recompute every radius, log and accuracy that a folder states, and draw inputs again where `redraw` can.

    A run without all inputs of its data set is refused, as `certmix verify` does: accuracies would be of a choice.

    Args:
        folder: run folder with certificates.
        redraw: draws some inputs again and notes what differs; asked only where all else holds.
    """
    found, name = Verification(), folder.resolve().name
    try:
        statistics = read_statistics(folder)
        found.inputs, wanted = len(statistics), statistics.draws.dataset.inputs
        found.note("inputs that the manifest names, against those that are there", wanted, found.inputs)
        certificates = check_published([statistics], folder, found, required=True)
        if redraw is not None and found.holds:
            redraw(statistics, found)
    except CertmixError as error:
        found.differences.append(str(error))
        return Entry(name, None, (), found)
    return Entry(name, statistics, certificates, found)


def run_folders(folders: Sequence[Path]) -> list[Path]:
    """Each folder that is a run, and the run folders that lie in each other one.

    Raises: InvalidArgument: a folder that is no run and holds none.
    """
    runs: list[Path] = []
    for folder in folders:
        inside = (
            [folder] if (folder / MANIFEST).exists() else sorted(path.parent for path in folder.glob(f"*/{MANIFEST}"))
        )
        if not inside:
            raise InvalidArgument(
                f"DIR must be a run folder or hold some, got {folder}; name what certmix certify wrote."
            )
        runs += inside
    return list(dict.fromkeys(runs))
