"""`certmix attack-mixing`: the table of the paper's Table 2 for any pair of models, and the trade-off curve."""

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from certmix.cli import app
from certmix.cli.options import (
    AttackRadiusOption,
    FormatOption,
    HoldoutOption,
    JsonOption,
    MaxOption,
    NormOption,
    QuietOption,
    ScaleOption,
    SplitOption,
    TrustOption,
    numbers,
)

if TYPE_CHECKING:
    from certmix.adaptive.attacks import AttackBudget
    from certmix.adaptive.evaluation import Right
    from certmix.adaptive.mixture import AdaptiveMixture
    from certmix.datasets import Dataset


@app.command("attack-mixing")
def attack_mixing_command(
    mixtures: Annotated[list[Path], typer.Argument(metavar="MIXTURE...", help="Files of train-mixing, same g and h.")],
    dataset: Annotated[str, typer.Option("--dataset", metavar="SPEC", help="Data set to attack.")],
    attack_radius: AttackRadiusOption,
    norm: NormOption = "linf",
    split: SplitOption = "test",
    max_inputs: MaxOption = None,
    settings: Annotated[str, typer.Option("--settings", help="Among A, B, C and D, as one word.")] = "ABCD",
    steps: Annotated[int, typer.Option("--steps", help="PGD steps of A and B.")] = 20,
    strong_steps: Annotated[int, typer.Option("--strong-steps", help="Steps of each APGD run of C and D.")] = 100,
    whole: Annotated[
        bool, typer.Option("--whole", help="FAB and Square in C and D (needs the attacks extra; slow).")
    ] = False,
    validation_split: Annotated[
        str, typer.Option("--validation-split", help="Split whose held-out part tunes the fixed-weight mixture.")
    ] = "train",
    holdout: HoldoutOption = 0.25,
    targets: Annotated[
        str | None, typer.Option("--targets", metavar="ACC,...", help="Also the trade-off at these clean accuracies.")
    ] = None,
    scale: ScaleOption = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="STEM", help="Write the trade-off figure and its numbers there.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Of random starts.")] = 0,
    trust_model: TrustOption = False,
    table_format: FormatOption = "markdown",
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Attack adaptive mixtures (A gray-box PGD, B white-box PGD, C AutoAttack, D with components against a(x)).

    \b
    A row each for g, h, the fixed-weight mixture of the same clean accuracy, and every mixture (Table 2):
      certmix attack-mixing mixture.safetensors --dataset digits --attack-radius 0.2 --norm linf
    Attacked against clean accuracy, beside fixed weights and the oracle of Theorem 4.1:
      certmix attack-mixing mixture.safetensors --dataset digits --attack-radius 0.2 --settings B \\
        --targets 0.92,0.94,0.96,0.98 --out figures/trade-off
    """
    import certmix
    from certmix.adaptive.attacks import AttackBudget, check_setting
    from certmix.adaptive.evaluation import accuracies, fixed_mixture, right_under_attack
    from certmix.cli.mixing_models import load_mixture
    from certmix.datasets.holdout import hold_out
    from certmix.training.train import accuracy

    for setting in settings:
        check_setting(setting)
    budget = AttackBudget(norm, attack_radius, steps=steps, strong_steps=strong_steps, whole=whole)
    data = certmix.load_dataset(dataset, split=split, max=max_inputs, trust_model=trust_model)
    validation: Dataset = certmix.load_dataset(dataset, split=validation_split, trust_model=trust_model)
    validation = hold_out(validation, holdout)[1] if holdout else validation
    loaded = {path.stem: load_mixture(str(path)) for path in mixtures}
    first = next(iter(loaded.values()))
    fixed = fixed_mixture(first.accurate, first.robust, validation, target=accuracy(first, validation))
    models = {"g (accurate)": first.accurate, "h (robust)": first.robust}
    models |= {f"fixed weight {fixed.mixing_weight:.4f}": fixed, **loaded}
    rows: dict[str, Right] = {}
    for name, model in models.items():
        if not quiet:
            print(f"attacking {name}", file=sys.stderr)
        rows[name] = right_under_attack(model, data, budget, settings=settings, seed=seed)
    result: dict[str, Any] = {
        "dataset": data.spec,
        "inputs": len(data),
        "norm": norm,
        "attack_radius": attack_radius,
        "accuracy": {name: accuracies(right) for name, right in rows.items()},
    }
    if targets is not None:
        wanted = numbers(targets, "--targets")
        result["trade_off"] = _trade_off(loaded, validation, data, budget, wanted, scale or [2.0], seed, out)
    if as_json:
        print(json.dumps(result, indent=2))
        return
    print(_table(rows, table_format))
    if targets is not None:
        print("\n" + _trade_off_table(result["trade_off"], table_format))
    if not quiet:
        print(
            f"Accuracy in % [95 % interval] of {len(data)} inputs of {data.spec}, {norm} radius {attack_radius:g}; attacks "
            "give upper bounds. The fixed weight has the clean accuracy of the first mixture on the validation inputs.",
            file=sys.stderr,
        )


def _table(rows: "dict[str, Right]", table_format: str) -> str:
    import numpy as np

    from certmix.curves import accuracy_interval
    from certmix.tables import percent_text, render_table

    names = list(next(iter(rows.values())))
    body = []
    for model, right in rows.items():
        cells = [model]
        for name in names:
            low, high = accuracy_interval(np.array([right[name].sum()]), len(right[name]))
            cells.append(
                f"{percent_text(right[name].mean())} [{percent_text(low[0])}, {percent_text(high[0], up=True)}]"
            )
        body.append(cells)
    return render_table(["model", *names], body, table_format)


def _trade_off(
    loaded: "dict[str, AdaptiveMixture]",
    validation: "Dataset",
    data: "Dataset",
    budget: "AttackBudget",
    targets: tuple[float, ...],
    scales: list[float],
    seed: int,
    out: Path | None,
) -> dict[str, Any]:
    from certmix.adaptive.evaluation import Oracle, accuracies, right_under_attack, trade_off
    from certmix.plots.trade_off import plot_trade_off

    first = next(iter(loaded.values()))
    bases = {"g": first.accurate, "h": first.robust}
    base = {name: accuracies(right_under_attack(m, data, budget, settings="B", seed=seed)) for name, m in bases.items()}
    oracle = accuracies(Oracle(first.accurate, first.robust).right_under_attack(data, budget, seed=seed))
    curves: dict[str, list[dict[str, Any]]] = {}
    for name, mixture in loaded.items():
        swept = trade_off(mixture, validation, data, budget, targets=targets, scales=scales, seed=seed)
        curves[name] = [
            {
                "target": point.target,
                "adaptive": accuracies(point.adaptive),
                "fixed": accuracies(point.fixed),
                "fixed_weight": point.mixing_weight,
            }
            for point in swept
        ]
    drawn = {name: [(p["adaptive"]["clean"], p["adaptive"]["B"]) for p in points] for name, points in curves.items()}
    drawn["fixed weight"] = [(p["fixed"]["clean"], p["fixed"]["B"]) for p in next(iter(curves.values()))]
    title = f"White-box PGD-{budget.steps}, {budget.norm} radius {float(budget.attack_radius):g}, {len(data)} inputs"
    points = {name: (values["clean"], values["B"]) for name, values in base.items()}
    oracle_point = oracle["clean"], oracle["attacked"]
    files = []
    if out:
        files = plot_trade_off({title: drawn}, out, inputs=len(data), models=points, oracle=oracle_point)
    return {"curves": curves, "bases": base, "oracle": oracle, "files": files}


def _trade_off_table(result: dict[str, Any], table_format: str) -> str:
    from certmix.tables import percent_text, render_table

    body = []
    for name, points in result["curves"].items():
        for point in points:
            both = [point["adaptive"], point["fixed"]]
            cells = [percent_text(values[key]) for values in both for key in ("clean", "B")]
            body.append([name, percent_text(point["target"]), *cells, f"{point['fixed_weight']:.4f}"])
    oracle = result["oracle"]
    body.append(
        ["oracle (Theorem 4.1)", "", percent_text(oracle["clean"]), percent_text(oracle["attacked"]), "", "", ""]
    )
    headers = ["mixture", "target", "adaptive clean", "adaptive B", "fixed clean", "fixed B", "fixed weight"]
    return render_table(headers, body, table_format)
