"""Which training method of h is best once g repairs the mixture's clean accuracy?

    python methods.py RUN RUN ... [--splits N]

Runs at one sigma, hard and soft votes. Every rule gets its parameter on a random half, for a clean accuracy of 75 % or 95 %
of the way from the first run's h to g; certified accuracies are of the other half, differences paired by split, as in
`rules_on_splits.py`.
"""

import argparse
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1]))

from rules_on_splits import CONFIDENCES, ERR, Models, Single, best_of, compare

from certmix.pareto import candidate_from_statistics
from certmix.rules import LinearRule, ThresholdRule
from certmix.runs.store import read_statistics


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--splits", type=int, default=200)
    options = parser.parse_args()
    runs = {folder.name: read_statistics(folder) for folder in options.runs}
    plain = {name: candidate_from_statistics(run, failure_probability=ERR) for name, run in runs.items()}
    sure = {
        name: [candidate_from_statistics(run, failure_probability=ERR, confidence=kappa) for kappa in CONFIDENCES]
        for name, run in runs.items()
    }
    first, *others = runs
    for rule, entries in (
        ("Eq. 5", {name: [Single(one, LinearRule(1.0))] for name, one in plain.items()}),
        ("threshold", {name: [Single(one, ThresholdRule(0.0))] for name, one in plain.items()}),
        ("confident votes", {name: [Single(c, ThresholdRule(0.0)) for c in many] for name, many in sure.items()}),
    ):
        for share in (0.75, 0.95):
            compare(
                f"{rule}, {share:g} of the way from {first} to g",
                {name: best_of(one) for name, one in entries.items()},
                share, Models(plain[first]), options.splits, [(other, first) for other in others],
            )  # fmt: skip


if __name__ == "__main__":
    main()
