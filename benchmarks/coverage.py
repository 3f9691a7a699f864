"""How often is a stated certificate false, over a million of them, with the whole pipeline drawn anew each time?

Votes are drawn with NumPy from known probabilities: a selection batch, then fresh estimation draws, to the package's bounds
and certificates. A certificate counts as false if *any* radius stated for the input, over all rules asked for at once,
exceeds the true radius of the worst classifier with these probabilities, which is found here by a route of its own: roots
of half-space probabilities. The worst cells sit where unanimous votes have just the stated probability.

    OMP_NUM_THREADS=1 python benchmarks/coverage.py [SCALE [PIPELINE ...]]

prints a table per pipeline; SCALE multiplies the numbers of certificates (1: 1.5 million). PIPELINE names some of them.
"""

import sys
import time
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, stats
from scipy.special import ndtr, ndtri

import certmix
from certmix.certification.bounds import bound_probabilities, pair_bounds
from certmix.certification.schedule import Schedule, look_schedule, look_spending
from certmix.certification.soft import distribution_bounds
from certmix.certification.votes import ClassVotes, hard_votes
from certmix.errors import InvalidArgument
from certmix.intervals import (
    ABSTAIN,
    DistributionBounds,
    ProbabilityBounds,
    clopper_pearson_lower,
    clopper_pearson_upper,
)
from certmix.intervals.confidence import confident_counts
from certmix.intervals.histograms import BINS, UNITS, Histograms, SoftVotes
from certmix.prediction.mixture import MixtureLooks
from certmix.promise import Promise
from certmix.rules import FamilyRule, LinearRule, Rule, ThresholdRule
from certmix.rules.chain import chain_radius
from certmix.rules.family import family_score

SCALE = float(sys.argv[1]) if len(sys.argv) > 1 else 1.0
ERRORS = (0.05, 0.01, 0.001)
WEIGHTS, THRESHOLDS = (0.55, 0.7, 0.9, 1.0), (0.0, 0.35, 0.6, 0.9)
RULES = [*(LinearRule(weight) for weight in WEIGHTS), *(ThresholdRule(c) for c in THRESHOLDS)]
FAMILY = ((0.5, 1.0), (1.0, 2.0), (0.5, None))  # (lambda, exponent)
SCORES = {1.0: 0.3, 2.0: 0.2, None: 0.5}  # tau of each exponent
MARGIN = 1e-9  # of a radius; below the slack that the package leaves, far above the rounding of the roots here
Floats, Integers = NDArray[np.float64], NDArray[np.int64]


@dataclass
class Cell:
    """One setting: how many certificates, how many of them false, at which promise."""

    name: str
    error: float
    certificates: int
    false: int

    @property
    def p_value(self) -> float:
        """One-sided binomial: the chance of so many or more if each were false with the stated probability."""
        return float(stats.binomtest(self.false, self.certificates, self.error, alternative="greater").pvalue)


def patterns(n: int, spent: float) -> dict[str, Floats]:
    """Probabilities of the classes: usual ones, and those at which unanimous votes are just rare enough to mislead."""
    edge = spent ** (1.0 / n) * (1 - 1e-9)  # below the bound of n votes out of n, which come with probability `spent`
    second = stats.beta.ppf(spent, n - 1, 2) * (1 - 1e-9)  # likewise of n - 1
    return {
        "one rival": np.array([0.8, 0.2]),
        "nine tied rivals": np.array([0.55, *[0.05] * 9]),
        "near tie": np.array([0.36, 0.34, 0.30]),
        "all equal": np.full(10, 0.1),
        "near one": np.array([0.9995, 0.0003, 0.0002]),
        "edge, one rival": np.array([edge, 1 - edge]),
        "edge, rivals tied": np.array([edge, *[(1 - edge) / 4] * 4]),
        "second edge": np.array([second, 0.9 * (1 - second), 0.1 * (1 - second)]),
    }


# --- the truth, by roots ---------------------------------------------------------------------------------------------


def root(condition: Callable[[float], float]) -> float:
    """The radius at which a falling condition reaches 0; 0 where it is not positive at the input."""
    if not condition(0.0) > 0:
        return 0.0
    if condition(60.0) > 0:
        return 60.0
    return float(optimize.brentq(condition, 0.0, 60.0, xtol=1e-13, rtol=1e-14))


def half_spaces(top: float, rival: float) -> tuple[Callable[[float], float], Callable[[float], float]]:
    """(L, U): the worst that the two probabilities can become at a distance, in units of sigma."""
    return lambda r: float(ndtr(ndtri(top) - r)), lambda r: float(ndtr(ndtri(rival) + r))


def true_radii(top: float, rival: float) -> Floats:
    """Of RULES, for a class of probability `top` whose largest rival has `rival`."""
    low, high = half_spaces(top, rival)
    found = [root(lambda r, w=w: w * (low(r) - high(r)) - (1 - w)) for w in WEIGHTS]
    return np.array(found + [root(lambda r, c=c: min(low(r) - c, low(r) - high(r))) for c in THRESHOLDS])


def true_family(top: float, rival: float) -> Floats:
    """Of FAMILY."""
    low, high = half_spaces(top, rival)

    def score(p: float, exponent: float | None) -> float:
        return float(ndtri(p)) if exponent is None else p**exponent

    def excess(r: float, weight: float, q: float | None) -> float:
        return min(score(low(r), q) - weight * score(high(r), q) - SCORES[q], low(r) - high(r))

    return np.array([root(lambda r, w=w, q=q: excess(r, w, q)) for w, q in FAMILY])


def of_classes(p: Floats, truth: Callable[[float, float], Floats]) -> Floats:
    """`truth` of every class that may be selected, shape (classes, rules)."""
    made: dict[tuple[float, float], Floats] = {}
    pairs = [(float(p[y]), float(np.delete(p, y).max())) for y in range(len(p))]
    return np.stack([made.setdefault(pair, truth(*pair)) for pair in pairs])


def false_ones(stated: Floats, truth: Floats) -> int:
    """Inputs of which any radius, shape (rules, inputs), is above the truth, shape (inputs, rules)."""
    return int((truth * (1 + MARGIN) + MARGIN < stated.T).any(axis=1).sum())


# --- pipelines -------------------------------------------------------------------------------------------------------


def hard(generator: np.random.Generator, interval: str, runs: int) -> Iterator[Cell]:
    """Votes, bounds, radii by Eq. 5, by thresholds, and by the family between."""
    for err in ERRORS:
        spent = err if interval == "cohen" else err / 2
        for n in (20, 100, 1000, 10_000):
            for name, p in patterns(n, spent).items():
                votes = generator.multinomial(20, p, runs), generator.multinomial(n, p, runs)
                try:
                    bounds = bound_probabilities(*votes, sigma=1.0, failure_probability=err, interval=interval)
                except InvalidArgument:  # too few draws to certify anything
                    continue
                truth = of_classes(p, true_radii)[bounds.prediction]
                yield Cell(
                    f"{name}, n = {n}", err, runs, false_ones(certmix.certify(bounds, rules=RULES).radius, truth)
                )


def family(generator: np.random.Generator, runs: int) -> Iterator[Cell]:
    """Hard votes, pair bounds, the family between Eq. 5 and the threshold."""
    for err in ERRORS:
        for name, p in patterns(100, err / 2).items():
            votes = generator.multinomial(20, p, runs), generator.multinomial(100, p, runs)
            bounds = bound_probabilities(*votes, sigma=1.0, failure_probability=err)
            stated = certmix.certify(bounds, rules=[FamilyRule(SCORES[q], weight, q) for weight, q in FAMILY]).radius
            truth = of_classes(p, true_family)[bounds.prediction]
            yield Cell(f"{name}, n = 100", err, runs, false_ones(stated, truth))


def predictions(generator: np.random.Generator, runs: int) -> Iterator[Cell]:
    """Answers of the predictor, by rules whose parameter lies just beside what decides these probabilities; false: another
    class than that of the exact mixture."""
    looks, close = look_schedule(900), 3e-3
    forms: list[tuple[Rule, float, float | None]] = [(ThresholdRule(0.0), 0.0, 1.0)]
    forms += [(FamilyRule(SCORES[q], weight, q), weight, q) for weight, q in FAMILY]
    for err in ERRORS:
        for name, p in list(patterns(looks[0], err / 2).items())[:3]:
            g = np.eye(len(p))[1]
            for form, weight, q in forms:
                edge = float(family_score(p[0], p[1], rival_weight=weight, exponent=q))
                for side, parameter in (("below", edge - close), ("above", edge + close)):
                    rule = form.with_parameter(parameter)
                    truth = int(rule.decide(g[None], p[None])[0])
                    watch = MixtureLooks(looks, look_spending(looks, err), 0.0, rule, 1.0, 20)
                    false = sum(answer(generator, watch, p, g) not in (truth, ABSTAIN) for _ in range(runs))
                    yield Cell(f"{name}, {form.label}, {side}", err, runs, false)


def answer(generator: np.random.Generator, watch: MixtureLooks, p: Floats, g: Floats) -> int:
    """What a predictor says that draws until it is decided; votes as `Looks` has them."""
    votes, before = np.zeros((2, len(p) + 1), dtype=np.int64), 0
    votes[0, :-1] = generator.multinomial(watch.num_selection, p)
    for look in watch.looks:
        votes[1, :-1] += generator.multinomial(look - before, p)
        before = look
        if watch.stops(votes, look, g):
            break
    return watch.decide(votes, before, g)[0]


def stopped(generator: np.random.Generator, adversary: bool, runs: int) -> Iterator[Cell]:
    """Early stopping by the schedule's own rule, or by an adversary who stops where the stated radius is largest."""
    for err in ERRORS:
        looks = look_schedule(2000)
        schedule = Schedule(looks, err, 1.0, LinearRule(1.0), target_radius=0.3)
        promise = Promise(err)
        for name, p in patterns(looks[0], schedule.spending[0] / 2).items():
            selection = generator.multinomial(20, p, runs)
            winner, rows = selection.argmax(axis=1), np.arange(runs)
            votes, before = np.zeros((runs, len(p)), dtype=np.int64), 0
            stated, running = np.zeros((len(RULES), runs)), np.ones(runs, dtype=bool)
            for look in looks:
                votes, before = votes + generator.multinomial(look - before, p, runs), look
                spent = schedule.spent_at(np.full(runs, look))
                counted = hard_votes(selection, votes, np.zeros(runs, dtype=np.int64))
                bounds = pair_bounds(counted, promise, sigma=1.0, spent=spent)
                radius = certmix.certify(bounds, rules=RULES).radius
                if adversary:
                    stated = np.maximum(stated, radius)
                    continue
                others = votes.copy()
                others[rows, winner] = 0
                ends = running & schedule.decided(votes[rows, winner], others.max(axis=1), look)
                stated[:, ends] = radius[:, ends]
                running &= ~ends
            yield Cell(f"{name}, to n = 2000", err, runs, false_ones(stated, of_classes(p, true_radii)[winner]))


def chain(generator: np.random.Generator, runs: int) -> Iterator[Cell]:
    """Two nodes at two sigmas, half of the failure probability each, every class at once."""
    thresholds, sigmas, n = np.array([0.6, 0.4]), np.array([0.25, 1.0]), 100
    for err in ERRORS:
        made = patterns(n, err / 4)
        for first, second in (
            *((name, name) for name in made),
            *(("near tie", "near one"), ("all equal", "nine tied rivals")),
        ):
            laws = [made[first], made[second]]
            classes = max(map(len, laws))
            laws = [np.pad(p, (0, classes - len(p))) for p in laws]
            selected = np.stack([generator.multinomial(20, p, runs).argmax(axis=1) for p in laws])
            votes = np.stack([generator.multinomial(n, p, runs) for p in laws])
            agree = (selected[0] == selected[1])[None]
            false = np.zeros(runs, dtype=bool)
            for y in range(classes):
                largest = np.delete(votes, y, axis=2).max(axis=2)
                lower = np.where(selected == y, clopper_pearson_lower(votes[:, :, y], n, err / 4), 0.0)
                upper = clopper_pearson_upper(largest, n, np.where(agree, err / 4, err / 8))
                stated = chain_radius(lower, upper, thresholds, sigmas)
                false |= stated > true_chain(laws, y, thresholds, sigmas) * (1 + MARGIN) + MARGIN
            yield Cell(f"{first} / {second}, n = 100", err, runs, int(false.sum()))


def true_chain(laws: list[Floats], y: int, thresholds: Floats, sigmas: Floats) -> float:
    """By the recursion: node k fires for y, or may fire for y only and the later nodes keep y."""
    radius = 0.0
    for p, c, s in reversed(list(zip(laws, thresholds, sigmas, strict=True))):
        low, high = half_spaces(float(p[y]), float(np.delete(p, y).max()))
        fires = s * root(lambda r, low=low, high=high, c=c: min(low(r) - c, low(r) - high(r)))
        silent = s * root(lambda r, high=high, c=c: c - high(r))
        radius = max(fires, min(silent, radius))
    return radius


SOFT_LAWS = {
    "confident": [9.0, 0.5, 0.3],
    "flat": [3.0, 2.0, 2.0],
    "tied rivals": [4.0, *[1.0] * 5],
    "near tie": [5.0, 4.9, 4.9],
    "near one": [300.0, 0.5, 0.2],
    "nearly hard": [0.04, 0.01],
    "nearly hard, rivals": [0.08, 0.02, 0.02],
}


def soft(generator: np.random.Generator, runs: int) -> Iterator[Cell]:
    """Means of class probabilities, bounded by betting."""
    for err in ERRORS:
        for name, law in SOFT_LAWS.items():
            made, prediction = soft_pipeline(generator, np.array(law), err, runs)
            means = ProbabilityBounds(prediction, made.top_lower, made.rival_upper, 1.0)
            stated = certmix.certify(means, rules=RULES).radius
            truth = of_classes(np.array(law) / sum(law), true_radii)[prediction]
            yield Cell(f"{name}, n = 200", err, runs, false_ones(stated, truth))


def confident(generator: np.random.Generator, runs: int) -> Iterator[Cell]:
    """Shares of draws in which a class is above kappa, from the histograms; all rules, as of hard votes."""
    for err in ERRORS:
        for name, law in SOFT_LAWS.items():
            for kappa in (0.625, 0.875):
                votes, prediction = soft_votes(generator, np.array(law), runs)
                counts = confident_counts(votes, kappa, len(law), "estimation")
                counted = ClassVotes(prediction, counts, votes.estimation.total[:, 0])
                bounds = pair_bounds(counted, Promise(err, votes="confident", confidence=kappa), sigma=1.0)
                shares = stats.beta(np.array(law), sum(law) - np.array(law)).sf(kappa - 1 / UNITS)
                truth = of_classes(shares, true_radii)[prediction]
                stated = certmix.certify(bounds, rules=RULES).radius
                yield Cell(f"{name}, kappa {kappa}, n = 200", err, runs, false_ones(stated, truth))


def cdf(generator: np.random.Generator, runs: int) -> Iterator[Cell]:
    """Distributions of a difference of two classes, whose law is a beta's; by means where the selection draws say so."""
    for err in ERRORS:
        for name, law in (
            ("confident", (9.0, 0.8)),
            ("near one", (40.0, 0.1)),
            ("flat", (3.0, 2.0)),
            ("spiky", (0.3, 0.1)),
        ):
            made, prediction = soft_pipeline(generator, np.array(law), err, runs)
            stated = certmix.certify(made, rules=RULES, certifier="cdf").radius
            mean = of_classes(np.array(law) / sum(law), true_radii)[prediction]
            whole = np.stack([true_cdf(*law), true_cdf(*law[::-1])])[prediction]
            truth = np.where(made.by_distribution[:, None], whole, mean)
            yield Cell(f"{name}, n = 200", err, runs, false_ones(stated, truth))


def true_cdf(first: float, second: float) -> Floats:
    """Of RULES: nested half-spaces with the law of 2 Beta - 1, E D at distance r = int Phi(z(P[D >= s]) - r) ds - 1."""
    middle = (np.arange(20_000) + 0.5) / 20_000
    quantiles = ndtri(stats.beta(first, second).sf(middle))

    def difference(r: float) -> float:
        return 2.0 * float(ndtr(quantiles - r).mean()) - 1.0

    found = [root(lambda r, w=w: w * difference(r) - (1 - w)) for w in WEIGHTS]
    return np.array(found + [root(lambda r, c=c: min((1 + difference(r)) / 2 - c, difference(r))) for c in THRESHOLDS])


def soft_pipeline(
    generator: np.random.Generator, law: Floats, err: float, runs: int
) -> tuple[DistributionBounds, Integers]:
    """Bounds of soft votes, and the selected classes."""
    votes, prediction = soft_votes(generator, law, runs)
    return distribution_bounds(votes, Promise(err, votes="soft"), sigma=1.0), prediction


def soft_votes(generator: np.random.Generator, law: Floats, runs: int) -> tuple[SoftVotes, Integers]:
    """Dirichlet draws into histograms; and the selected classes."""
    selection, estimation = (generator.dirichlet(law, (runs, draws)) for draws in (20, 200))
    prediction = np.floor(selection * UNITS).sum(axis=1).argmax(axis=1)
    rivals = np.array([[i for i in range(len(law)) if i != y] for y in range(len(law))])[prediction]
    stages = [histograms(drawn, prediction, rivals) for drawn in (selection, estimation)]
    return SoftVotes(prediction, rivals, *stages), prediction


def histograms(drawn: Floats, prediction: Integers, rivals: Integers) -> Histograms:
    """Histograms of the class (rounded down), its rivals (up) and the differences (down), as the sampler makes them."""
    y = np.take_along_axis(drawn, prediction[:, None, None], axis=2)
    others = np.take_along_axis(drawn, rivals[:, None, :], axis=2)
    down = np.maximum(np.floor(y * UNITS).astype(np.int64) - 1, 0)
    up = np.minimum(np.ceil(others * UNITS).astype(np.int64), UNITS)
    apart = np.maximum(np.floor((1 + y - others) * (UNITS / 2)).astype(np.int64) - 1, 0)
    values = np.concatenate([down, up, apart], axis=2).transpose(0, 2, 1)
    shape = values.shape[:2]
    row = np.arange(shape[0] * shape[1]).reshape(*shape, 1)
    place = (row * BINS + ((values + 2) * 64) // UNITS).reshape(-1)
    size = shape[0] * shape[1] * BINS
    counts = np.bincount(place, minlength=size)
    sums = np.bincount(place, weights=values.reshape(-1), minlength=size)
    return Histograms(counts.reshape(*shape, BINS), sums.astype(np.int64).reshape(*shape, BINS))


def main() -> None:
    generator = np.random.default_rng(20261125)
    many, some, few = (max(20, int(SCALE * size)) for size in (5_000, 4_000, 1_000))
    pipelines = {
        "hard votes, pair": hard(generator, "pair", many),
        "hard votes, Cohen": hard(generator, "cohen", many),
        "stopped by its rule": stopped(generator, False, some),
        "stopped by an adversary": stopped(generator, True, some),
        "family": family(generator, some),
        "chain of two": chain(generator, some),
        "soft votes, betting": soft(generator, few),
        "soft votes, cdf": cdf(generator, few),
        "confident votes": confident(generator, few),
        "predictions": predictions(generator, few),
    }
    pipelines = {name: made for name, made in pipelines.items() if name in (sys.argv[2:] or pipelines)}
    print("| pipeline | stated | certificates | false | worst cell | false there | its p-value | cells |")
    print("|---|---|---|---|---|---|---|---|", flush=True)
    total, cells, least = 0, 0, 1.0
    for name, made in pipelines.items():
        started = time.monotonic()
        groups: dict[float, list[Cell]] = defaultdict(list)
        for cell in made:
            groups[cell.error].append(cell)
        for err, found in groups.items():
            worst = max(found, key=lambda cell: cell.false / cell.certificates)
            count, false = sum(c.certificates for c in found), sum(c.false for c in found)
            print(
                f"| {name} | {err:g} | {count:,} | {false:,} ({false / count:.5f}) | {worst.name} | "
                f"{worst.false / worst.certificates:.5f} | {worst.p_value:.2g} | {len(found)} |",
                flush=True,
            )
            total, cells, least = total + count, cells + len(found), min(least, worst.p_value)
        print(f"{name}: {time.monotonic() - started:.0f} s", file=sys.stderr, flush=True)
    print(
        f"\n=> {total:,} certificates in {cells} cells: the smallest p-value is {least:.2g}, of {cells} "
        f"(Bonferroni: {min(1.0, least * cells):.2g})"
    )


if __name__ == "__main__":
    main()
