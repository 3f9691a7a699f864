"""What a folder says besides its votes: certificates.parquet against the votes, every log and result.json against both."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from certmix.certification.certify import Certificates
from certmix.errors import CertmixError
from certmix.files import MOST_BYTES, read_whole
from certmix.formats.certificates import FILE, LOGS, log_texts, read_certificates
from certmix.formats.result import FILE as RESULT
from certmix.formats.result import read_result, result_of
from certmix.rules import Chain
from certmix.runs.store import Statistics
from certmix.runs.writer import PARTIAL
from certmix.verification.chain import check_chain
from certmix.verification.recompute import check_certificates
from certmix.verification.redraw import Verification


def check_made(runs: Sequence[Statistics], certificates: Certificates, result: Verification) -> None:
    """Recompute the radii of one run's rules, or of a chain of several runs.

    Args:
        runs: one, or all nodes of a chain in its order.
        certificates: of them.
        result: takes the findings.
    """
    if isinstance(certificates.rules[0], Chain):
        check_chain(runs, certificates, result)
    elif len(runs) == 1:
        check_certificates(runs[0], certificates, result)
    else:
        said = ", ".join(rule.label for rule in certificates.rules)
        result.differences.append(
            f"{certificates.certifier}, {said}: certificates of one run, against {len(runs)} runs"
        )


def check_published(
    runs: Sequence[Statistics], folder: Path, result: Verification, *, required: bool = False
) -> list[Certificates]:
    """Check the certificates of a folder, their logs line by line and their result.json; a log or a result that no
    certificate stands behind is noted.

    Args:
        runs: the votes that they are of: one run, or all nodes of a chain in its order.
        folder: where they are.
        result: takes the findings.
        required: whether a folder without certificates.parquet is an error.
    Returns: the certificates; none where there are none.
    Raises: RunError: a certificates.parquet that breaks its format.
    """
    logs = {path.name: path for path in sorted(folder.glob(LOGS))}
    published = read_certificates(folder) if required or (folder / FILE).exists() else []
    for made in published:
        check_made(runs, made, result)
    expected = {name: _claims(text) for name, text in log_texts(published).items()}
    for name, path in logs.items():
        if name not in expected:
            result.differences.append(f"{name} is a log that {FILE} does not list: nothing stands behind it")
            continue
        try:
            found = _claims(read_whole(path, "log", MOST_BYTES).decode(errors="replace"))
        except CertmixError as error:
            result.differences.append(f"{name} cannot be compared: {error}")
            continue
        _compare(name, expected[name], found, result)
    result.remarks += [f"{name} is missing, and was not checked" for name in expected if name not in logs]
    if (folder / RESULT).exists():
        if len(runs) == 1:
            _check_result(runs[0], folder, published, result)
        else:
            result.differences.append(f"{RESULT} states results of one run, against {len(runs)} runs")
    known = {FILE, *logs, *(path.name for path in folder.glob(PARTIAL.format("*")))}
    others = sorted(
        path.name for kind in ("*.tsv", "*.parquet") for path in folder.glob(kind) if path.name not in known
    )
    result.remarks += [f"{name} was not checked" for name in others]
    return published


def _check_result(
    statistics: Statistics, folder: Path, published: Sequence[Certificates], result: Verification
) -> None:
    """Note the first number of result.json that is not what the votes and the certificates come to."""
    try:
        stated = read_result(folder)
        right = result_of(statistics, published, stated.radii)
        if len(statistics) > statistics.draws.dataset.inputs:  # parts, of which any may have been named first
            stated, right = (replace(one, draws=one.draws.as_part()) for one in (stated, right))
        wrong = stated.disagreement(right)
    except CertmixError as error:
        wrong = f"cannot be compared: {error}"
    if wrong:
        result.differences.append(f"{RESULT}: {wrong}")


def _claims(text: str) -> list[list[str]]:
    """Rows of a log without their time, of which nothing is claimed."""
    return [line.split("\t")[:5] for line in text.splitlines()]


def _compare(
    name: str, expected: Sequence[Sequence[str]], found: Sequence[Sequence[str]], result: Verification
) -> None:
    """Note how many rows of a log differ, and the first of them."""
    wrong = [number for number, (right, row) in enumerate(zip(expected, found, strict=False)) if right != row]
    wrong += range(min(len(expected), len(found)), max(len(expected), len(found)))
    if wrong:
        right, row = (
            " ".join(rows[wrong[0]])[:80] if wrong[0] < len(rows) else "no such row" for rows in (expected, found)
        )
        result.differences.append(
            f"{name}: {len(wrong)} rows differ from {FILE}, the first in line {wrong[0] + 1}: {row!r}, not {right!r}"
        )
