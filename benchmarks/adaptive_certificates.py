"""What does the floor of a(x) cost and buy, and does attack D break any certificate at it?  Digits, l2, sigma 0.5.

g is trained with little noise, h with sigma 0.5 and smoothed, as in `certmix demo`; the mixing network is trained in
setting B at l2 radius 0.5. For each floor a_min (a_max = 1): clean accuracy at a(x) and certified accuracy at a_min from
stored votes of all 599 test digits, and accuracy under white-box PGD-20 (gradients averaged over noise) at l2 radius 0.5.
Then attack D inside every certificate.
"""

import argparse
import os
import time
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import torch

import certmix
from certmix.adaptive.attacks import AttackBudget
from certmix.adaptive.calibration import calibrate_mixture
from certmix.adaptive.certificate_attacks import attack_adaptive_certificates
from certmix.adaptive.certification import certify_adaptive
from certmix.adaptive.evaluation import measure_gate, right_under_attack
from certmix.adaptive.smoothed import SmoothedAdaptiveMixture
from certmix.adaptive.training import GateTraining, train_gate
from certmix.certification.certify import certified_at
from certmix.datasets.holdout import hold_out
from certmix.plots.weight_range import plot_weight_range
from certmix.tables import percent_text, render_table
from certmix.training.train import accuracy, train

SIGMA, RADIUS, RADII = 0.5, 0.5, (0.25, 0.5)
FLOORS = (0.51, 0.55, 0.6, 0.7, 0.8, 0.9, 0.95)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--figure", type=Path, help="stem of the figure")
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--draws", type=int, default=2000)
    parser.add_argument("--attacked", type=int, default=300, help="test digits under PGD")
    parser.add_argument("--restarts", type=int, default=1)
    options = parser.parse_args()
    torch.set_num_threads(1)
    rest, held = hold_out(certmix.load_dataset("digits", split="train"), 0.25)
    test = certmix.load_dataset("digits", split="test")
    g, h = train(rest, sigma=0.15, epochs=120), train(rest, sigma=SIGMA, epochs=40)
    torch.manual_seed(0)
    mixture = certmix.AdaptiveMixture(accurate=g, robust=h, input_shape=test.input_shape)
    started = time.perf_counter()
    train_gate(mixture, rest, GateTraining(attack="B", norm="l2", attack_radius=RADIUS, epochs=options.epochs))
    print(f"mixing network: {time.perf_counter() - started:.0f} s", flush=True)
    target = accuracy(g, held) - 0.01
    found = calibrate_mixture(mixture, held, target=target, sigma=SIGMA)
    print(
        f"g {accuracy(g, held):.4f}, target {target:.4f}, reached {found.clean_accuracy:.4f}, shift {found.shift:.3f}"
    )
    drawn = certmix.sample(h, test, accurate=g, sigma=SIGMA, num_estimation=options.draws, seed=2301)
    lines = sweep(mixture, drawn, test, options.attacked)
    if options.figure:
        dashed = [name for name in lines if name.startswith("certified")]
        title = f"Digits, sigma = {SIGMA:g}, ceiling of the weight 1"
        inputs = {name: min(options.attacked, len(test)) if name.startswith("PGD") else len(test) for name in lines}
        plot_weight_range(FLOORS, lines, options.figure, inputs=inputs, dashed=dashed, title=title)
    rows = [[f"{floor:g}", *(percent_text(values[k]) for values in lines.values())] for k, floor in enumerate(FLOORS)]
    print(render_table(["floor", *lines], rows), flush=True)
    for floor in (0.6, 0.8):
        mixture.set_gate_range(floor, 1.0)
        made = certify_adaptive(drawn, measure_gate(mixture, test)).certificates
        found = attack_adaptive_certificates(
            mixture,
            test,
            made.prediction,
            made.radius[0],
            sigma=SIGMA,
            grid_levels=test.grid_levels,
            strong_steps=30,
            restarts=options.restarts,
            draws=16,
        )
        print(
            f"floor {floor:g}: {len(found.row)} certificates, mean radius {found.radius.mean():.3f}, attack D at 99 % of it: "
            f"{int(found.broken.sum())} broken, smallest lead {found.lead.min():.4f}, mean a(x) there "
            f"{found.mixing_weight.mean():.3f}",
            flush=True,
        )
        found.check()


def sweep(
    mixture: certmix.AdaptiveMixture, drawn: certmix.Statistics, test: certmix.Dataset, attacked: int
) -> dict[str, list[float]]:
    part = certmix.load_dataset("digits", split="test", max=attacked)
    budget = AttackBudget("l2", RADIUS)
    lines: dict[str, list[float]] = {}
    for floor in FLOORS:
        for name, ceiling in (("a(x)", 1.0), ("fixed weight", floor + 1e-6)):
            mixture.set_gate_range(floor, ceiling)
            made = certify_adaptive(drawn, measure_gate(mixture, test))
            smoothed = SmoothedAdaptiveMixture(mixture, sigma=SIGMA, draws=16, hard=False).eval()
            right = right_under_attack(smoothed, part, budget, settings="B")["B"].mean()
            lines.setdefault(f"clean, {name}", []).append(made.clean_accuracy)
            lines.setdefault(f"PGD-20 at {RADIUS:g}, {name}", []).append(float(right))
        correct = made.certificates.prediction == drawn.labels
        for radius in RADII:
            share = float(np.mean(correct & certified_at(made.certificates.radius[0], radius)))
            lines.setdefault(f"certified at {radius:g}, floor", []).append(share)
        print(f"floor {floor:g}", {name: round(values[-1], 4) for name, values in lines.items()}, flush=True)
    return lines


if __name__ == "__main__":
    main()
