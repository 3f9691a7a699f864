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
    models = {"robust model h": draws.model, "accurate model g": draws.accurate}
    hashes = {name: record.sha256 for name, record in models.items() if record} | {"data": draws.dataset.fingerprint}
    drawn = draw_command(draws, "redrawn")
    return "\n\n".join(
        [
            f"# Certified robustness at {draws.scale_text}",
            "Classifiers that mix a smoothed model h with an accurate model g, certified whatever g does. Radii are "
            f"{draws.norm}, in pixel units of inputs in [0, 1]. Written by certmix {__version__}, "
            "and again when the run is certified again.",
            f"Certified accuracy in %, rounded to the safe side, with 95 % intervals of the test set:\n\n{table}",
            "## Promise",
            *dict.fromkeys(promise.text for promise in promises),
            "## What was certified",
            _lines("- ", [f"{name}: {_text(value)}" for name, value in section.facts]),
            "sha256:",
            _lines("- ", [f"{name}: `{value}`" for name, value in hashes.items()]),
            "## Warnings",
            _lines("- ", warnings_of([(run, promises[0])])),
            "## Made, and checked, by",
            _lines("    ", [*([drawn] if drawn else []), *commands]),
            "`certmix verify` recomputes the radii and `result.json`; it does not read this card.\n",
        ]
    )


def _lines(before: str, texts: Sequence[str]) -> str:
    return "\n".join(f"{before}{_line(text)}" for text in texts)


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
