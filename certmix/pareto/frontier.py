"""The sweep: for every sigma and rule the parameter that keeps a clean accuracy, and the best pair at each radius."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from certmix.certification.certify import Certificates, certify
from certmix.certifiers import USUAL_CERTIFIER, get_certifier
from certmix.curves import certified_accuracy
from certmix.errors import InvalidArgument, check_choice
from certmix.pareto.candidate import Candidate, candidate_from_statistics
from certmix.pareto.result import MatchedPair, ParetoResult, Unreached
from certmix.pareto.significance import holm, paired_p_values
from certmix.rules import AccurateVote, LinearRule, Rule, rule_named

if TYPE_CHECKING:
    from certmix.runs.store import Statistics

Floats = NDArray[np.float64]
Rows = NDArray[np.int64]
Mode = Literal["all", "matched"]


def pareto_frontier(
    candidates: "Sequence[Candidate | Statistics]",
    *,
    rules: Sequence[str | Rule] = ("linear",),
    accurate_vote: AccurateVote = "class",
    baseline: float | None = None,
    target: float | None = None,
    certifier: str | None = None,
    radii: ArrayLike | None = None,
    mode: Mode = "all",
    split: float | None = None,
    seed: int = 0,
) -> ParetoResult:
    """The best certified accuracy at each radius over all pairs of a rule and a sigma that keep a clean accuracy.

    For each sigma and kind of rule the parameter is found exactly. Since h's prediction does not depend on it and every
    radius is monotone in it, the strongest admissible parameter dominates all others of its pair: mode "all" is the
    frontier over all parameters at or above the target. Mode "matched" takes the one whose clean accuracy is nearest
    above the target. Of several candidates of one sigma with confident votes, each rule gets the confidence that certifies
    most on the inputs to choose on, summed over the radii.

    Args:
        candidates: over the same inputs, one per sigma, and any number of it with confident votes.
        rules: kinds of rules, such as ("linear", "threshold"), or rules whose parameter is to be found.
        accurate_vote: how g votes, "class" or "softmax".
        baseline: sigma of the candidate whose clean accuracy at weight 1 is the target.
        target: clean accuracy in [0, 1], where no baseline is given.
        certifier: name; the usual one of the noise where left out.
        radii: pixel units; 0 to the largest radius in steps of 0.05 where left out.
        mode: "all" or "matched".
        split: share of the inputs, in (0, 1), on which parameters and pairs are chosen; the rest is reported.
        seed: of the split.
    Raises: InvalidArgument: candidates over different inputs, no such baseline, a target that no pair reaches.
    """
    distributions = certifier is not None and get_certifier(certifier).needs == "distributions"
    wanted = [rule_named(rule, accurate_vote) if isinstance(rule, str) else rule for rule in rules]
    family = [
        c if isinstance(c, Candidate) else candidate_from_statistics(c, distributions=distributions) for c in candidates
    ]
    family = _checked(
        sorted(family, key=lambda c: (c.bounds.sigma, c.confidence or 0.0)), baseline, target, mode, split
    )
    certifier = certifier or USUAL_CERTIFIER[family[0].bounds.norm]
    choose, report = split_rows(len(family[0].labels), split, seed)
    base = next((c for c in family if c.bounds.sigma == baseline and c.kind == "fixed"), None)
    h_alone = LinearRule(1.0, accurate_vote)
    aim = float(base.clean(h_alone, choose)(1.0)) if base else float(target or 0.0)
    entries, unreached = admissible(family, wanted, certifier, choose, aim, mode)
    if not entries:
        raise InvalidArgument(unreached[-1].why)
    entries = _best_confidence(entries, choose, radii)
    plain = {c.bounds.sigma: c for c in reversed(family) if c.kind == "fixed"}  # the first of each sigma
    alone = [Entry(c, h_alone, certifier) for c in reversed(plain.values())]
    made, made_alone = ([entry.certify(report) for entry in group] for group in (entries, alone))
    reference = next((c for entry, c in zip(alone, made_alone, strict=True) if entry.candidate is base), None)
    at = _radii(radii, [*made, *([] if reference is None else [reference])])
    untested = np.full(len(at), np.nan)
    p_values = [untested] * len(made) if reference is None else holm([paired_p_values(c, reference, at) for c in made])
    matched = [_pair(*entry, report, at) for entry in zip(entries, made, p_values, strict=True)]
    standalone = [_pair(*entry, untested, report, at) for entry in zip(alone, made_alone, strict=True)]
    chosen = made if split is None else [entry.certify(choose) for entry in entries]
    best = np.argmax([certified_accuracy(c, family[0].labels[choose], at).accuracy[0] for c in chosen], axis=0)
    return ParetoResult(
        certifier=certifier,
        target=aim,
        baseline=next((p for p in standalone if base and p.sigma == base.bounds.sigma), None),
        matched=matched,
        standalone=standalone,
        unreached=unreached,
        radii=at,
        frontier=np.array([matched[pair].curve.accuracy[0, k] for k, pair in enumerate(best)]),
        frontier_pair=best,
        num_chosen=len(choose),
        num_reported=len(report),
        split=split,
    )


@dataclass(frozen=True)
class Entry:
    """A candidate by a rule with its parameter."""

    candidate: Candidate
    rule: Rule
    certifier: str

    def certify(self, rows: Rows) -> Certificates:
        """Certificates of some of the inputs."""
        return certify(self.candidate.bounds.rows(rows), rules=self.rule, certifier=self.certifier)


def _pair(entry: Entry, made: Certificates, p_value: Floats, rows: Rows, at: Floats) -> MatchedPair:
    candidate, rule = entry.candidate, entry.rule
    accuracy = float(candidate.clean(rule, rows)(rule.parameter))
    curve = certified_accuracy(made, candidate.labels[rows], at)
    return MatchedPair(candidate.bounds.sigma, rule, accuracy, made, curve, p_value, candidate.kind)


def admissible(
    family: list[Candidate],
    rules: Sequence[Rule],
    certifier: str,
    choose: Rows,
    aim: float,
    mode: Mode = "all",
) -> tuple[list[Entry], list[Unreached]]:
    """Every candidate by every rule at the parameter that keeps the aim, and what is left out."""
    entries, unreached = [], []
    for candidate in family:
        for form in candidate.rules(rules):
            try:
                clean = candidate.clean(form, choose)
                rule = form.with_parameter(clean.best(aim) if mode == "all" else clean.matched(aim))
                entry = Entry(candidate, rule, certifier)
                entry.certify(choose[:1])
                entries.append(entry)
            except InvalidArgument as error:
                unreached.append(Unreached(candidate.bounds.sigma, form.kind, str(error)))
    return entries, unreached


def _best_confidence(entries: list[Entry], choose: Rows, radii: ArrayLike | None) -> list[Entry]:
    """Of the entries that differ in the confidence of votes alone, the one that certifies most (the first on ties)."""
    best: dict[tuple[float, str, bool, Rule], tuple[float, Entry]] = {}
    made = [entry.certify(choose) for entry in entries]
    at = _radii(radii, made)
    for entry, certificates in zip(entries, made, strict=True):
        c = entry.candidate
        score = float(certified_accuracy(certificates, c.labels[choose], at).accuracy.sum())
        key = (c.bounds.sigma, c.kind, c.confidence is None, entry.rule.with_parameter(0.0))
        if key not in best or score > best[key][0]:
            best[key] = score, entry
    return [entry for _, entry in best.values()]


def _radii(radii: ArrayLike | None, made: Sequence[Certificates]) -> Floats:
    """The radii asked for, or steps of 0.05 as far as any certificate reaches."""
    if radii is not None:
        return np.atleast_1d(np.asarray(radii, dtype=np.float64))
    reach = max(float(certificates.radius.max()) for certificates in made)
    return np.arange(0.0, reach + 0.05, 0.05)


def _checked(
    family: list[Candidate], baseline: float | None, target: float | None, mode: Mode, split: float | None
) -> list[Candidate]:
    if not family:
        raise InvalidArgument("a sweep needs at least one run or log, got none.")
    check_choice("mode", mode, get_args(Mode))
    if (baseline is None) == (target is None):
        raise InvalidArgument("a sweep needs either a baseline sigma or a target clean accuracy; give exactly one.")
    if target is not None and not 0.0 <= target <= 1.0:
        raise InvalidArgument(f"target must be in [0, 1] (share of inputs), got {target}.")
    if split is not None and not 0.0 < split < 1.0:
        raise InvalidArgument(f"split must be in (0, 1), got {split}; 0.5 chooses on half of the inputs.")
    sigmas = [candidate.bounds.sigma for candidate in family if candidate.kind == "fixed"]
    kinds = {(candidate.bounds.sigma, candidate.kind, candidate.confidence) for candidate in family}
    if len(kinds) < len(family):
        raise InvalidArgument(f"a sweep takes one run per sigma, got {', '.join(f'{s:g}' for s in sigmas)}.")
    if split is None and len({(sigma, kind, sure is None) for sigma, kind, sure in kinds}) < len(kinds):
        raise InvalidArgument(
            "of several confidences one is chosen, which must be on other inputs than are reported; give a split "
            "(--choose-on 0.5)."
        )
    if baseline is not None and baseline not in sigmas:
        raise InvalidArgument(
            f"baseline must be one of the sigmas {', '.join(f'{s:g}' for s in sigmas)}, got {baseline:g}."
        )
    first = family[0].bounds
    for other in (candidate.bounds for candidate in family[1:]):
        if other.norm != first.norm:
            raise InvalidArgument("all runs must certify in one norm, got l1 and l2; sweep splitting noise by itself.")
        for name in ("indices", "labels"):
            if not np.array_equal(getattr(first, name), getattr(other, name)):
                raise InvalidArgument(
                    f"all runs must be over the same inputs, got different {name} at sigma {first.sigma:g} and "
                    f"{other.sigma:g}; certify the same subset."
                )
    return family


def split_rows(inputs: int, split: float | None, seed: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(positions to choose on, positions to report); all of them twice without a split."""
    rows = np.arange(inputs)
    if split is None:
        return rows, rows
    order = np.random.default_rng(seed).permutation(inputs)
    cut = min(max(round(split * inputs), 1), inputs - 1)
    if inputs < 2:
        raise InvalidArgument(f"split needs two inputs or more, got {inputs}.")
    return np.sort(order[:cut]), np.sort(order[cut:])
