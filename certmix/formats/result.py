"""result.json: what a run's certificates come to, for tables and leaderboards. A claim, which `certmix verify` checks."""

import json
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np

from certmix.certification.certify import Certificates
from certmix.certifiers import CERTIFIERS
from certmix.curves import certified_accuracy, radii_within
from certmix.errors import InvalidArgument, RunError
from certmix.files import read_whole
from certmix.json_fields import Fields
from certmix.promise import NORMS, Norm, Promise
from certmix.rules import Chain, Rule, rule_from_json
from certmix.runs.draws import Draws
from certmix.runs.store import Statistics
from certmix.summary import summarise

FILE, SCHEMA_VERSION = "result.json", 1
_MOST_BYTES, _MOST_ROWS, _ROUNDING = 64 << 20, 10_000, 1e-9


@dataclass(frozen=True)
class ResultRow:
    """What one certifier certifies of one rule, over the inputs of the run.

    Attributes:
        certifier: its name.
        rule: how g and h become one classifier.
        promise: of each certificate.
        clean_accuracy: share of inputs that are right unperturbed, an estimate; None where g was not recorded.
        abstained: share of inputs at which nothing is certified.
        certified_accuracy, lower, upper: share of inputs that are right and certified at each radius of the result, and its
            interval over test sets of this size.
    """

    certifier: str
    rule: Rule
    promise: Promise
    clean_accuracy: float | None
    abstained: float
    certified_accuracy: tuple[float, ...]
    lower: tuple[float, ...]
    upper: tuple[float, ...]

    def to_json(self) -> dict[str, object]:
        """As plain values."""
        lists = {name: list(getattr(self, name)) for name in ("certified_accuracy", "lower", "upper")}
        return {**vars(self), "rule": self.rule.to_json(), "promise": self.promise.to_json(), **lists}

    @classmethod
    def from_json(cls, tree: Fields, radii: int) -> "ResultRow":
        """Of what `to_json` made, at so many radii. Raises RunError where a field breaks its rule."""
        made = cls(
            certifier=tree.choice("certifier", tuple(CERTIFIERS)),
            rule=rule_from_json(tree.part("rule")),
            promise=Promise.from_json(tree.part("promise")),
            clean_accuracy=tree.optional("clean_accuracy", lambda: tree.number("clean_accuracy", 0.0, 1.0)),
            abstained=tree.number("abstained", 0.0, 1.0),
            certified_accuracy=tree.numbers("certified_accuracy", 0.0, 1.0),
            lower=tree.numbers("lower", 0.0, 1.0),
            upper=tree.numbers("upper", 0.0, 1.0),
        )
        tree.end()
        if any(len(values) != radii for values in (made.certified_accuracy, made.lower, made.upper)):
            raise RunError(
                f"{tree.where} must hold an accuracy and its interval for each of {radii} radii; certify again."
            )
        return made


@dataclass(frozen=True)
class Result:
    """Certified accuracies of one run.

    Attributes:
        draws: what defines the run: hashes of models and data, sigma, numbers of draws, noise, seed.
        inputs: how many inputs the accuracies are of.
        radii: at which they are, pixel units, in the norm of the noise (`norm`).
        confidence: of the intervals.
        rows: one per certifier and rule.
    """

    draws: Draws
    inputs: int
    radii: tuple[float, ...]
    confidence: float
    rows: tuple[ResultRow, ...]

    @property
    def norm(self) -> Norm:
        """Of the certified balls: l2 under Gaussian noise, l1 under splitting noise."""
        return self.draws.norm

    def to_json(self) -> dict[str, object]:
        """As plain values: the content of the file."""
        return {
            "schema_version": SCHEMA_VERSION,
            "draws": self.draws.to_json(),
            "inputs": self.inputs,
            "norm": self.norm,
            "radii": list(self.radii),
            "confidence": self.confidence,
            "rows": [row.to_json() for row in self.rows],
        }

    @classmethod
    def from_json(cls, tree: object, where: str) -> "Result":
        """Of what `to_json` made. Raises RunError with one line where anything about it is wrong."""
        whole = Fields(tree, where)
        version = whole.integer("schema_version", 0)
        if version != SCHEMA_VERSION:
            raise RunError(f"{where} has schema version {version}, this certmix reads {SCHEMA_VERSION}; certify again.")
        radii, rows = whole.numbers("radii", 0.0), whole.objects("rows")
        if len(rows) > _MOST_ROWS:
            raise RunError(f"{where} must hold at most {_MOST_ROWS:,} rows, got {len(rows):,}; certify again.")
        made = cls(
            draws=Draws.from_json(whole.part("draws")),
            inputs=whole.integer("inputs", 1),
            radii=radii,
            confidence=whole.number("confidence", 0.0, 1.0, open_low=True),
            rows=tuple(ResultRow.from_json(Fields(row, f"{where}: rows"), len(radii)) for row in rows),
        )
        stated = whole.choice("norm", NORMS)
        whole.end()
        if stated != made.norm:
            raise RunError(f"{where}: norm must be {made.norm}, that of the noise, got {stated}; certify again.")
        return made

    def disagreement(self, other: "Result") -> str | None:
        """The first thing that is stated otherwise than in `other`, which is right; None where the two agree."""
        return next(_differences(self.to_json(), other.to_json(), ""), None)


def result_of(
    statistics: Statistics, certificates: Sequence[Certificates], radii: Sequence[float] | None = None
) -> Result:
    """What these certificates of a run come to.

    Args:
        statistics: the run.
        certificates: of its votes, under a promise, with labels.
        radii: at which; those of a table of these certificates where left out.
    Raises: InvalidArgument: certificates without a promise.
    """
    at, rows, confidence = tuple(radii_within(certificates) if radii is None else radii), [], 0.95
    for made in certificates:
        if made.promise is None:
            raise InvalidArgument("certificates of a result must state their promise, got None.")
        rules = [cast(Rule, rule) for rule in made.rules if not isinstance(rule, Chain)]
        if len(rules) < len(made.rules):
            raise InvalidArgument("certificates of a result must be of one run's rules, got those of a chain.")
        curve = certified_accuracy(made, statistics.labels, np.array(at), confidence=confidence)
        for position, summary in enumerate(summarise(statistics, made)):
            accuracy, lower, upper = (
                tuple(values[position].tolist()) for values in (curve.accuracy, curve.lower, curve.upper)
            )
            shares = (summary.clean_accuracy, summary.abstained, accuracy, lower, upper)
            rows.append(ResultRow(made.certifier, rules[position], made.promise, *shares))
    return Result(statistics.draws, len(statistics), at, confidence, tuple(rows))


def result_text(result: Result) -> str:
    """The content of result.json."""
    return json.dumps(result.to_json(), indent=1, allow_nan=False) + "\n"


def read_result(folder: str | Path) -> Result:
    """The result that a folder states. Raises RunError, or InvalidArgument where there is no such file."""
    path = Path(folder) / FILE
    content = read_whole(path, "result", _MOST_BYTES)
    try:
        tree = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise RunError(f"{path} is damaged ({type(error).__name__}: {error!s:.80}); certify again.") from None
    return Result.from_json(tree, str(path))


def _differences(stated: object, right: object, where: str) -> Iterator[str]:
    if isinstance(stated, dict) and isinstance(right, dict) and stated.keys() == right.keys():
        for key, value in stated.items():
            yield from _differences(value, right[key], f"{where}.{key}" if where else key)
    elif isinstance(stated, list) and isinstance(right, list) and len(stated) == len(right):
        for number, value in enumerate(stated):
            yield from _differences(value, right[number], f"{where}[{number}]")
    elif isinstance(stated, float) and isinstance(right, float):
        if not math.isclose(stated, right, rel_tol=0.0, abs_tol=_ROUNDING):
            yield f"{where}: stated {stated!r}, recomputed {right!r}"
    elif stated != right:
        yield f"{where}: stated {stated!r:.80}, recomputed {right!r:.80}"
