"""model_card.md: what a run certifies, in a page of markdown that can lie beside a model."""

import re
from collections.abc import Sequence

from certmix.promise import Promise
from certmix.report.words import draw_command, run_section, warnings_of
from certmix.runs.grouping import Run
from certmix.version import __version__

_PLAIN = re.compile(r"[A-Za-z0-9 .,;(%)+-]*")


def model_card(run: Run, promises: Sequence[Promise], table: str, commands: Sequence[str]) -> str:
    """The card of one run: table, promise, what was certified, warnings, and how to check it.

    Whatever a manifest holds becomes text: it stands in code spans that it cannot leave, on one line.

    Args:
        run: its folders and votes.
        promises: of its certificates.
        table: certified accuracies as markdown.
        commands: that made and that check the certificates; the one that draws again comes before them.
    """
    draws, section = run.statistics.draws, run_section(run, promises[0])
    said = list(dict.fromkeys(promise.text for promise in promises))
    hashes = [("robust model h", draws.model.sha256), ("data", draws.dataset.fingerprint)]
    if draws.accurate is not None:
        hashes.insert(1, ("accurate model g", draws.accurate.sha256))
    drawn = draw_command(draws, "redrawn")
    blocks = [
        f"# Certified robustness at sigma {draws.sigma:g}",
        "Classifiers that mix a smoothed model h with an accurate model g, certified whatever g does. Radii are l2, in pixel "
        f"units of inputs in [0, 1]. Written by certmix {__version__}, which replaces it when the run is certified again.",
        f"Certified accuracy in %, rounded to the safe side, with 95 % intervals of the test set:\n\n{table}",
        "## Promise\n\n" + "\n\n".join(said),
        "## What was certified\n\n" + "\n".join(f"- {name}: {_text(value)}" for name, value in section.facts),
        "sha256:\n\n" + "\n".join(f"- {name}: `{value}`" for name, value in hashes),
        "## Warnings\n\n"
        + "\n".join(f"- {line}" for line in warnings_of([(run, promise) for promise in promises[:1]])),
        "## Made, and checked, by\n\n"
        + "\n".join(f"    {_line(text)}" for text in ([drawn] if drawn else []) + list(commands)),
        "`certmix verify` recomputes the radii and `result.json`; it does not read this card.",
    ]
    return "\n\n".join(blocks) + "\n"


def _line(text: str) -> str:
    """Text on one line: what cannot be printed is written out."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _text(value: str) -> str:
    """Plain words as they are, all else as a code span whose fence is longer than any inside.

    Example:
        >>> _text("300 of 300"), _text("a<b>`c`")
        ('300 of 300', '`` a<b>`c` ``')
    """
    if _PLAIN.fullmatch(value):
        return value
    line = _line(value)
    longest = max(map(len, re.findall("`+", line)), default=0)
    fence, space = "`" * (longest + 1), " " if longest else ""
    return f"{fence}{space}{line}{space}{fence}"
