"""Docstrings in the package's own style, as reStructuredText.

Sections may share one line with their text ("Returns: radius in pixel units."), and everything but backticks and
doctests is plain text: a `*` is a product, not emphasis.
"""

import re

from sphinx.application import Sphinx

_LISTS = ("Args", "Attributes")
_SECTION = re.compile(r"(Args|Attributes|Returns|Yields|Raises|Source|Guarantee|Differs|Examples?):(?:\s+(.*))?$")
_ENTRY = re.compile(r"(`?\*{0,2}\w[\w`, .()*]*?):\s+(.*)$")


def escape(text: str) -> str:
    """A line of prose: markup characters outside backticks lose their meaning."""
    parts = re.split(r"(`[^`]+`)", text)
    for position in range(0, len(parts), 2):
        parts[position] = re.sub(r"([*|\\`])", r"\\\1", parts[position])
        parts[position] = re.sub(r"_(?!\w)", r"\\_", parts[position])
    return "".join(parts)


def convert(lines: list[str]) -> list[str]:
    """The lines of one docstring, as reStructuredText."""
    made: list[str] = []
    for heading, body in _blocks(lines):
        made += _section(heading, body) if heading else _prose(body)
        made.append("")
    return made


def _blocks(lines: list[str]) -> list[tuple[str, list[str]]]:
    """(section or "", its lines), in order; a blank line that no indented line follows ends a section."""
    blocks: list[tuple[str, list[str]]] = [("", [])]
    for position, line in enumerate(lines):
        found = _SECTION.match(line)
        if found:
            blocks.append((found[1], [found[2]] if found[2] else []))
        elif not line.strip() and blocks[-1][0]:
            rest = next((later for later in lines[position:] if later.strip()), "")
            blocks.append(("", [])) if not rest.startswith(" ") else blocks[-1][1].append("")
        else:
            blocks[-1][1].append(line)
    return [(heading, body) for heading, body in blocks if any(line.strip() for line in body)]


def _section(heading: str, body: list[str]) -> list[str]:
    indents = [len(line) - len(line.lstrip()) for line in body[1:] if line.strip()]
    base = min(indents, default=0)
    lines = [body[0].strip(), *(line[base:] for line in body[1:])]
    if heading.startswith("Example"):
        return ["**Example**", "", *lines]
    entries = _entries(lines) if heading in _LISTS else []
    if not entries:
        return [f"**{heading}:** {escape(lines[0])}", *map(escape, (line.strip() for line in lines[1:]))]
    made = [f"**{heading}**", ""]
    for name, text in entries:
        made += [f"- **{escape(name)}**: {escape(text)}", ""]
    return made


def _entries(lines: list[str]) -> list[tuple[str, str]]:
    """(name, text) of each argument; none where the section is a sentence."""
    entries: list[tuple[str, str]] = []
    for line in lines:
        found = _ENTRY.match(line)
        if found:
            entries.append((found[1], found[2]))
        elif not line.strip():
            continue
        elif not entries:
            return []
        else:
            entries[-1] = (entries[-1][0], f"{entries[-1][1]} {line.strip()}")
    return entries


def _prose(body: list[str]) -> list[str]:
    """Paragraphs; what is indented is shown as it is written, as are doctests."""
    made: list[str] = []
    for paragraph in "\n".join(body).strip("\n").split("\n\n"):
        lines = [line for line in paragraph.split("\n") if line.strip()]
        if not lines:
            continue
        if lines[0].lstrip().startswith(">>>"):
            made += [*(line.strip() for line in lines), ""]
        elif lines[0].startswith(" "):
            made += ["::", "", *(f"    {line}" for line in lines), ""]
        elif all(line.startswith(("- ", "  ")) for line in lines):
            made += [*map(escape, lines), ""]
        else:
            made += _mixed(lines)
    return made


def _mixed(lines: list[str]) -> list[str]:
    """A paragraph, of which indented lines are a block that is shown as it is written."""
    made: list[str] = []
    shown = False
    for line in lines:
        if line.startswith(" ") and not shown:
            made += ["", "::", ""]
        elif not line.startswith(" ") and shown:
            made.append("")
        shown = line.startswith(" ")
        made.append(f"    {line}" if shown else escape(line))
    return [*made, ""]


def _process(app: Sphinx, what: str, name: str, thing: object, options: object, lines: list[str]) -> None:
    lines[:] = convert(lines)


def setup(app: Sphinx) -> dict[str, bool]:
    """Rewrite every docstring that autodoc reads."""
    app.connect("autodoc-process-docstring", _process)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
