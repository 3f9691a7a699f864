"""Runs -> what the report's page knows: bounds, votes and clean accuracies, typed here and packed for the page."""

import base64
import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import ArrayLike, NDArray

from certmix.certification.bounds import bound_statistics
from certmix.certification.certify import Certificates, certify
from certmix.certification.votes import votes_of_h
from certmix.certifiers import CERTIFIERS, Certifier
from certmix.clean_accuracy import CleanAccuracy
from certmix.curves import accuracy_interval
from certmix.errors import InvalidArgument
from certmix.intervals import ABSTAIN, ProbabilityBounds
from certmix.promise import Norm, Promise
from certmix.report.pictures import Pictures
from certmix.report.words import Section, left_out, redraw_command, run_section, scale_name, warnings_of
from certmix.rules import Rule, rule_named
from certmix.runs.grouping import Run

Json = dict[str, object]
SHOWN_VOTES = 5  # classes of each input whose votes the page holds
_SHARE_UNITS = 1_000_000  # mean probabilities of soft votes, as whole numbers


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
class RunData:
    """One run in the page.

    Attributes:
        run: its folders and votes.
        promise: under which it was certified.
        bounds: p_A and p_B, with labels and indices.
        accurate: class of g, shape (inputs,), or None.
        clean: kind of rule -> clean accuracy as a step function of its parameter; empty where g was not recorded.
        robust: vote counts of h, or its mean probabilities, shape (inputs, classes).
        draws: what these are shares of, shape (inputs,); deferred and invalid draws included.
        moved: what `real_valued` takes off every radius, in pixel units.
    """

    run: Run
    promise: Promise
    bounds: ProbabilityBounds
    accurate: NDArray[np.int64] | None
    clean: Mapping[str, CleanAccuracy]
    robust: NDArray[np.float64]
    draws: NDArray[np.float64]
    moved: float

    @property
    def labels(self) -> NDArray[np.int64]:
        """True classes."""
        assert self.bounds.labels is not None
        return self.bounds.labels

    @property
    def indices(self) -> NDArray[np.int64]:
        """Stable positions in the data set."""
        assert self.bounds.indices is not None
        return self.bounds.indices

    def certify(self, rules: Sequence[Rule]) -> Certificates:
        """Certificates by the usual certifier of the noise, rounded to the safe side as everywhere but in the script."""
        return certify(
            self.run.statistics,
            rules=rules,
            failure_probability=self.promise.failure_probability,
            interval=self.promise.interval,
            votes=self.promise.votes,
            mean_bound=self.promise.mean_bound,
            real_valued=self.promise.real_valued,
            confidence=self.promise.confidence,
        )

    @property
    def name(self) -> str:
        """Such as "σ = 0.5", or "Λ = 1.5" of splitting noise."""
        return scale_name(self.run.statistics.draws)

    @property
    def command(self) -> tuple[str, str] | None:
        """The command that draws an input again, around its index; None where the manifest does not name the model."""
        return redraw_command(self.run.statistics.draws)

    def to_json(self) -> Json:
        """Packed for data.js."""
        inputs, (classes, votes) = len(self.bounds), self._leading_votes()
        prediction = self.bounds.prediction
        none = int(max(prediction.max(), self.labels.max())) + 1
        total = (self.draws * self._unit).astype(np.int64)
        return {
            "name": self.name,
            "sigma": self.bounds.sigma,
            "grid": self.bounds.splitting_levels or 0,
            "moved": self.moved,
            "none": none,
            "kept": votes.shape[1],
            "index": pack(self.indices),
            "label": pack(self.labels),
            "prediction": pack(np.where(prediction == ABSTAIN, none, prediction)),
            "accurate": None if self.accurate is None else pack(self.accurate),
            "top": pack(self.bounds.top_lower),
            "rival": pack(np.minimum(self.bounds.rival_upper, 1.0 - self.bounds.top_lower)),
            "votedClass": pack(classes),
            "votes": pack(votes),
            "total": pack(total[:1] if (total == total[0]).all() else total),
            "cleanSteps": {kind: _pack_steps(steps, inputs) for kind, steps in self.clean.items()} or None,
            "command": self.command,
        }

    @property
    def _unit(self) -> int:
        """What one vote is in the page, which shows whole numbers."""
        return _SHARE_UNITS if self.promise.votes == "soft" else 1

    def _leading_votes(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Classes with the most votes and those votes, each of shape (inputs, at most SHOWN_VOTES)."""
        votes = self.robust * self._unit
        order = np.argsort(-votes, axis=1, kind="stable")[:, :SHOWN_VOTES]
        return order, np.take_along_axis(votes, order, axis=1).round().astype(np.int64)


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
        confidence: of the intervals of accuracies.
    """

    title: str
    runs: Sequence[RunData]
    classes: Sequence[str]
    sections: Sequence[Section]
    warnings: Sequence[str]
    left_out: str
    pictures: Pictures = field(default_factory=Pictures)
    confidence: float = 0.95
    rules: Sequence[RuleControl] = field(default=RULE_CONTROLS)

    @property
    def comparable(self) -> bool:
        """Whether all runs are over the same inputs with g recorded, as a frontier needs."""
        first = self.runs[0]
        same = all(
            np.array_equal(first.indices, one.indices) and np.array_equal(first.labels, one.labels) for one in self.runs
        )
        return same and all(one.clean for one in self.runs)

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
        sizes = {len(one.bounds) for one in self.runs}
        return {size: accuracy_interval(np.arange(size + 1), size, self.confidence)[0] for size in sizes}

    def to_json(self) -> Json:
        """The data island."""
        return {
            "classes": list(self.classes),
            "comparable": self.comparable,
            "lower": {str(size): pack(values) for size, values in self.lower.items()},
            "rules": [rule.to_json() for rule in self.rules],
            "norm": self.norm,
            "certifiers": [{"name": one.name, "label": one.label} for one in self.certifiers],
            "pictures": {str(index): uri for index, uri in self.pictures.uris.items()},
            "runs": [
                {**one.to_json(), "pictured": one.run.statistics.draws.dataset.fingerprint == self.pictures.fingerprint}
                for one in self.runs
            ],
        }


def build_report(
    runs: Sequence[Run],
    promises: Sequence[Promise],
    *,
    title: str = "Certified robustness",
    classes: Sequence[str] | None = None,
    pictures: Pictures | None = None,
) -> Report:
    """What the page shows of some runs.

    Args:
        runs: of `certmix.runs.grouping.read_runs`.
        promises: one per run, of `certmix.certification.bounds.promise_of`.
        title: of the page.
        classes: names, one per class; their numbers where left out.
        pictures: of some inputs; shown with the runs that are of the same data set.
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
    data = [_run_data(run, promise) for run, promise in zip(runs, promises, strict=True)]
    return Report(
        title=title,
        runs=data,
        classes=list(classes) if classes is not None else [str(number) for number in range(wanted)],
        sections=[run_section(one.run, one.promise) for one in data],
        warnings=warnings_of([(one.run, one.promise) for one in data]),
        left_out=left_out([(one.run, one.promise) for one in data]),
        pictures=pictures or Pictures(),
    )


def _run_data(run: Run, promise: Promise) -> RunData:
    statistics = run.statistics
    g, (robust, draws) = statistics.accurate_probabilities, votes_of_h(statistics, promise)
    clean = {}
    if g is not None:
        clean = {
            rule.kind: rule_named(rule.kind).clean_accuracy(
                g.astype(np.float64), robust, statistics.labels, draws=draws
            )
            for rule in RULE_CONTROLS
        }
    return RunData(
        run=run,
        promise=promise,
        bounds=bound_statistics(statistics, promise),
        accurate=None if g is None else g.argmax(axis=1),
        clean=clean,
        robust=robust,
        draws=draws,
        moved=statistics.draws.quantisation_distance if promise.real_valued else 0.0,
    )


def _pack_steps(steps: CleanAccuracy, inputs: int) -> Json:
    """Clean accuracy in inputs, which are whole."""
    at, after = (np.rint(values * inputs).astype(np.int64) for values in (steps.at, steps.after))
    return {"points": pack(steps.breakpoints), "at": pack(at), "after": pack(after), "grow": steps.radii_grow}


def pack(values: ArrayLike) -> str:
    """An array as "type:base64", little-endian: float64, or the smallest type of whole numbers that holds it.

    Example:
        >>> pack(np.array([1, 2, 255]))
        'u1:AQL/'
    """
    array = np.asarray(values)
    kind = "f8"
    if array.dtype.kind in "iu":
        low, high = (int(array.min()), int(array.max())) if array.size else (0, 0)
        kind = (
            "i4" if low < 0 else next((k for k, most in (("u1", 8), ("u2", 16), ("u4", 32)) if high < 1 << most), "f8")
        )
    return f"{kind}:{base64.b64encode(array.astype(f'<{kind}').tobytes()).decode()}"
