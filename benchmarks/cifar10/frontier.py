"""The figure of the README: what every method certifies from the same draws, at one clean accuracy.

    python frontier.py RUN ... --target ACCURACY --out STEM

Sigma, parameters and confidence of each method are chosen on one half of the images, for the sum of certified accuracies
at .25, .5 and .75, among those that keep the target there; curves are of the other half. Two figures (STEM and STEM-dark)
and a table.
"""

import argparse
from pathlib import Path

import numpy as np

import certmix
from certmix.certification.certify import certified_at
from certmix.pareto import compare_methods
from certmix.plots.canvas import Look
from certmix.plots.methods import plot_methods

RADII = (0.0, 0.25, 0.5, 0.75, 1.0)
CONFIDENCES = tuple(step / 64 for step in (40, 46, 52, 56, 60, 62))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path, nargs="+")
    parser.add_argument("--target", type=float, required=True)
    parser.add_argument("--out", type=Path, required=True)
    options = parser.parse_args()
    runs = [certmix.read_statistics(run) for run in options.runs]
    methods = compare_methods(runs, target=options.target, confidences=CONFIDENCES)
    print(
        "| method | chosen | clean | "
        + " | ".join(f"r = {r:g}" for r in RADII)
        + " |\n"
        + "|---" * (3 + len(RADII))
        + "|"
    )
    for one in methods:
        shares = [100 * np.mean(one.right & certified_at(one.radius, r)) for r in RADII]
        cells = " | ".join(f"{share:.1f}" for share in shares)
        print(f"| {one.name} | {one.choice} | {100 * one.clean_accuracy:.1f} | {cells} |")
    plot_methods(methods, options.out, title="CIFAR-10 (JPEG copy)")
    plot_methods(methods, f"{options.out}-dark", title="CIFAR-10 (JPEG copy)", look=Look(dark=True))


if __name__ == "__main__":
    main()
