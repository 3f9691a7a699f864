"""Which loss weights train the best gate?  The paper's Table 6, three by four, on digits: attack and defence in setting B.

Every network is calibrated to the same clean accuracy on held-out inputs, then attacked by PGD-20 on the test split; a cell
is the mean and range over the seeds. Beside it: the fixed weight of the same clean accuracy.

    python benchmarks/mixing_ablation.py --accurate g.safetensors --robust h.safetensors --attack-radius 0.2 --target 0.96
"""

import argparse
import os
from collections.abc import Sequence

os.environ.setdefault("OMP_NUM_THREADS", "1")

import torch

import certmix
from certmix.adaptive.attacks import AttackBudget
from certmix.adaptive.calibration import calibrate_mixture, fixed_mixture
from certmix.adaptive.evaluation import right_under_attack
from certmix.adaptive.training import GateTraining, train_gate
from certmix.datasets.holdout import hold_out
from certmix.tables import percent_text, render_table

CE = (0.0, 0.5, 1.0, 1.5)  # c_BCE = 1.5 - c_CE
PROD = (0.0, 0.1, 0.2)


def attacked_accuracy(
    models: Sequence[torch.nn.Module], weights: tuple[float, float, float], options: argparse.Namespace, seed: int
) -> float:
    """PGD-20 accuracy of the mixture that one seed trains with these loss weights."""
    data = certmix.load_dataset(options.dataset, split="train")
    (rest, held), test = hold_out(data, 0.25), certmix.load_dataset(options.dataset, split="test")
    torch.manual_seed(seed)
    mixture = certmix.AdaptiveMixture(accurate=models[0], robust=models[1], input_shape=test.input_shape)
    settings = GateTraining(
        norm=options.norm, attack_radius=options.attack_radius, loss_weights=weights, epochs=options.epochs, seed=seed
    )
    train_gate(mixture, rest, settings)
    calibrate_mixture(mixture, held, target=options.target)
    budget = AttackBudget(options.norm, options.attack_radius)
    return float(right_under_attack(mixture, test, budget, settings="B")["B"].mean())


def cell(values: Sequence[float]) -> str:
    """Mean and range in percent."""
    mean = percent_text(sum(values) / len(values))
    return mean if len(values) == 1 else f"{mean} ({percent_text(min(values))}-{percent_text(max(values))})"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("accurate", "robust"):
        parser.add_argument(f"--{name}", required=True)
    parser.add_argument("--dataset", default="digits")
    parser.add_argument("--norm", default="linf")
    for name in ("attack-radius", "target"):
        parser.add_argument(f"--{name}", type=float, required=True)
    parser.add_argument("--epochs", type=int, default=20)
    parser.add_argument("--seeds", default="0")
    options = parser.parse_args()
    models = [certmix.load_model(spec) for spec in (options.accurate, options.robust)]
    seeds = [int(seed) for seed in options.seeds.split(",")]
    rows = []
    for prod in PROD:
        cells = [cell([attacked_accuracy(models, (ce, 1.5 - ce, prod), options, seed) for seed in seeds]) for ce in CE]
        rows.append([f"c_prod = {prod:g}", *cells])
        print(rows[-1], flush=True)
    print(render_table(["", *(f"c_CE = {ce:g}, c_BCE = {1.5 - ce:g}" for ce in CE)], rows))
    held = hold_out(certmix.load_dataset(options.dataset, split="train"), 0.25)[1]
    fixed = fixed_mixture(accurate=models[0], robust=models[1], validation=held, target=options.target)
    budget = AttackBudget(options.norm, options.attack_radius)
    right = right_under_attack(fixed, certmix.load_dataset(options.dataset, split="test"), budget, settings="B")
    print(f"fixed weight {fixed.mixing_weight:.4f}: {cell([float(right['B'].mean())])} attacked")


if __name__ == "__main__":
    main()
