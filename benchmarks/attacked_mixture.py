"""Does the paper's empirical story hold on digits? Figure 4, Table 1, and Figure 1's comparison of mixing forms.

Trains an accurate network and adversarially trained ones, attacks the mixture over its weights (STD, ROB and MIX PGD-20),
measures confidence gaps, and compares the eight mixing forms.

    python benchmarks/attacked_mixture.py [--forms] [--figure STEM]
"""

import argparse
import os
from pathlib import Path

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

import numpy as np
import torch

import certmix
from certmix.attacks import attack_mixture
from certmix.cli.attack.mixture import WEIGHTS, plot_sweep, sweep_table
from certmix.datasets import Subset
from certmix.datasets.batches import stack
from certmix.lipschitz import estimate_local_lipschitz
from certmix.lipschitz_bounds import bound_local_lipschitz
from certmix.paper.confidence import confidence_gaps
from certmix.paper.form_attacks import compare_mixing_forms
from certmix.training.methods import Adversarial
from certmix.training.train import train

NORM, RADIUS = "linf", 0.2


def table_1(models: dict[str, torch.nn.Module], test: certmix.Dataset) -> None:
    print("\n| model | inputs | accuracy | right: mean | median | wrong: mean | median | weight needed by half |")
    print("|---|---|---|---|---|---|---|---|")
    for name, model in models.items():
        for gap in confidence_gaps(model, test, norm=NORM, attack_radius=RADIUS / 2):
            cells = [f"{f(v):.3f}" if len(v) else "-" for v in (gap.right, gap.wrong) for f in (np.mean, np.median)]
            print(f"| {name} | {gap.data} | {gap.accuracy:.3f} | {' | '.join(cells)} | {gap.weight_needed():.3f} |")


def lipschitz(models: dict[str, torch.nn.Module], inputs: torch.Tensor) -> None:
    headers = ("model", "l_inf ball", "Eq. 12 class average (estimate)", "largest estimate / bound")
    headers += ("radius at a = 0.8 (estimate)", "certified by bounds")
    print(f"\n| {' | '.join(headers)} |\n{'|---' * len(headers)}|")
    for name, model in models.items():
        for radius in (0.005, 0.02):
            found = estimate_local_lipschitz(model, inputs, attack_radius=radius, norm=NORM)
            bound = bound_local_lipschitz(model, inputs, attack_radius=radius, norm=NORM)
            print(
                f"| {name} | {radius} | {found.class_average.mean():.3f} | {(found.constant / bound.constant).max():.3f} | "
                f"{found.estimated_radius(0.8).mean():.4f} | {bound.certified_radius(0.8).mean():.4f} |"
            )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--forms", action="store_true", help="also compare the mixing forms (minutes)")
    parser.add_argument("--figure", type=Path, help="write the figure of the sweep there")
    options = parser.parse_args()
    training = certmix.load_dataset("digits", split="train")
    test = certmix.load_dataset("digits", split="test")
    inputs, labels = stack(test)
    accurate = train(training, sigma=0.15, epochs=120)
    robust = train(training, method=Adversarial(RADIUS, NORM))
    print(
        f"torch {torch.__version__}; {len(labels)} digits; {NORM} budget {RADIUS}; 20 steps x 1 restart; accuracy in %\n"
    )
    sweep = attack_mixture(
        test, accurate=accurate, robust=robust, mixing_weight=WEIGHTS, norm=NORM, attack_radius=RADIUS,
        accurate_vote="softmax",
    )  # fmt: skip
    print(sweep_table(sweep, "markdown"))
    if options.figure:
        plot_sweep(sweep, options.figure)
    models = {"accurate": accurate, "robust": robust}
    table_1(models, test)
    lipschitz(models, inputs[:200])
    if options.forms:
        weak = train(training, method=Adversarial(0.25, NORM))
        curves = compare_mixing_forms(
            Subset(test, range(200)),
            accurate=accurate,
            robust=weak,
            norm=NORM,
            attack_radius=0.15,
            num_gammas=10,
            steps=10,
        )
        low, high = sorted((curves[0].clean[-1], curves[0].clean[0]))
        print("\n| mixing form | mean attacked accuracy between both clean accuracies |\n|---|---|")
        for curve in sorted(curves, key=lambda c: -c.score(low, high)):
            print(f"| {curve.name} | {100 * curve.score(low, high):.1f} |")


if __name__ == "__main__":
    main()
