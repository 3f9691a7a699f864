"""Report -> one HTML file: template, style and script inlined, nothing from elsewhere, and data that cannot become code."""

import base64
import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files

import jinja2

from certmix.certification.certify import Certificates
from certmix.curves import certified_accuracy, radii_within
from certmix.report.chains import ChainData
from certmix.report.payload import Report
from certmix.report.run_data import RunData
from certmix.rules import LinearRule, Rule, ThresholdRule
from certmix.tables import percent_text
from certmix.version import __version__

_FOLDER = files("certmix.report") / "page"
SCRIPTS = ("arithmetic", "data", "chart", "accuracy", "groups", "frontier", "plane", "margins", "inputs", "main")
_STATIC_RULES: tuple[Rule, ...] = (LinearRule(0.6), LinearRule(0.8), LinearRule(1.0), ThresholdRule(0.6))
# Everything is refused but this file's own style and script, by their hashes.
_POLICY = "default-src 'none'; style-src {style}; script-src {script}; base-uri 'none'; form-action 'none'"
_PICTURES = "; img-src data:"  # only where the page has any


def render_page(report: Report) -> str:
    """The report as HTML that needs no network.

    Names, specs and paths of a run are text, whatever they hold: Jinja escapes them where they are in the page, and the
    data island holds no "<" at all. Scripts and styles of other origin than this package do not run.

    Args:
        report: of `build_report`.
    Returns: the file's content.
    """
    return fill(
        "page.html",
        SCRIPTS,
        title=report.title,
        report=report,
        percent=round(100 * report.confidence),
        pictures=bool(report.pictures.uris),
        island=island(report.to_json()),
        static=[*map(_of_run, report.runs), *map(_of_chain, report.chains)],
        certifiers=report.certifiers,
    )


def fill(template: str, scripts: Sequence[str], *, pictures: bool = False, **values: object) -> str:
    """A page of `page/` with style, scripts and the policy that allows these alone; every value in it is escaped.

    Args:
        template: file name.
        scripts: names of the scripts, in order.
        pictures: whether it holds any, which the policy then allows from the page itself.
        values: of the template's variables.
    """
    style, script = _read("page.css"), "".join(_read(f"{name}.js") for name in scripts)
    environment = jinja2.Environment(
        loader=jinja2.FunctionLoader(_read),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    policy = _POLICY.format(style=_hash(style), script=_hash(script)) + (_PICTURES if pictures else "")
    return environment.get_template(template).render(
        policy=policy, style=style, script=script, version=__version__, **values
    )


def island(values: object) -> str:
    """JSON that can stand inside a script element: "<", ">" and "&" are escaped, and so is all that is not ASCII.

    Example:
        >>> island("</script><b>")
        '"\\\\u003c/script\\\\u003e\\\\u003cb\\\\u003e"'
    """
    text = json.dumps(values, separators=(",", ":"), allow_nan=False)
    for character in "<>&":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return text


@dataclass(frozen=True)
class StaticTable:
    """Certified accuracies that need no script: text in cells."""

    name: str
    radii: Sequence[float]
    rows: Sequence[Sequence[str]]


def _of_run(run: RunData) -> StaticTable:
    """From certificates rounded to the safe side."""
    clean = [float(run.clean[rule.kind](rule.parameter)) if run.clean else None for rule in _STATIC_RULES]
    return _static(run.name, run.certify(_STATIC_RULES), clean)


def _of_chain(chain: ChainData) -> StaticTable:
    return _static(
        f"{chain.name}, {len(chain.made):,} inputs",
        chain.made,
        [None if chain.clean is None else chain.clean / len(chain.made)],
    )


def _static(name: str, made: Certificates, clean: Sequence[float | None]) -> StaticTable:
    assert made.labels is not None
    radii = radii_within([made])
    accuracy = certified_accuracy(made, made.labels, radii).accuracy
    rows = [
        [rule.label, "–" if right is None else percent_text(right), *map(percent_text, certified)]
        for rule, right, certified in zip(made.rules, clean, accuracy.tolist(), strict=True)
    ]
    return StaticTable(name, radii, rows)


def _read(name: str) -> str:
    return (_FOLDER / name).read_text(encoding="utf-8")


def _hash(content: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"
