"""Judged runs -> one HTML file: a table per data set, the mark of every run, and why some were refused."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from certmix.certifiers import CERTIFIERS
from certmix.curves import radii_within
from certmix.formats.result import Result, ResultRow, result_of
from certmix.report.page import fill
from certmix.runs.draws import Draws
from certmix.tables import percent_text

if TYPE_CHECKING:
    from certmix.verification.entry import Entry

_FORGED = 0.1  # share of forged inputs to speak of


@dataclass(frozen=True)
class Standing:
    """A row of a table: one certifier and rule of one run."""

    entry: "Entry"
    draws: Draws
    row: ResultRow

    @property
    def cells(self) -> list[tuple[str, str, str | float]]:
        """(text, what it says under the pointer, what it is sorted by) under the headers from sigma on."""
        row, spec = self.row, self.draws.model.spec or "from Python"
        votes = "" if row.promise.votes == "hard" else f", {row.promise.votes} votes"
        certifier = f"{CERTIFIERS[row.certifier].label}{votes}"
        unknown = row.clean_accuracy is None
        clean = "–" if row.clean_accuracy is None else percent_text(row.clean_accuracy)
        accuracies = [
            (percent_text(share), f"95 % interval {percent_text(low)} to {percent_text(high, up=True)}", share)
            for share, low, high in zip(row.certified_accuracy, row.lower, row.upper, strict=True)
        ]
        err = row.promise.failure_probability
        return [
            (f"{self.draws.sigma:g}", "", self.draws.sigma),
            (certifier, certifier, certifier),
            (row.rule.label, row.rule.label, row.rule.label),
            (clean, "not recorded" if unknown else "estimate", -1.0 if unknown else float(row.clean_accuracy or 0.0)),
            *accuracies,
            (f"{err:g}", row.promise.text, err),
            (spec, spec, spec),
        ]


@dataclass(frozen=True)
class Board:
    """The runs over the same inputs and labels whose balls are of one norm, best first at the first positive radius.

    Attributes:
        data: in words.
        fingerprint: of its content.
        radii: of the columns.
        standings: rows.
    """

    data: str
    fingerprint: str
    radii: Sequence[float]
    standings: Sequence[Standing]


def render_leaderboard(
    entries: "Sequence[Entry]",
    *,
    title: str = "Certified robustness: leaderboard",
    radii: Sequence[float] | None = None,
) -> str:
    """The page. What a run is called and says stays text, as in `render_page`; sorting needs no network.

    Accuracies are computed here from certificates that were recomputed; a refused run gets no row, only its reason.

    Args:
        entries: of `certmix.verification.entry.judge`.
        title: of the page.
        radii: columns, pixel units; of every table its own round ones where left out.
    """
    accepted = [entry for entry in entries if entry.mark != "refused"]
    groups: dict[tuple[str, str, bytes, bytes], list[Entry]] = {}
    for entry in accepted:
        assert entry.statistics is not None
        indices, labels = entry.statistics.indices.tobytes(), entry.statistics.labels.tobytes()
        draws = entry.statistics.draws
        groups.setdefault((draws.norm, draws.dataset.fingerprint, indices, labels), []).append(entry)
    return fill(
        "leaderboard.html",
        ("leaderboard",),
        title=title,
        boards=[_board(group, radii) for group in groups.values()],
        accepted=[(entry, _about(entry)) for entry in accepted],
        refused=[entry for entry in entries if entry.mark == "refused"],
    )


def _board(entries: "Sequence[Entry]", radii: Sequence[float] | None) -> Board:
    at = radii or radii_within([made for entry in entries for made in entry.certificates])
    results: list[tuple[Entry, Result]] = []
    for entry in entries:
        assert entry.statistics is not None
        results.append((entry, result_of(entry.statistics, entry.certificates, at)))
    standings = [Standing(entry, result.draws, row) for entry, result in results for row in result.rows]
    first = next((position for position, radius in enumerate(at) if radius > 0), 0)
    standings.sort(key=lambda one: one.row.certified_accuracy[first:], reverse=True)
    data, norm = results[0][1].draws.dataset, results[0][1].norm
    return Board(
        f"{data.spec} ({data.subset_text}), {data.inputs:,} inputs, {norm} radii", data.fingerprint, at, standings
    )


def _about(entry: "Entry") -> list[tuple[str, str]]:
    """Name and value of what was checked of an accepted run, and what its certificates rest on."""
    assert entry.statistics is not None
    draws, found = entry.statistics.draws, entry.found
    again = "none: the votes are taken on trust"
    if found.redrawn:
        forged = max(1, round(found.inputs * _FORGED))
        escape = f"{forged} forged ones would have escaped with probability {found.escape_probability(forged):.2g}"
        again = f"{len(found.redrawn)} of {found.inputs} inputs, {found.draws_repeated:,} draws; {escape}"
    seed = draws.seed_source + (f" from {draws.seed_text!r}" if draws.seed_source == "derived" else "")
    g = "not recorded" if draws.accurate is None else f"{draws.accurate.spec} (sha256 {draws.accurate.sha256})"
    return [
        ("drawn again", again),
        ("radii recomputed at 50 digits", f"{found.certificates_checked:,}"),
        *(("note", remark) for remark in found.remarks),
        *(
            ("promise", text)
            for text in dict.fromkeys(made.promise.text for made in entry.certificates if made.promise)
        ),
        ("robust model h", f"{draws.model.spec or 'from Python'} (sha256 {draws.model.sha256})"),
        ("accurate model g", g),
        ("draws", f"{draws.num_selection:,} + {draws.num_estimation:,} per input, seed {seed}"),
    ]
