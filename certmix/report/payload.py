"""Runs -> what the report's page knows, typed here and packed for the page."""

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from certmix.certifiers import CERTIFIERS, Certifier
from certmix.curves import accuracy_interval
from certmix.errors import InvalidArgument
from certmix.promise import Norm, Promise
from certmix.report.chains import ChainData
from certmix.report.packing import Json, pack
from certmix.report.pictures import Pictures
from certmix.report.run_data import RunData, run_data
from certmix.report.words import Section, left_out, run_section, warnings_of
from certmix.rules import rule_named
from certmix.runs.grouping import Run

MOST_GROUPS = 20  # classes that are shown side by side
_SHARE_STEPS = 10_000  # of ends of intervals, which the page rounds down to 0.1 %


@dataclass(frozen=True)
class RuleControl:
    """A rule that the page can certify: its slider.

    Attributes:
        kind: of `certmix.rules`; arithmetic.js has its radii under the same name.
        name: what it is called in the page.
        low, high, start: of the slider.
    """

    kind: str
    name: str
    low: float
    high: float
    start: float

    def to_json(self) -> Json:
        """As plain values."""
        return {**vars(self), "title": rule_named(self.kind).title}


# What arithmetic.js certifies. A rule or a certifier that is not listed is left out of the page, not shown wrongly.
RULE_CONTROLS = (
    RuleControl("linear", "Eq. 5", 0.5, 1.0, 0.8),
    RuleControl("threshold", "Threshold", 0.0, 0.999, 0.6),
)
PAGE_CERTIFIERS = ("exact", "theorem-a1", "theorem-3.5", "theorem-3.5-paper", "theorem-3.5-l1")


@dataclass(frozen=True)
class Report:
    """All that a page shows.

    Attributes:
        title: of the page.
        runs: ascending in sigma.
        classes: names; numbers where unknown.
        sections: what is promised and how it was drawn, a section per run.
        warnings: what a reader must know, in words.
        left_out: what the runs also hold or allow, and the page does not show, in a sentence or two.
        pictures: of some inputs.
        chains: of the runs; their curves do not move.
        confidence: of the intervals of accuracies.
    """

    title: str
    runs: Sequence[RunData]
    classes: Sequence[str]
    sections: Sequence[Section]
    warnings: Sequence[str]
    left_out: str
    pictures: Pictures = field(default_factory=Pictures)
    chains: Sequence[ChainData] = ()
    confidence: float = 0.95
    rules: Sequence[RuleControl] = field(default=RULE_CONTROLS)

    @property
    def promises(self) -> Sequence[str]:
        """Of runs and chains, each once."""
        return list(dict.fromkeys([*(one.promise for one in self.sections), *(one.promise for one in self.chains)]))

    @property
    def comparable(self) -> bool:
        """Whether all runs are over the same inputs with g recorded, as a frontier needs."""
        first = self.runs[0]
        same = all(
            np.array_equal(first.indices, one.indices) and np.array_equal(first.labels, one.labels) for one in self.runs
        )
        return same and all(one.clean for one in self.runs)

    @property
    def groupings(self) -> Sequence[str]:
        """By what accuracy is shown in groups: by g's difficulty where it is known, by class where these are few."""
        known = all(one.clean for one in self.runs)
        return [*(["difficulty"] if known else []), *(["class"] if len(self.classes) <= MOST_GROUPS else [])]

    @property
    def norm(self) -> Norm:
        """Of all radii."""
        return self.runs[0].bounds.norm

    @property
    def certifiers(self) -> Sequence[Certifier]:
        """Those of the noise; its usual one is the first."""
        return [CERTIFIERS[name] for name in PAGE_CERTIFIERS if CERTIFIERS[name].norm == self.norm]

    @functools.cached_property
    def lower(self) -> Mapping[int, NDArray[np.float64]]:
        """Number of inputs -> lower end of the interval of an accuracy of 0, 1, ... of them; upper ends mirror these."""
        sizes = {len(one.labels) for one in self.runs} | {len(one.made) for one in self.chains}
        for one in self.runs:
            groups = {"difficulty": one.quarter, "class": one.labels}
            shown = [group for name in self.groupings if (group := groups[name]) is not None]
            sizes |= {size for group in shown for size in np.bincount(group).tolist() if size}
        return {size: accuracy_interval(np.arange(size + 1), size, self.confidence)[0] for size in sorted(sizes)}

    def to_json(self) -> Json:
        """The data island."""
        return {
            "classes": list(self.classes),
            "comparable": self.comparable,
            "groupings": self.groupings,
            "shareSteps": _SHARE_STEPS,
            "lower": {
                str(size): pack(np.floor(values * _SHARE_STEPS).astype(int)) for size, values in self.lower.items()
            },
            "rules": [rule.to_json() for rule in self.rules],
            "norm": self.norm,
            "certifiers": [{"name": one.name, "label": one.label} for one in self.certifiers],
            "pictures": {str(index): uri for index, uri in self.pictures.uris.items()},
            "runs": [
                {**one.to_json(), "pictured": one.run.statistics.draws.dataset.fingerprint == self.pictures.fingerprint}
                for one in self.runs
            ],
            "chains": [
                {"name": one.name, "size": len(one.made), "right": one.clean, "reached": pack(one.reached)}
                for one in self.chains
            ],
        }


def build_report(
    runs: Sequence[Run],
    promises: Sequence[Promise],
    *,
    title: str = "Certified robustness",
    classes: Sequence[str] | None = None,
    pictures: Pictures | None = None,
    chains: Sequence[ChainData] = (),
) -> Report:
    """What the page shows of some runs.

    Args:
        runs: of `certmix.runs.grouping.read_runs`.
        promises: one per run, of `certmix.certification.bounds.promise_of`.
        title: of the page.
        classes: names, one per class; their numbers where left out.
        pictures: of some inputs; shown with the runs that are of the same data set.
        chains: of `certmix.report.chains.read_chains`.
    Raises: InvalidArgument: no run, runs of two norms, another number of names than classes, or too few
        draws to certify anything.
    """
    if not runs:
        raise InvalidArgument("a report needs at least one run, got none.")
    if len({run.statistics.draws.norm for run in runs}) > 1:
        raise InvalidArgument(
            "a report takes runs of one norm, got l1 and l2; write one for splitting noise by itself."
        )
    wanted = max(run.statistics.num_classes for run in runs)
    if classes is not None and len(classes) != wanted:
        raise InvalidArgument(f"class names must be one per class, {wanted}, got {len(classes)}.")
    pairs = list(zip(runs, promises, strict=True))
    return Report(
        title=title,
        runs=[run_data(run, promise, [rule.kind for rule in RULE_CONTROLS]) for run, promise in pairs],
        classes=list(classes) if classes is not None else [str(number) for number in range(wanted)],
        sections=[run_section(run, promise) for run, promise in pairs],
        warnings=warnings_of(pairs),
        left_out=left_out(pairs, chained=bool(chains)),
        pictures=pictures or Pictures(),
        chains=chains,
    )
