"""`certmix ablate-mixing`: the paper's Table 6, the three-by-four grid of loss weights, for any pair of models."""

import json
import sys
from typing import Annotated

import typer

from certmix.cli import app
from certmix.cli.options import (
    AttackRadiusOption,
    FormatOption,
    HoldoutOption,
    JsonOption,
    NormOption,
    QuietOption,
    TrustOption,
    WeightRangeOption,
    numbers,
)

CE = (0.0, 0.5, 1.0, 1.5)  # c_BCE = 1.5 - c_CE
PROD = (0.0, 0.1, 0.2)


@app.command("ablate-mixing")
def ablate_mixing_command(
    accurate: Annotated[str, typer.Option("--accurate", metavar="SPEC", help="Accurate model g.")],
    robust: Annotated[str, typer.Option("--robust", metavar="SPEC", help="Robust model h.")],
    dataset: Annotated[str, typer.Option("--dataset", metavar="SPEC", help="Data set with train and test splits.")],
    attack_radius: AttackRadiusOption,
    target: Annotated[float, typer.Option("--target", metavar="ACC", help="Clean accuracy on the held-out inputs.")],
    norm: NormOption = "linf",
    holdout: HoldoutOption = 0.25,
    weight_range: WeightRangeOption = "0,1",
    epochs: Annotated[int, typer.Option("--epochs")] = 20,
    seeds: Annotated[str, typer.Option("--seeds", metavar="S,S,...", help="One training each.")] = "0",
    trust_model: TrustOption = False,
    table_format: FormatOption = "markdown",
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Train the mixing network with each of twelve loss weights, attack and defence in setting B (Table 6).

    \b
    Every network is calibrated to the same clean accuracy on held-out inputs, then attacked by PGD-20 on the test split:
      certmix ablate-mixing --accurate g.safetensors --robust h.safetensors --dataset digits \\
        --attack-radius 0.2 --norm linf --target 0.96 --seeds 0,1,2
    """
    import torch

    import certmix
    from certmix.adaptive.attacks import AttackBudget
    from certmix.adaptive.evaluation import calibrate_mixture, fixed_mixture, right_under_attack
    from certmix.adaptive.training import MixingTraining, train_mixing
    from certmix.datasets.holdout import hold_out

    low, high = numbers(weight_range or "0,1", "--weight-range", 2)
    rest, held = hold_out(certmix.load_dataset(dataset, split="train", trust_model=trust_model), holdout or 0.25)
    test = certmix.load_dataset(dataset, split="test", trust_model=trust_model)
    g, h = certmix.load_model(accurate), certmix.load_model(robust)
    budget = AttackBudget(norm, attack_radius)
    results = []
    for prod in PROD:
        for ce in CE:
            clean, attacked = [], []
            for seed in (int(value) for value in numbers(seeds, "--seeds")):
                with torch.random.fork_rng():
                    torch.manual_seed(seed)
                    mixture = certmix.AdaptiveMixture(g, h, input_shape=test.input_shape, weight_range=(low, high))
                weights = (ce, 1.5 - ce, prod)
                settings = MixingTraining(
                    attack="B",
                    norm=norm,
                    attack_radius=attack_radius,
                    loss_weights=weights,
                    epochs=epochs,
                    seed=seed,
                )
                train_mixing(mixture, rest, settings)
                calibrate_mixture(mixture, held, target=target)
                right = right_under_attack(mixture, test, budget, settings="B")
                clean.append(float(right["clean"].mean()))
                attacked.append(float(right["B"].mean()))
            results.append({"c_ce": ce, "c_bce": 1.5 - ce, "c_prod": prod, "clean": clean, "attacked": attacked})
            if not quiet:
                print(f"c_CE {ce:g}, c_BCE {1.5 - ce:g}, c_prod {prod:g}: {attacked}", file=sys.stderr)
    fixed = right_under_attack(fixed_mixture(g, h, held, target=target), test, budget, settings="B")
    baseline = {"clean": float(fixed["clean"].mean()), "attacked": float(fixed["B"].mean())}
    if as_json:
        print(json.dumps({"target": target, "fixed": baseline, "grid": results}, indent=2))
    else:
        print(_table(results, table_format))
        if not quiet:
            print(
                f"PGD-20 accuracy in % (mean and range over the seeds) at clean accuracy {100 * target:.1f} % on held-out "
                f"inputs. Fixed weight: {100 * baseline['attacked']:.1f} %, clean {100 * baseline['clean']:.1f} %.",
                file=sys.stderr,
            )


def _table(results: list[dict[str, object]], table_format: str) -> str:
    from certmix.tables import percent_text, render_table

    def cell(values: object) -> str:
        assert isinstance(values, list)
        mean = percent_text(sum(values) / len(values))
        return mean if len(values) == 1 else f"{mean} ({percent_text(min(values))}-{percent_text(max(values))})"

    rows = []
    for prod in PROD:
        row = [cell(r["attacked"]) for r in results if r["c_prod"] == prod]
        rows.append([f"c_prod = {prod:g}", *row])
    return render_table(["", *(f"c_CE = {ce:g}, c_BCE = {1.5 - ce:g}" for ce in CE)], rows, table_format)
