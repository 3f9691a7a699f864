"""What do the threshold, confident votes and chains certify at equal clean accuracy, on inputs that chose nothing?

Digits, networks of `certmix demo`, soft votes stored once per sigma. On each of 200 random halves every rule gets the
parameter (and confident votes their kappa, chains their thresholds) that certifies most there, summed over the radii .25,
.5 and .75, of those that keep a clean accuracy; it is reported on the other half. Differences are paired by split, with the
interval of their mean over splits: the splits share one test set, so that it says how stable the choice is, not what
another test set would give.

    python benchmarks/rules_on_splits.py MODELS [--draws 10000] [--splits 200]
    python benchmarks/rules_on_splits.py RUN RUN ... [--splits 200]

MODELS is the folder `models` that `certmix demo --out demo` leaves; RUNs are run folders with soft votes and the accurate
model's answers, one per sigma (the CIFAR-10 study's).
"""

import argparse
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

import certmix
from certmix.certification.certify import certified_at
from certmix.certification.chain import certify_chain
from certmix.certification.votes import whole_votes
from certmix.certifiers.envelope import EXACT
from certmix.errors import InvalidArgument
from certmix.intervals import clopper_pearson_upper
from certmix.pareto import Candidate, ChainCandidate, candidate_from_statistics, chain_candidate, choose_thresholds
from certmix.promise import Promise
from certmix.rules import LinearRule, Rule, ThresholdRule
from certmix.rules.threshold import threshold_radius
from certmix.runs.store import Statistics, read_statistics

SIGMAS, RADII, OBJECTIVE = (0.25, 0.5, 1.0), (0.0, 0.25, 0.5, 0.75), (0.25, 0.5, 0.75)
CONFIDENCES = tuple(step / 64 for step in (33, 40, 46, 52, 56, 60, 62, 63))
ERR = 1e-3

Rows = NDArray[np.int64]
Result = tuple[
    float, float, NDArray[np.float64]
]  # objective where it was chosen; clean accuracy and certified elsewhere


@dataclass
class Single:
    """A rule at one sigma; its radii depend on its parameter only through two bounds, so that they are made per split."""

    candidate: Candidate
    form: Rule

    def best(self, choose: Rows, report: Rows, target: float) -> Result | None:
        try:
            rule = self.form.with_parameter(self.candidate.clean(self.form, choose).best(target))
        except InvalidArgument:
            return None
        made = [certmix.certify(self.candidate.bounds.rows(rows), rules=rule) for rows in (choose, report)]
        shares = [certified(one.prediction, one.radius[0], one.labels) for one in made]
        return float(shares[0][1:].sum()), float(self.candidate.clean(rule, report)(rule.parameter)), shares[1]


def certified(prediction: Rows, radius: NDArray[np.float64], labels: Rows | None) -> NDArray[np.float64]:
    """Certified accuracy at RADII."""
    return np.array([((prediction == labels) & certified_at(radius, r)).mean() for r in RADII])


def best_of(entries: Sequence[Single]) -> Callable[[Rows, Rows, float], Result | None]:
    """The entry that certifies most on the inputs to choose on."""

    def run(choose: Rows, report: Rows, target: float) -> Result | None:
        found = [one for one in (entry.best(choose, report, target) for entry in entries) if one is not None]
        return max(found, key=lambda one: one[0], default=None)

    return run


def chain(candidates: Sequence[ChainCandidate]) -> Callable[[Rows, Rows, float], Result | None]:
    """The chain of all sigmas, its thresholds and its kappa chosen."""

    def run(choose: Rows, report: Rows, target: float) -> Result | None:
        found = []
        for candidate in candidates:
            try:
                thresholds, score = choose_thresholds(candidate, choose, target=target, radii=OBJECTIVE)
            except InvalidArgument:
                continue
            made = certify_chain(candidate.bounds.rows(report), thresholds)
            clean = candidate.clean_accuracy(thresholds, report)
            found.append((score, clean, certified(made.prediction, made.radius[0], made.labels)))
        return max(found, key=lambda one: one[0], default=None)

    return run


class ConstantRoute:
    """min(R_route, R_expert): up to the radius every node before the answering one fires for no class, y included.

    Of Dual RS (arXiv:2512.01782) and ACES (arXiv:2204.00487), with thresholds as routers; on a grid of thresholds, as the
    chain, for two nodes.
    """

    def __init__(self, runs: Sequence[Statistics], candidate: ChainCandidate) -> None:
        self.candidate, self.sigma = candidate, candidate.bounds.sigma
        promise, spent = Promise(ERR / len(runs)), ERR / len(runs) / 4
        self.most = np.stack(
            [clopper_pearson_upper((v := whole_votes(run, promise)).counts.max(axis=1), v.draws, spent)
             for run in runs]
        )  # fmt: skip

    def radius(self, thresholds: Sequence[float], rows: Rows) -> tuple[Rows, NDArray[np.float64]]:
        """(class, radius): the best of the nodes, each up to where those before it are silent."""
        bounds = self.candidate.bounds.rows(rows)
        best, named = np.zeros(len(rows)), np.full(len(rows), -1)
        route = np.full(len(rows), np.inf)
        for k, (c, s) in enumerate(zip(thresholds, self.sigma, strict=True)):
            own = threshold_radius(bounds.top_lower[k, k], bounds.rival_upper[k, k], c, s)
            here = np.minimum(route, own)
            named, best = np.where(here > best, bounds.candidates[k], named), np.maximum(best, here)
            route = np.minimum(route, EXACT.rival_radius(self.most[k, rows], c, s))
        return named, best

    def best(self, choose: Rows, report: Rows, target: float) -> Result | None:
        shares = self.candidate.robust[:, choose].max(axis=-1)
        grids = [
            np.unique(np.minimum(np.quantile(one, np.linspace(0, 1, 24), method="lower"), 1 - 1e-9)) for one in shares
        ]
        labels = self.candidate.bounds.labels
        found: tuple[float, tuple[float, ...]] | None = None
        for combination in np.stack(np.meshgrid(*grids, indexing="ij"), axis=-1).reshape(-1, len(grids)):
            if self.candidate.clean_accuracy(combination, choose) < target - 1e-12:
                continue
            score = float(certified(*self.radius(combination, choose), labels[choose])[1:].sum())
            if found is None or score > found[0]:
                found = score, tuple(combination)
        if found is None:
            return None
        clean = self.candidate.clean_accuracy(found[1], report)
        return found[0], clean, certified(*self.radius(found[1], report), labels[report])


def sampled(models: Path, sigma: float, draws: int, runs: Path) -> Statistics:
    """Soft and hard votes of the demo's network on all test digits."""
    return certmix.sample(
        certmix.load_model(str(models / f"robust-{sigma:g}.safetensors")),
        certmix.load_dataset("digits", split="test", max=899),
        accurate=certmix.load_model(str(models / "accurate.safetensors")),
        sigma=sigma, num_estimation=draws, seed=2301, votes="both", out=runs / f"sigma-{sigma:g}",
    )  # fmt: skip


@dataclass
class Models:
    """What sets the clean accuracy to keep: h's and g's at one sigma."""

    plain: Candidate

    @property
    def inputs(self) -> int:
        return len(self.plain.labels)

    def target(self, share: float, rows: Rows) -> float:
        """That share of the way from h's clean accuracy to g's, on these inputs."""
        step = self.plain.clean(LinearRule(1.0), rows)
        h, g = float(step(1.0)), float(step(0.0))
        return h + share * (g - h)


def compare(title: str, rules: dict[str, Callable[[Rows, Rows, float], Result | None]], share: float, models: Models,
            splits: int, against: Sequence[tuple[str, str]]) -> None:  # fmt: skip
    """Print mean results of every rule, and paired differences."""
    results: dict[str, list[NDArray[np.float64]]] = {name: [] for name in rules}
    for seed in range(splits):
        order = np.random.default_rng(seed).permutation(models.inputs)
        choose, report = np.sort(order[: len(order) // 2]), np.sort(order[len(order) // 2 :])
        target = models.target(share, choose)
        made = {name: run(choose, report, target) for name, run in rules.items()}
        if all(one is not None for one in made.values()):
            for name, one in made.items():
                results[name].append(100 * np.array([one[1], *one[2]]))  # type: ignore[index]
    kept = len(next(iter(results.values())))
    print(f"\n{title}; {kept} of {splits} splits on which all reach the target. Clean | r = 0+ .25 .5 .75")
    for name, rows in results.items():
        clean, *rest = np.mean(rows, axis=0)
        print(f"| {name} | {clean:.1f}: {' '.join(f'{x:.1f}' for x in rest)} |")
    for one, other in against:
        apart = np.array(results[one]) - np.array(results[other])
        mean, half = apart.mean(axis=0), 1.96 * apart.std(axis=0, ddof=1) / np.sqrt(kept)
        cells = " ".join(f"{m:+.2f}±{h:.2f}" for m, h in zip(mean, half, strict=True))
        print(f"| {one} - {other} | {cells} |")


def compare_rules(runs: dict[float, Statistics], splits: int, chain_of: tuple[float, ...]) -> None:
    """Print the tables: every rule at one sigma, then chains of `chain_of`, the least noise first."""
    plain = {sigma: candidate_from_statistics(run, failure_probability=ERR) for sigma, run in runs.items()}
    sure = {
        sigma: [candidate_from_statistics(run, failure_probability=ERR, confidence=kappa) for kappa in CONFIDENCES]
        for sigma, run in runs.items()
    }
    forms = LinearRule(1.0), ThresholdRule(0.0)
    for sigma in runs:
        rules = {
            "Eq. 5": best_of([Single(plain[sigma], forms[0])]),
            "threshold": best_of([Single(plain[sigma], forms[1])]),
            "confident votes": best_of([Single(one, forms[1]) for one in sure[sigma]]),
        }
        pairs = [("threshold", "Eq. 5"), ("confident votes", "threshold"), ("confident votes", "Eq. 5")]
        for share in (0.75, 0.95):
            title = f"sigma {sigma:g}, {share:g} of the way from h's to g's clean accuracy"
            compare(title, rules, share, Models(plain[sigma]), splits, pairs)
    if len(chain_of) < 2:
        return
    order = [runs[sigma] for sigma in chain_of]
    for name, kappas in (("hard votes", (None,)), ("confident votes", CONFIDENCES[2:6])):
        chains = [chain_candidate(order, failure_probability=ERR, confidence=kappa) for kappa in kappas]
        singles = [plain[s] for s in chain_of]
        if kappas[0] is not None:
            singles = [
                candidate_from_statistics(run, failure_probability=ERR, confidence=k) for run in order for k in kappas
            ]
        rules = {"chain": chain(chains), "best single pair": best_of([Single(one, forms[1]) for one in singles])}
        pairs = [("chain", "best single pair")]
        if kappas[0] is None:
            rules["constant route"] = ConstantRoute(order, chains[0]).best
            pairs.append(("chain", "constant route"))
        sigmas = " and ".join(f"{sigma:g}" for sigma in chain_of)
        title = f"chains of sigma {sigmas}, {name}, 0.75 of the way from sigma {chain_of[-1]:g}'s to g's clean accuracy"
        compare(title, rules, 0.75, Models(plain[chain_of[-1]]), splits, pairs)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source", type=Path, nargs="+", metavar="MODELS | RUN")
    parser.add_argument("--draws", type=int, default=10_000)
    parser.add_argument("--splits", type=int, default=200)
    options = parser.parse_args()
    if (options.source[0] / "manifest.json").exists():
        read = [read_statistics(run) for run in options.source]
        runs = {run.sigma: run for run in sorted(read, key=lambda run: run.sigma)}
    else:
        folder = Path(tempfile.mkdtemp())
        runs = {sigma: sampled(options.source[0], sigma, options.draws, folder) for sigma in SIGMAS}
    compare_rules(runs, options.splits, tuple(runs)[:2])


if __name__ == "__main__":
    main()
