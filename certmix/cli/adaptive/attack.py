"""`certmix adaptive attack`: the paper's Table 2 for any pair of models, and the trade-off curve."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

import certmix
from certmix.cli import options
from certmix.cli.adaptive import app
from certmix.cli.adaptive.options import BaseModels, HeldOut
from certmix.cli.command import command, option
from certmix.cli.output import Output
from certmix.cli.progress import progress_bar
from certmix.cli.values import COUNT, Numbers, ascending
from certmix.tables import percent_text, render_table

if TYPE_CHECKING:
    from certmix.adaptive.comparison import TradeOffs
    from certmix.adaptive.evaluation import Right


def _letters(text: str) -> str:
    """Parser of some of the letters A to D."""
    if not text or set(text) - set("ABCD"):
        raise typer.BadParameter(f"must be some of the letters A, B, C and D, got {text!r}.")
    return text


@command(app, "attack")
def attack_command(
    *,
    mixtures: Annotated[list[Path], typer.Argument(metavar="MIXTURE...", help="Files of the same g and h.")],
    bases: BaseModels,
    dataset: Annotated[str, option("--dataset", "SPEC", "Data set to attack.")],
    split: options.SplitOption = "test",
    skip: options.SkipOption = 1,
    max_inputs: options.MaxOption = None,
    held_out: HeldOut,
    attack_radius: options.AttackRadiusOption,
    norm: options.NormOption = "linf",
    settings: Annotated[str, option("--settings", "LETTERS", "Among A, B, C and D, as one word.", _letters)] = "ABCD",
    steps: options.StepsOption = 20,
    strong_steps: Annotated[int, option("--strong-steps", "N", "Steps of each APGD run of C and D.", COUNT)] = 100,
    restarts: options.RestartsOption = 1,
    whole: Annotated[bool, option("--whole", None, "FAB and Square in C and D (attacks extra; slow).")] = False,
    sharpened: Annotated[
        bool, option("--sharpened", None, "Also the fixed weight with MixedNUTS's sharpened h.")
    ] = False,
    targets: Annotated[
        Numbers | None, option("--targets", "ACC,...", "Also the trade-off at these clean accuracies.", ascending)
    ] = None,
    scale: options.ScaleOption = None,
    seed: options.SeedOption = 0,
    placement: options.Placement,
    out: options.StemOption = None,
    output: Output,
) -> None:
    """Attack adaptive mixtures by A to D (Table 2).

    \b
    A gray-box PGD, B white-box PGD, C AutoAttack, D with components against the gate. A row each for g, h, the
    fixed-weight mixture of the same clean accuracy, and every mixture:
      certmix adaptive attack mixture.safetensors --dataset digits --attack-radius 0.2 --norm linf
    Attacked against clean accuracy, beside fixed weights and the oracle of Theorem 4.1:
      certmix adaptive attack mixture.safetensors --dataset digits --attack-radius 0.2 --settings B \\
        --targets 0.92,0.94,0.96,0.98 --out figures/trade-off
    """
    from certmix.adaptive.attacks import AttackBudget
    from certmix.adaptive.comparison import compare_mixtures, compare_trade_offs
    from certmix.adaptive.evaluation import accuracies

    budget = AttackBudget(norm, attack_radius, steps=steps, strong_steps=strong_steps, restarts=restarts, whole=whole)
    data = certmix.load_dataset(dataset, split=split, skip=skip, max=max_inputs, trust_model=bases.trust_model)
    validation = held_out.load(dataset, bases.trust_model)
    loaded = {path.stem: bases.load(str(path)) for path in mixtures}
    for mixture in loaded.values():
        placement.place(mixture)
    how: dict[str, Any] = {"seed": seed, "batch_size": placement.batch_size}
    with progress_bar("attacking", quiet=output.quiet) as watch:
        rows = compare_mixtures(
            loaded, validation, data, budget, settings=settings, sharpened=sharpened, progress=watch, **how
        )
    values: dict[str, Any] = {
        "dataset": data.spec, "inputs": len(data), "norm": norm, "attack_radius": attack_radius,
        "accuracy": {name: accuracies(right) for name, right in rows.items()},
    }  # fmt: skip
    text = _table(rows, output.table_format)
    if targets is not None:
        found = compare_trade_offs(
            loaded, validation, data, budget, targets=targets.values, scales=scale or [2.0], **how
        )
        title = f"White-box PGD-{steps}, {norm} radius {attack_radius:g}, {len(data)} inputs"
        files = _plot(found, out, title, len(data)) if out else []
        values["trade_off"] = {**_values(found), "files": files}
        text += "\n\n" + _trade_off_table(values["trade_off"], output.table_format)
    note = (
        f"Accuracy in % [95 % interval] of {len(data)} inputs of {data.spec}, {norm} radius {attack_radius:g}; attacks give "
        "upper bounds. The fixed weight has the clean accuracy of the first mixture on the validation inputs."
    )
    output.show(values, text, [note])


def _table(rows: "Mapping[str, Right]", table_format: str) -> str:
    import numpy as np

    from certmix.curves import accuracy_interval

    names = list(next(iter(rows.values())))
    body = []
    for model, right in rows.items():
        cells = [model]
        for name in names:
            low, high = accuracy_interval(np.array([right[name].sum()]), len(right[name]))
            interval = f"[{percent_text(low[0])}, {percent_text(high[0], up=True)}]"
            cells.append(f"{percent_text(right[name].mean())} {interval}")
        body.append(cells)
    return render_table(["model", *names], body, table_format)


def _values(found: "TradeOffs") -> dict[str, Any]:
    """Trade-off curves as plain values."""
    from certmix.adaptive.evaluation import accuracies

    curves = {
        name: [
            {
                "target": point.target,
                "adaptive": accuracies(point.adaptive),
                "fixed": accuracies(point.fixed),
                "fixed_weight": point.mixing_weight,
            }
            for point in points
        ]
        for name, points in found.curves.items()
    }
    bases = {name: accuracies(right) for name, right in found.bases.items()}
    return {"curves": curves, "bases": bases, "oracle": accuracies(found.oracle)}


def _plot(found: "TradeOffs", stem: Path, title: str, inputs: int) -> list[str]:
    from certmix.plots.trade_off import plot_trade_off

    values = _values(found)
    curves = values["curves"]
    drawn = {name: [(p["adaptive"]["clean"], p["adaptive"]["B"]) for p in points] for name, points in curves.items()}
    drawn["fixed weight"] = [(p["fixed"]["clean"], p["fixed"]["B"]) for p in next(iter(curves.values()))]
    bases = {name: (accuracy["clean"], accuracy["B"]) for name, accuracy in values["bases"].items()}
    oracle = values["oracle"]["clean"], values["oracle"]["attacked"]
    return plot_trade_off({title: drawn}, stem, inputs=inputs, models=bases, oracle=oracle)


def _trade_off_table(values: dict[str, Any], table_format: str) -> str:
    body = []
    for name, points in values["curves"].items():
        for point in points:
            both = [point["adaptive"], point["fixed"]]
            cells = [percent_text(accuracy[key]) for accuracy in both for key in ("clean", "B")]
            body.append([name, percent_text(point["target"]), *cells, f"{point['fixed_weight']:.4f}"])
    oracle = [percent_text(values["oracle"][key]) for key in ("clean", "attacked")]
    body.append(["oracle (Theorem 4.1)", "", *oracle, "", "", ""])
    headers = ["mixture", "target", "adaptive clean", "adaptive B", "fixed clean", "fixed B", "fixed weight"]
    return render_table(headers, body, table_format)
