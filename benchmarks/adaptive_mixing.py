"""At equal clean accuracy, does a weight chosen per input hold against more than a fixed one?  Table 2 in small, 3 seeds.

Digits, linf radius 0.2: g trained clean, h adversarially; mixing networks trained in settings A, B and C, all tuned on the
same 300 held-out digits, reported on the 599 test digits under attacks A to D. Prints every seed, then mean and range.
"""

import argparse
import json
import os
import time
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"

import numpy as np
import torch

import certmix
from certmix.adaptive.attacks import SETTINGS, AttackBudget
from certmix.adaptive.calibration import calibrate_mixture, fixed_mixture
from certmix.adaptive.evaluation import accuracies, right_under_attack, trade_off
from certmix.adaptive.oracle import Oracle
from certmix.adaptive.training import GateTraining, train_gate
from certmix.datasets.holdout import hold_out
from certmix.plots.trade_off import plot_trade_off
from certmix.tables import percent_text, render_table
from certmix.training.methods import Adversarial
from certmix.training.train import accuracy, train

RADIUS, NORM, GATE_RANGE = 0.2, "linf", (0.5, 1.0)
COLUMNS = ("clean", *SETTINGS)


def one_seed(seed: int, budget: AttackBudget, epochs: int) -> tuple[dict[str, dict[str, float]], dict[str, object]]:
    rest, held = hold_out(certmix.load_dataset("digits", split="train"), 0.25)
    test = certmix.load_dataset("digits", split="test")
    g = train(rest, epochs=80, seed=seed)
    h = train(rest, epochs=40, method=Adversarial(RADIUS, NORM, 10), seed=seed)
    clean = accuracy(g, held), accuracy(h, held)
    target = clean[0] - (clean[0] - clean[1]) / 4
    fixed = fixed_mixture(accurate=g, robust=h, validation=held, target=target)
    models: dict[str, torch.nn.Module] = {"g (accurate)": g, "h (robust)": h, "fixed weight": fixed}
    seconds = {}
    for attack in "ABC":
        torch.manual_seed(seed)
        mixture = certmix.AdaptiveMixture(accurate=g, robust=h, input_shape=test.input_shape, gate_range=GATE_RANGE)
        started = time.perf_counter()
        settings = GateTraining(attack=attack, norm=NORM, attack_radius=RADIUS, epochs=epochs, seed=seed)
        train_gate(mixture, rest, settings)
        seconds[attack] = time.perf_counter() - started
        calibrate_mixture(mixture, held, target=target)
        models[f"adaptive, trained in {attack}"] = mixture
    table = {name: accuracies(right_under_attack(model, test, budget, seed=seed)) for name, model in models.items()}
    oracle = Oracle(accurate=g, robust=h)
    weak = accuracies(oracle.right_under_attack(test, budget, seed=seed))
    strong = accuracies(oracle.right_under_attack(test, budget, strong=True, seed=seed))
    table["oracle (Theorem 4.1)"] = {
        "clean": weak["clean"],
        "A": float("nan"),
        "B": weak["attacked"],
        "C": strong["attacked"],
        "D": float("nan"),
    }
    said = ", ".join(f"{name} {value:.0f} s" for name, value in seconds.items())
    print(
        f"seed {seed}: held-out target {target:.4f}, fixed weight {fixed.mixing_weight:.4f}, training {said}",
        flush=True,
    )
    print(render(lambda name, column: [table[name][column]], list(table)), flush=True)
    return table, {"models": models, "held": held, "test": test, "seconds": seconds}


def render(values, names: list[str]) -> str:  # type: ignore[no-untyped-def]
    def cell(found: list[float]) -> str:
        if np.isnan(found).any():
            return ""
        mean = percent_text(float(np.mean(found)))
        return mean if len(found) == 1 else f"{mean} ({percent_text(min(found))}-{percent_text(max(found))})"

    rows = [[name, *(cell(values(name, column)) for column in COLUMNS)] for name in names]
    return render_table(["model", *COLUMNS], rows)


def draw(kept: dict[str, object], budget: AttackBudget, stem: Path) -> None:
    models, test = kept["models"], kept["test"]
    curves = {}
    for name in ("adaptive, trained in B", "adaptive, trained in C"):
        points = trade_off(
            models[name],  # type: ignore[index]
            kept["held"],  # type: ignore[arg-type]
            test,  # type: ignore[arg-type]
            budget,
            targets=(0.9, 0.92, 0.94, 0.955, 0.965, 0.975),
            settings="C",
        )
        curves[name] = [(p.adaptive["clean"].mean(), p.adaptive["C"].mean()) for p in points]
    curves["fixed weight"] = [(p.fixed["clean"].mean(), p.fixed["C"].mean()) for p in points]
    bases = {}
    for name in ("g (accurate)", "h (robust)"):
        found = accuracies(right_under_attack(models[name], test, budget, settings="C"))  # type: ignore[index, arg-type]
        bases[name] = found["clean"], found["C"]
    found = accuracies(
        Oracle(accurate=models["g (accurate)"], robust=models["h (robust)"]).right_under_attack(
            test, budget, strong=True
        )  # type: ignore
    )
    title = f"Digits, attack C, linf radius {RADIUS:g}"
    oracle = found["clean"], found["attacked"]
    plot_trade_off({title: curves}, stem, inputs=len(test), models=bases, oracle=oracle)
    for name, curve in curves.items():
        print(name, " ".join(f"{100 * clean:.1f}/{100 * attacked:.1f}" for clean, attacked in curve), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--json", type=Path, help="add each seed's table to this file; tables already there count too")
    parser.add_argument("--epochs", type=int, default=60)
    parser.add_argument("--strong-steps", type=int, default=50)
    parser.add_argument("--whole", action="store_true", help="FAB and Square on the first seed's best mixture")
    parser.add_argument("--figure", type=Path, help="stem of the trade-off figure of the first seed")
    options = parser.parse_args()
    torch.set_num_threads(1)
    budget = AttackBudget(NORM, RADIUS, strong_steps=options.strong_steps)
    tables = {}
    for seed in (int(text) for text in options.seeds.split(",") if text):
        tables[str(seed)], kept = one_seed(seed, budget, options.epochs)
        if options.whole:
            whole = AttackBudget(NORM, RADIUS, strong_steps=options.strong_steps, whole=True)
            for name in ("fixed weight", "adaptive, trained in C"):
                found = right_under_attack(kept["models"][name], kept["test"], whole, settings="CD")  # type: ignore
                print(f"with FAB and Square, {name}: {accuracies(found)}", flush=True)
        if options.figure:
            draw(kept, AttackBudget(NORM, RADIUS, strong_steps=20), options.figure)
    if options.json:
        tables |= json.loads(options.json.read_text()) if options.json.exists() else {}
        options.json.write_text(json.dumps(tables, indent=1))
    print(f"\nmean (range) over {len(tables)} seeds")
    print(
        render(
            lambda name, column: [table[name][column] for table in tables.values()], list(next(iter(tables.values())))
        )
    )


if __name__ == "__main__":
    main()
