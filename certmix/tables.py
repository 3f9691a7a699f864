"""Tables as markdown, LaTeX or CSV, and numbers that never round up."""

import csv
import io
import math
from collections.abc import Sequence
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

from certmix.errors import InvalidArgument

_LATEX = {"&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}"}
_LATEX |= {"~": r"\textasciitilde{}", "^": r"\textasciicircum{}", "\\": r"\textbackslash{}"}


def floor_text(value: float, digits: int) -> str:
    """A number with so many decimals, never above it: rounded towards minus infinity.

    Example:
        >>> floor_text(0.4996, 3), floor_text(3.81147, 2)
        ('0.499', '3.81')
    """
    if not math.isfinite(value):
        raise InvalidArgument(f"a printed number must be finite, got {value}.")
    return str(Decimal(value).quantize(Decimal(1).scaleb(-digits), rounding=ROUND_FLOOR))


def percent_text(share: float, *, up: bool = False) -> str:
    """A share of inputs in percent with one decimal, rounded down (or up, for upper limits).

    Shares are counts over totals: what differs from a decimal only by float rounding is taken as that decimal.

    Example:
        >>> percent_text(0.428), percent_text(2 / 3), percent_text(2 / 3, up=True)
        ('42.8', '66.6', '66.7')
    """
    exact = Decimal(repr(round(100.0 * float(share), 9)))
    return str(exact.quantize(Decimal("0.1"), rounding=ROUND_CEILING if up else ROUND_FLOOR))


def render_table(headers: Sequence[str], rows: Sequence[Sequence[str]], table_format: str = "markdown") -> str:
    """A table as text, with every cell escaped for its format.

    Args:
        headers: one per column.
        rows: cells as text, each row as long as the headers.
        table_format: "markdown", "latex" (booktabs) or "csv".
    Raises: InvalidArgument: another format.
    """
    if table_format == "csv":
        text = io.StringIO()
        writer = csv.writer(text, lineterminator="\n")
        writer.writerows([headers, *rows])
        return text.getvalue().rstrip("\n")
    if table_format == "latex":
        lines = [" & ".join(map(_escape_latex, row)) + r" \\" for row in (headers, *rows)]
        rules = [rf"\begin{{tabular}}{{{'l' * len(headers)}}}", r"\toprule", lines[0], r"\midrule"]
        return "\n".join([*rules, *lines[1:], r"\bottomrule", r"\end{tabular}"])
    if table_format != "markdown":
        raise InvalidArgument(f"table format must be markdown, latex or csv, got {table_format!r}.")
    cells = [[cell.replace("|", "\\|").replace("\n", " ") for cell in row] for row in (headers, *rows)]
    widths = [max(len(row[column]) for row in cells) for column in range(len(headers))]
    lines = ["| " + " | ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) + " |" for row in cells]
    return "\n".join([lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:]])


def _escape_latex(text: str) -> str:
    return "".join(_LATEX.get(character, character) for character in text)
