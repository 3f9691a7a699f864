"""`certmix confidence`: how sure both models are where they are right and wrong, clean and attacked (Table 1)."""

import json
import sys
from typing import Annotated, Any

import typer

from certmix.cli import app
from certmix.cli.attack import (
    AccurateOption,
    AttackDatasetOption,
    NormOption,
    RadiusOption,
    RestartsOption,
    RobustOption,
    SeedOption,
    StepsOption,
)
from certmix.cli.options import (
    FormatOption,
    JsonOption,
    MaxOption,
    ModelOption,
    QuietOption,
    SplitOption,
    TrustOption,
    key_values,
)


@app.command("confidence")
def confidence_command(
    accurate: AccurateOption,
    robust: RobustOption,
    dataset: AttackDatasetOption,
    attack_radius: RadiusOption,
    norm: NormOption = "linf",
    attack: Annotated[
        list[str] | None, typer.Option("--attack", metavar="NAME", help="pgd or auto; repeat for both.")
    ] = None,
    steps: StepsOption = 20,
    restarts: RestartsOption = 1,
    max_inputs: MaxOption = None,
    split: SplitOption = None,
    seed: SeedOption = 0,
    model: ModelOption = None,
    trust_model: TrustOption = False,
    table_format: FormatOption = "markdown",
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Confidence gaps (top-1 minus top-2 probability) of right and wrong predictions, as in the paper's Table 1.

    \b
      certmix confidence --accurate g.safetensors --robust h.safetensors --dataset digits --attack-radius 0.1
    """
    import certmix
    from certmix.datasets.batches import stack
    from certmix.paper.confidence import confidence_gaps

    data = certmix.load_dataset(dataset, split=split, max=max_inputs, trust_model=trust_model)
    options: dict[str, Any] = {"trust_model": trust_model, **key_values(model)}
    inputs, labels = stack(data)
    rows: list[dict[str, Any]] = []
    for name, spec in (("accurate", accurate), ("robust", robust)):
        gaps = confidence_gaps(
            certmix.load_model(spec, **options), inputs, labels, norm=norm, attack_radius=attack_radius,
            attacks=attack or ["pgd"], steps=steps, restarts=restarts, seed=seed,
        )  # fmt: skip
        for gap in gaps:
            row = {"model": name, "inputs": gap.data, "accuracy": gap.accuracy}
            for kind, values in (("right", gap.right), ("wrong", gap.wrong)):
                mean, median = (
                    (float(values.mean()), float(sorted(values)[len(values) // 2])) if len(values) else (None,) * 2
                )
                row |= {f"{kind}_mean": mean, f"{kind}_median": median}
            rows.append({**row, "weight_needed_by_half": gap.weight_needed()})
    if as_json:
        print(
            json.dumps({"norm": norm, "attack_radius": attack_radius, "num_inputs": len(data), "rows": rows}, indent=2)
        )
        return
    print(_table(rows, table_format))
    if not quiet:
        print(
            f"{len(data)} inputs, {norm} budget {attack_radius:g}. Last column: Lemma 3.2 read backwards, the weight above "
            "which half of the right predictions have the margin it asks for; an estimate, gaps under attack being upper "
            "bounds of robust margins.",
            file=sys.stderr,
        )


def _table(rows: list[dict[str, Any]], table_format: str) -> str:
    from certmix.tables import floor_text, percent_text, render_table

    kinds = ("right_mean", "right_median", "wrong_mean", "wrong_median", "weight_needed_by_half")
    headers = ["model", "inputs", "accuracy", *(kind.replace("_", " ") for kind in kinds)]
    cells = [
        [row["model"], row["inputs"], percent_text(row["accuracy"])]
        + ["-" if row[kind] is None else floor_text(row[kind], 3) for kind in kinds]
        for row in rows
    ]
    return render_table(headers, cells, table_format)
