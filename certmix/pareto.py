"""Alpha-sigma pairs at fixed clean accuracy: the paper's Figures 6 and 7 from stored draws, without a grid of weights.

Clean accuracy is that of the mixture of g (softmax or one-hot) and of h's vote shares, which estimate the smoothed h.
Source: Bai et al., Adaptive Smoothing, arXiv:2301.12554, Sections A.2 and A.3.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import ArrayLike, NDArray

from certmix.certification.certify import Certificates, bound_statistics, certified_at, certify, chosen_votes
from certmix.clean_accuracy import CleanAccuracy, clean_accuracy
from certmix.curves import CertifiedAccuracyCurve, certified_accuracy
from certmix.errors import InvalidArgument
from certmix.intervals import ABSTAIN, ProbabilityBounds

if TYPE_CHECKING:
    from certmix.runs.store import Statistics

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Candidate:
    """One sigma of a sweep: bounds for certificates, g and h at the clean inputs for accuracy.

    Attributes:
        bounds: with labels and indices.
        accurate: g's probabilities, shape (inputs, classes).
        robust: h's votes, shape (inputs, classes).
        kind: "fixed" weight, or "adaptive"; a sweep takes one candidate per sigma and kind.
        soft_statistics: the draws behind it where they are soft votes, for certifier "cdf".
    """

    bounds: ProbabilityBounds
    accurate: Floats
    robust: Floats
    kind: str = "fixed"
    soft_statistics: "Statistics | None" = None

    @property
    def labels(self) -> NDArray[np.int64]:
        """True classes, shape (inputs,)."""
        assert self.bounds.labels is not None
        return self.bounds.labels

    def clean(self, rows: NDArray[np.int64]) -> CleanAccuracy:
        """Clean accuracy over some of the inputs."""
        return clean_accuracy(self.accurate[rows], self.robust[rows], self.labels[rows])

    def certify(self, weight: float, certifier: str, rows: NDArray[np.int64]) -> Certificates:
        """Certificates of some of the inputs at one weight."""
        b = self.bounds
        indices = None if b.indices is None else b.indices[rows]
        if certifier == "cdf" and self.soft_statistics is not None:
            err = b.failure_probability
            made = certify(self.soft_statistics, mixing_weight=weight, certifier=certifier, failure_probability=err)
            return replace(
                made,
                prediction=made.prediction[rows],
                radius=made.radius[:, rows],
                labels=self.labels[rows],
                indices=indices,
            )
        part = replace(
            b,
            prediction=b.prediction[rows],
            top_lower=b.top_lower[rows],
            rival_upper=b.rival_upper[rows],
            labels=self.labels[rows],
            indices=indices,
        )
        return certify(part, mixing_weight=weight, certifier=certifier)


@dataclass(frozen=True)
class MatchedPair:
    """One sigma at its matched weight, on the inputs that are reported.

    Attributes:
        sigma, mixing_weight: the pair.
        clean_accuracy: of the mixture on the reported inputs.
        certificates: of the reported inputs at that weight.
        curve: certified accuracy at the result's radii, with intervals, one row.
        p_value: exact McNemar test against the baseline at each radius, shape (radii,).
        kind: "fixed" weight, or "adaptive": the weight is then the floor of a(x).
    """

    sigma: float
    mixing_weight: float
    clean_accuracy: float
    certificates: Certificates
    curve: CertifiedAccuracyCurve
    p_value: Floats
    kind: str = "fixed"


@dataclass(frozen=True)
class ParetoResult:
    """A sweep: the baseline, a matched pair per sigma, and the frontier over them.

    Attributes:
        certifier: that made all certificates.
        target: clean accuracy that every pair keeps on the inputs where weights were chosen.
        baseline: the pair of weight 1 that set the target; None where a target was given.
        matched: one per sigma, ascending; sigmas that cannot reach the target are in `unreached`.
        standalone: every sigma at weight 1, whatever its clean accuracy.
        unreached: (sigma, why) of sigmas at which no weight reaches the target.
        radii: shape (radii,).
        frontier: best certified accuracy at each radius, shape (radii,).
        frontier_pair: which of `matched` attains it (the smallest sigma on ties), shape (radii,).
        num_chosen, num_reported: inputs that weights were chosen on, and that are reported.
        split: share of inputs used to choose weights, or None: chosen and reported on the same inputs.
    """

    certifier: str
    target: float
    baseline: MatchedPair | None
    matched: list[MatchedPair]
    standalone: list[MatchedPair]
    unreached: list[tuple[float, str]]
    radii: Floats
    frontier: Floats
    frontier_pair: NDArray[np.int64]
    num_chosen: int
    num_reported: int
    split: float | None

    def selection(self) -> str:
        """What was done about choosing weights, in a sentence."""
        if self.split is None:
            return (
                f"Weights were chosen on the same {self.num_reported} inputs that are reported: selection, mildly "
                "optimistic; --split chooses on other inputs."
            )
        return f"Weights were chosen on {self.num_chosen} inputs and reported on the other {self.num_reported}."


def candidate_from_statistics(
    statistics: "Statistics",
    *,
    hard_accurate: bool = True,
    failure_probability: float | None = None,
    rule: str = "pair",
    votes: str | None = None,
) -> Candidate:
    """A candidate from stored draws in which g was recorded; arguments as `certify`.

    Raises: InvalidArgument: the accurate model's probabilities were not recorded.
    """
    if statistics.accurate_probabilities is None:
        raise InvalidArgument(
            f"the run at sigma {statistics.sigma:g} must hold the accurate model's predictions, and does not; "
            "sample it with --accurate."
        )
    g = statistics.accurate_probabilities.astype(np.float64)
    if hard_accurate:
        g = np.eye(g.shape[1])[g.argmax(axis=1)]
    bounds = bound_statistics(statistics, failure_probability=failure_probability, rule=rule, votes=votes)
    used = chosen_votes(statistics, votes)
    soft = statistics if used == "soft" else None
    return Candidate(bounds, g, robust_shares(statistics, used), soft_statistics=soft)


def robust_shares(statistics: "Statistics", votes: str) -> Floats:
    """h at the clean inputs, as its draws estimate it: vote counts, or mean probabilities for "soft" votes."""
    if votes == "soft" and statistics.soft is not None:
        return statistics.soft.mean_probabilities(statistics.num_classes)
    return statistics.estimation_counts.astype(np.float64)


def candidate_from_log(bounds: ProbabilityBounds, accurate_predictions: ArrayLike) -> Candidate:
    """A candidate from a published log, which holds p_A only: a model of h's other votes is needed for clean accuracy.

    h is taken to put p_A on its prediction and 1 - p_A on g's class; where h abstains, g decides, at every weight and
    for the baseline too. Certificates do not depend on this model.

    Args:
        bounds: of `read_certification_log`.
        accurate_predictions: g's classes on the same inputs, shape (inputs,).
    """
    chosen = np.asarray(accurate_predictions, dtype=np.int64)
    rows, classes = (
        np.arange(len(chosen)),
        1 + int(max(chosen.max(), bounds.prediction.max(), 0 if bounds.labels is None else bounds.labels.max())),
    )
    votes = np.zeros((len(chosen), classes))
    certain = bounds.prediction != ABSTAIN
    votes[rows[~certain], chosen[~certain]] = 1.0
    votes[rows[certain], chosen[certain]] += 1.0 - bounds.top_lower[certain]
    votes[rows[certain], bounds.prediction[certain]] += bounds.top_lower[certain]
    return Candidate(bounds, np.eye(classes)[chosen], votes)


def pareto_frontier(
    candidates: "Sequence[Candidate | Statistics]",
    *,
    baseline: float | None = None,
    target: float | None = None,
    certifier: str = "exact",
    radii: ArrayLike | None = None,
    mode: str = "all",
    split: float | None = None,
    seed: int = 0,
) -> ParetoResult:
    """The best certified accuracy at each radius over all pairs (a, sigma) that keep a clean accuracy.

    For each sigma the weight is found exactly. Since h's prediction does not depend on the weight and every radius
    increases in it, the largest admissible weight dominates all others of its sigma: mode "all" is the frontier over all
    weights at or above the target. Mode "matched" takes the weight whose clean accuracy is nearest above the target.

    Args:
        candidates: one per sigma, over the same inputs; Statistics are taken with hardmax g.
        baseline: sigma of the candidate whose clean accuracy at weight 1 is the target.
        target: clean accuracy in [0, 1], where no baseline is given.
        certifier: name.
        radii: pixel units; 0 to the largest radius in steps of 0.05 where left out.
        mode: "all" or "matched".
        split: share of the inputs, in (0, 1), on which weights are chosen; the rest is reported.
        seed: of the split.
    Raises: InvalidArgument: candidates over different inputs, no such baseline, a target that no sigma reaches.
    """
    family = [c if isinstance(c, Candidate) else candidate_from_statistics(c) for c in candidates]
    family = _checked(sorted(family, key=lambda candidate: candidate.bounds.sigma), baseline, target, mode, split)
    choose, report = _split(len(family[0].labels), split, seed)
    base = next((c for c in family if c.bounds.sigma == baseline and c.kind == "fixed"), None)
    aim = float(base.clean(choose)(1.0)) if base else float(target if target is not None else 0.0)
    weights, unreached = [], []
    for candidate in family:
        try:
            clean = candidate.clean(choose)
            weights.append((candidate, clean.best(aim) if mode == "all" else clean.matched(aim)))
        except InvalidArgument as error:
            unreached.append((candidate.bounds.sigma, str(error)))
    if not weights:
        raise InvalidArgument(unreached[-1][1])
    made = [(c, weight, c.certify(weight, certifier, report)) for c, weight in weights]
    alone = [(c, 1.0, c.certify(1.0, certifier, report)) for c in family if c.kind == "fixed"]
    reference = next((entry[2] for entry in alone if entry[0] is base), None)
    reach = max(float(c.radius.max()) for c in [entry[2] for entry in made] + ([reference] if reference else []))
    at = np.arange(0.0, reach + 0.05, 0.05) if radii is None else np.asarray(radii, dtype=np.float64)

    def pair(candidate: Candidate, weight: float, certificates: Certificates) -> MatchedPair:
        curve = certified_accuracy(certificates, candidate.labels[report], at)
        accuracy = float(candidate.clean(report)(weight))
        p_value = paired_p_values(certificates, reference or certificates, at)
        return MatchedPair(candidate.bounds.sigma, weight, accuracy, certificates, curve, p_value, candidate.kind)

    matched, standalone = [pair(*entry) for entry in made], [pair(*entry) for entry in alone]
    accuracy = np.stack([m.curve.accuracy[0] for m in matched])
    return ParetoResult(
        certifier=certifier,
        target=aim,
        baseline=next((p for p in standalone if base and p.sigma == base.bounds.sigma), None),
        matched=matched,
        standalone=standalone,
        unreached=unreached,
        radii=at,
        frontier=accuracy.max(axis=0),
        frontier_pair=accuracy.argmax(axis=0),
        num_chosen=len(choose),
        num_reported=len(report),
        split=split,
    )


def paired_p_values(one: Certificates, other: Certificates, radii: ArrayLike) -> Floats:
    """Exact McNemar test at each radius: do two sets of certificates over the same inputs differ? Shape (radii,).

    Args:
        one, other: certificates with labels, first weight of each.
        radii: pixel units.
    """
    from scipy import special

    right = [(c.prediction == c.labels)[:, None] & certified_at(c.radius[0][:, None], radii) for c in (one, other)]
    only_one, only_other = (right[0] & ~right[1]).sum(axis=0), (right[1] & ~right[0]).sum(axis=0)
    discordant = only_one + only_other
    return np.asarray(np.minimum(1.0, 2.0 * special.bdtr(np.minimum(only_one, only_other), discordant, 0.5)))


def _checked(
    family: list[Candidate], baseline: float | None, target: float | None, mode: str, split: float | None
) -> list[Candidate]:
    if not family:
        raise InvalidArgument("a sweep needs at least one run or log, got none.")
    if mode not in ("all", "matched"):
        raise InvalidArgument(f"mode must be all or matched, got {mode!r}.")
    if (baseline is None) == (target is None):
        raise InvalidArgument("a sweep needs either a baseline sigma or a target clean accuracy; give exactly one.")
    if target is not None and not 0.0 <= target <= 1.0:
        raise InvalidArgument(f"target must be in [0, 1] (share of inputs), got {target}.")
    if split is not None and not 0.0 < split < 1.0:
        raise InvalidArgument(f"split must be in (0, 1), got {split}; 0.5 chooses on half of the inputs.")
    sigmas = [candidate.bounds.sigma for candidate in family if candidate.kind == "fixed"]
    kinds = {(candidate.bounds.sigma, candidate.kind) for candidate in family}
    if len(kinds) < len(family):
        raise InvalidArgument(f"a sweep takes one run per sigma, got {', '.join(f'{s:g}' for s in sigmas)}.")
    if baseline is not None and baseline not in sigmas:
        raise InvalidArgument(
            f"baseline must be one of the sigmas {', '.join(f'{s:g}' for s in sigmas)}, got {baseline:g}."
        )
    first = family[0].bounds
    for other in (candidate.bounds for candidate in family[1:]):
        for name in ("indices", "labels"):
            if not np.array_equal(getattr(first, name), getattr(other, name)):
                raise InvalidArgument(
                    f"all runs must be over the same inputs, got different {name} at sigma {first.sigma:g} and "
                    f"{other.sigma:g}; certify the same subset."
                )
    return family


def _split(inputs: int, split: float | None, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    rows = np.arange(inputs)
    if split is None:
        return rows, rows
    order = np.random.default_rng(seed).permutation(inputs)
    cut = min(max(round(split * inputs), 1), inputs - 1)
    if inputs < 2:
        raise InvalidArgument(f"split needs two inputs or more, got {inputs}.")
    return np.sort(order[:cut]), np.sort(order[cut:])
