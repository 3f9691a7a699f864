"""`certmix mixing-forms`: the eight ways to mix two models, attacked (Figures 1 and 8)."""

import json
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from certmix.cli import app
from certmix.cli.attack import (
    AccurateOption,
    AttackDatasetOption,
    NormOption,
    OutOption,
    RadiusOption,
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

if TYPE_CHECKING:
    from certmix.paper.form_attacks import FormCurve


@app.command("mixing-forms")
def mixing_forms_command(
    accurate: AccurateOption,
    robust: RobustOption,
    dataset: AttackDatasetOption,
    attack_radius: RadiusOption,
    norm: NormOption = "linf",
    points: Annotated[int, typer.Option("--points", help="Points per curve.")] = 12,
    steps: StepsOption = 20,
    max_inputs: MaxOption = None,
    split: SplitOption = None,
    seed: SeedOption = 0,
    model: ModelOption = None,
    trust_model: TrustOption = False,
    out: OutOption = None,
    table_format: FormatOption = "markdown",
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Compare attacked against clean accuracy of Eq. 4's four factors, on logits and on probabilities.

    \b
      certmix mixing-forms --accurate g.safetensors --robust h.safetensors --dataset digits \\
        --norm linf --attack-radius 0.15 --out figures/forms
    """
    import certmix
    from certmix.cli.progress import progress_bar
    from certmix.datasets.batches import stack
    from certmix.paper.form_attacks import compare_mixing_forms
    from certmix.plots.trade_off import plot_trade_off

    data = certmix.load_dataset(dataset, split=split, max=max_inputs, trust_model=trust_model)
    options: dict[str, Any] = {"trust_model": trust_model, **key_values(model)}
    g, h = certmix.load_model(accurate, **options), certmix.load_model(robust, **options)
    with progress_bar("mixing forms", quiet=quiet) as progress:
        curves = compare_mixing_forms(
            g, h, *stack(data), norm=norm, attack_radius=attack_radius, num_gammas=points, steps=steps, seed=seed,
            progress=progress,
        )  # fmt: skip
    low, high = sorted((curves[0].clean[-1], curves[0].clean[0]))
    curves.sort(key=lambda curve: -curve.score(low, high))
    rows: list[dict[str, Any]] = [
        {
            "form": curve.name, "score": curve.score(low, high), "gamma": curve.gamma.tolist(),
            "clean": curve.clean.tolist(), "attacked": curve.attacked.tolist(),
        }
        for curve in curves
    ]  # fmt: skip
    files = []
    if out is not None:
        panels = {
            f"on {on}": {
                c.factor: list(zip(c.clean.tolist(), c.attacked.tolist(), strict=True)) for c in curves if c.on == on
            }
            for on in ("probabilities", "logits")
        }
        files = plot_trade_off(panels, out, inputs=len(data))
    if as_json:
        for row in rows:
            row["gamma"] = [value if value < float("inf") else None for value in row["gamma"]]
        print(json.dumps({"norm": norm, "attack_radius": attack_radius, "inputs": len(data), "forms": rows,
                          "files": files}, indent=2))  # fmt: skip
        return
    print(_table(curves, low, high, table_format))
    if not quiet:
        print(
            f"{len(data)} inputs, {norm} budget {attack_radius:g}. Columns: best attacked accuracy in % at clean accuracy "
            "of at least so much; score: its mean between the clean accuracies of both models.",
            file=sys.stderr,
        )


def _table(curves: "list[FormCurve]", low: float, high: float, table_format: str) -> str:
    import numpy as np

    from certmix.tables import percent_text, render_table

    levels = np.linspace(low, high, 5)
    cells = [
        [
            curve.name,
            percent_text(curve.score(low, high)),
            *(percent_text(curve.attacked_at(level)) for level in levels),
        ]
        for curve in curves
    ]
    return render_table(["form", "score", *(f"clean >= {100 * level:.1f}" for level in levels)], cells, table_format)
