"""Tables as markdown, LaTeX or CSV, and numbers that never round up."""

import csv
import io
import math
import re
from collections.abc import Iterable, Sequence
from decimal import ROUND_CEILING, ROUND_FLOOR, Decimal

from certmix.errors import InvalidArgument

_LATEX = {"&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_", "{": r"\{", "}": r"\}"}
_LATEX |= {"~": r"\~{}", "^": r"\^{}", "\\": r"$\backslash$"}  # of fonts that every LaTeX has as outlines
_LATEX |= {"<": "$<$", ">": "$>$", "|": "$|$", "\n": " "}
_NUMBER = re.compile(r"[-+]?\d")
_WITH_INTERVAL = re.compile(r"([\d.]+) \[([\d.]+), ([\d.]+)\]")
_MATHS = (  # in escaped text; names of files and folders are left alone
    (re.compile(r"\br = (\d[\d.]*\d|\d)"), r"$r = \1$"),
    (re.compile(r"\bradius r\b"), r"radius $r$"),
    (re.compile(r"(?<![\w/-])sigma (?:= )?(\d[\d.]*\d|\d)"), r"$\\sigma = \1$"),
    (re.compile(r"(?<![\w/-])sigma\b(?! = |[-/])"), r"$\\sigma$"),
    (re.compile(r"\bp\\_([AB])\b"), r"$p_\1$"),
    (re.compile(r"\bl([12])\b"), r"$\\ell_\1$"),
    (re.compile(r"\blinf\b"), r"$\\ell_\\infty$"),
    (re.compile(r"\$>\$= ?"), r"$\\geq$ "),
)


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


def short_list(names: Iterable[str], most: int = 3) -> str:
    """The first few names of a list, and how many more there are.

    Example:
        >>> short_list(["a", "b", "c", "d", "e"])
        'a, b, c and 2 more'
    """
    found = list(names)
    rest = len(found) - most
    return ", ".join(found[:most]) + (f" and {rest} more" if rest > 0 else "")


def shapes_repr(made: object) -> str:
    """A dataclass in one line: shapes stand for arrays, lengths for lists. For `__repr__` of types that hold many values."""

    def short(value: object) -> str:
        shape = getattr(value, "shape", None)
        if shape is not None:
            return f"{'x'.join(map(str, shape)) or 'one'} values"
        return f"{len(value)} entries" if isinstance(value, (list, tuple, dict)) else repr(value)

    shown = (f"{name}={short(value)}" for name, value in vars(made).items() if value is not None)
    return f"{type(made).__name__}({', '.join(shown)})"


def default_radii(largest: float) -> list[float]:
    """Radii for a table or an attack: 0 and the multiples of a round step up to the largest radius, six at most.

    Args:
        largest: radius that anything can be said about, in pixel units.
    Example:
        >>> default_radii(1.06), default_radii(0.097), default_radii(0.0)
        ([0.0, 0.25, 0.5, 0.75, 1.0], [0.0, 0.025, 0.05, 0.075], [0.0])
    """
    if not (math.isfinite(largest) and largest >= 0):
        raise InvalidArgument(f"largest must be >= 0 and finite (pixel units), got {largest}.")
    if largest == 0:
        return [0.0]
    scale = Decimal(1).scaleb(Decimal(largest).adjusted() - 1)
    steps = (scale * Decimal(digit) for digit in ("1", "2.5", "5", "10", "25"))
    step = next(step for step in steps if Decimal(largest) / step < 7)
    return [float(step * number) for number in range(int(Decimal(largest) / step) + 1)]


def render_table(
    headers: Sequence[str], rows: Sequence[Sequence[str]], table_format: str = "markdown", caption: str = ""
) -> str:
    """A table as text, with every cell escaped for its format; columns of numbers are aligned to the right.

    Args:
        headers: one per column. In LaTeX they break after commas.
        rows: cells as text, each row as long as the headers. In LaTeX "61.6 [57.1, 65.9]" is set as a number with the ends of
            its interval behind it, and "sigma 0.5", "r = 0.5" and their like as mathematics.
        table_format: "markdown", "latex" (booktabs) or "csv".
        caption: plain text, of LaTeX alone: with it, a table that floats and is no wider than its column.
    Raises: InvalidArgument: another format.
    """
    if table_format == "csv":
        text = io.StringIO()
        csv.writer(text, lineterminator="\n").writerows([headers, *rows])
        return text.getvalue().rstrip("\n")
    if table_format not in ("markdown", "latex"):
        raise InvalidArgument(f"table format must be markdown, latex or csv, got {table_format!r}.")
    numeric = [_is_numeric([row[column] for row in rows]) for column in range(len(headers))]
    if table_format == "markdown":
        return _markdown(headers, rows, numeric)
    tabular = _latex(headers, rows, numeric)
    return _float(tabular, caption) if caption else tabular


def _is_numeric(cells: Sequence[str]) -> bool:
    """Whether every cell that says something starts with a number."""
    said = [cell for cell in cells if cell]
    return bool(said) and all(_NUMBER.match(cell) for cell in said)


def _markdown(headers: Sequence[str], rows: Sequence[Sequence[str]], numeric: Sequence[bool]) -> str:
    cells = [[cell.replace("|", "\\|").replace("\n", " ") for cell in row] for row in (headers, *rows)]
    widths = [max(2, *(len(row[column]) for row in cells)) for column in range(len(headers))]
    lines = [
        "| " + " | ".join(f"{c:{'>' if n else '<'}{w}}" for c, w, n in zip(row, widths, numeric, strict=True)) + " |"
        for row in cells
    ]
    rule = "|".join("-" * (w + 1) + (":" if n else "-") for w, n in zip(widths, numeric, strict=True))
    return "\n".join([lines[0], f"|{rule}|", *lines[1:]])


def _latex(headers: Sequence[str], rows: Sequence[Sequence[str]], numeric: Sequence[bool]) -> str:
    columns = ["r" if number else "l" for number in numeric]
    top = [_stacked(header, column) for header, column in zip(headers, columns, strict=True)]
    lines = [" & ".join(row) + r" \\" for row in (top, *(map(_latex_cell, row) for row in rows))]
    begin = [rf"\begin{{tabular}}{{{''.join(columns)}}} % \usepackage{{booktabs}}", r"\toprule", lines[0], r"\midrule"]
    return "\n".join([*begin, *lines[1:], r"\bottomrule", r"\end{tabular}"])


def _float(tabular: str, caption: str) -> str:
    breakable = _latex_text(caption).replace("/", r"/\allowbreak ")
    fit = r"\resizebox{\ifdim\width>\linewidth\linewidth\else\width\fi}{!}{%"
    head = [r"\begin{table} % \usepackage{booktabs,graphicx}", r"\centering", rf"\caption{{{breakable}}}\smallskip"]
    return "\n".join([*head, r"\renewcommand{\arraystretch}{1.3}", fit, f"{tabular}}}", r"\end{table}"])


def _stacked(header: str, column: str) -> str:
    """A header, broken after its commas and colons."""
    lines = [_latex_text(line) for line in re.split(r"(?<=[,:]) ", header)]
    stacked = r" \\ ".join(lines)
    return stacked if len(lines) == 1 else rf"\shortstack[{column}]{{{stacked}}}"


def _latex_cell(cell: str) -> str:
    """A cell; the ends of an interval behind the number, one above the other."""
    found = _WITH_INTERVAL.fullmatch(cell)
    if found is None:
        return _latex_text(cell)
    value, *ends = found.groups()
    low, high = (end + r"\phantom{0}" * (4 - len(end)) for end in ends)
    return rf"${value}\,_{{{low}}}^{{{high}}}$"


def _latex_text(plain: str) -> str:
    """Plain text, escaped, with the field's symbols as mathematics."""
    text = "".join(_LATEX.get(character, character) for character in plain)
    for pattern, maths in _MATHS:
        text = pattern.sub(maths, text)
    return text
