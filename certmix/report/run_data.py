"""One run as the page knows it: bounds, votes, clean accuracies and how hard g finds its inputs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from certmix.certification.bounds import bound_statistics
from certmix.certification.certify import Certificates, certify
from certmix.certification.votes import votes_of_h
from certmix.clean_accuracy import CleanAccuracy
from certmix.intervals import ABSTAIN, ProbabilityBounds
from certmix.promise import Promise
from certmix.report.packing import Json, pack
from certmix.report.words import redraw_command, scale_name
from certmix.rules import Rule, rule_named
from certmix.runs.grouping import Run

SHOWN_VOTES = 5  # classes of each input whose votes the page holds
_SHARE_UNITS = 1_000_000  # mean probabilities of soft votes, as whole numbers


@dataclass(frozen=True)
class RunData:
    """One run in the page.

    Attributes:
        run: its folders and votes.
        promise: under which it was certified.
        bounds: p_A and p_B.
        clean: kind of rule -> clean accuracy as a step function of its parameter; empty where g was not recorded.
    """

    run: Run
    promise: Promise
    bounds: ProbabilityBounds
    clean: Mapping[str, CleanAccuracy]

    @property
    def labels(self) -> NDArray[np.int64]:
        """True classes."""
        return self.run.statistics.labels

    @property
    def indices(self) -> NDArray[np.int64]:
        """Stable positions in the data set."""
        return self.run.statistics.indices

    @property
    def quarter(self) -> NDArray[np.int64] | None:
        """Of each input, by g's margin for its label; None where g was not recorded."""
        g = self.run.statistics.accurate_probabilities
        return None if g is None else quarters(g, self.labels)

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
        statistics, bounds, quarter = self.run.statistics, self.bounds, self.quarter
        unit = _SHARE_UNITS if self.promise.votes == "soft" else 1  # the page shows whole votes
        robust, draws = votes_of_h(statistics, self.promise)
        classes = np.argsort(-robust, axis=1, kind="stable")[:, :SHOWN_VOTES]
        votes = (np.take_along_axis(robust, classes, axis=1) * unit).round().astype(np.int64)
        total = (draws * unit).astype(np.int64)
        none = int(max(bounds.prediction.max(), self.labels.max())) + 1
        g = statistics.accurate_probabilities
        return {
            "name": self.name,
            "sigma": bounds.sigma,
            "grid": bounds.splitting_levels or 0,
            "moved": statistics.draws.quantisation_distance if self.promise.real_valued else 0.0,
            "none": none,
            "kept": votes.shape[1],
            "index": pack(self.indices),
            "label": pack(self.labels),
            "prediction": pack(np.where(bounds.prediction == ABSTAIN, none, bounds.prediction)),
            "accurate": None if g is None else pack(g.argmax(axis=1)),
            "quarter": None if quarter is None else pack(quarter),
            "top": pack(bounds.top_lower),
            "rival": pack(np.minimum(bounds.rival_upper, 1.0 - bounds.top_lower)),
            "votedClass": pack(classes),
            "votes": pack(votes),
            "total": pack(total[:1] if (total == total[0]).all() else total),
            "cleanSteps": {kind: _pack_steps(steps, len(bounds)) for kind, steps in self.clean.items()} or None,
            "command": self.command,
        }


def run_data(run: Run, promise: Promise, kinds: Sequence[str]) -> RunData:
    """A run under a promise, with the clean accuracies of some kinds of rule."""
    statistics, clean = run.statistics, {}
    if statistics.accurate_probabilities is not None:
        g, (robust, draws) = statistics.accurate_probabilities.astype(np.float64), votes_of_h(statistics, promise)
        clean = {kind: rule_named(kind).clean_accuracy(g, robust, statistics.labels, draws=draws) for kind in kinds}
    return RunData(run, promise, bound_statistics(statistics, promise), clean)


def quarters(accurate: ArrayLike, labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """How easy g finds each input, as 0 (hardest quarter) to 3: quartiles of its margin for the label.

    The margin is the probability of the label less the largest other one; below 0 g is wrong. Equal margins are of one
    quarter, that of their middle rank, so that quarters may differ in size. Nothing of h and its noise enters.

    Args:
        accurate: g's probabilities, shape (inputs, classes).
        labels: true classes, shape (inputs,).
    Returns: shape (inputs,).
    Example:
        >>> quarters([[0.9, 0.1], [0.4, 0.6], [0.7, 0.3], [0.8, 0.2]], np.array([0, 0, 0, 0])).tolist()
        [3, 0, 1, 2]
    """
    g = np.array(accurate, dtype=np.float64)
    rows = np.arange(len(g))
    truth = g[rows, labels]
    g[rows, labels] = -np.inf
    margin = truth - g.max(axis=1)
    twice_rank = sum(np.searchsorted(np.sort(margin), margin, side=side) for side in ("left", "right"))
    return np.asarray(2 * twice_rank // len(margin))


def _pack_steps(steps: CleanAccuracy, inputs: int) -> Json:
    """Clean accuracy in inputs, which are whole."""
    at, after = (np.rint(values * inputs).astype(np.int64) for values in (steps.at, steps.after))
    return {"points": pack(steps.breakpoints), "at": pack(at), "after": pack(after), "grow": steps.radii_grow}
