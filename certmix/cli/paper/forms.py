"""`certmix paper forms`: the eight ways to mix two models, attacked (Figures 1 and 8)."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from certmix.cli.attack.options import AnyNormOption
from certmix.cli.command import command, need, option
from certmix.cli.options import AttackRadiusOption, Placement, SeedOption, Sources, StemOption, StepsOption
from certmix.cli.output import Output
from certmix.cli.paper import app
from certmix.cli.progress import progress_bar
from certmix.cli.values import whole
from certmix.tables import percent_text, render_table

if TYPE_CHECKING:
    from certmix.paper.form_attacks import FormCurve


@command(app, "forms")
def forms_command(
    *,
    sources: Sources,
    attack_radius: AttackRadiusOption,
    norm: AnyNormOption = "linf",
    points: Annotated[int, option("--points", "N", "Points per curve.", whole(2, 1000))] = 12,
    steps: StepsOption = 20,
    seed: SeedOption = 0,
    placement: Placement,
    out: StemOption = None,
    output: Output,
) -> None:
    """Compare eight forms of mixing (Figures 1 and 8).

    \b
    Attacked against clean accuracy of Eq. 4's four factors, on logits and on probabilities:
      certmix paper forms --accurate g.safetensors --robust h.safetensors --dataset digits \\
        --norm linf --attack-radius 0.15 --out figures/forms
    """
    from certmix.paper.form_attacks import compare_mixing_forms

    need("paper forms", accurate=sources.accurate, robust=sources.robust, dataset=sources.dataset)
    data = sources.load_dataset()
    g, h = (placement.place(sources.load_model(str(spec))) for spec in (sources.accurate, sources.robust))
    with progress_bar("mixing forms", quiet=output.quiet) as progress:
        curves = compare_mixing_forms(
            data, accurate=g, robust=h, norm=norm, attack_radius=attack_radius, num_gammas=points, steps=steps,
            seed=seed, batch_size=placement.batch_size, progress=progress,
        )  # fmt: skip
    low, high = sorted((curves[0].clean[-1], curves[0].clean[0]))
    curves.sort(key=lambda curve: -curve.score(low, high))
    files = _plot(curves, out, len(data)) if out is not None else []
    values = {"norm": norm, "attack_radius": attack_radius, "inputs": len(data), "files": files}
    note = (
        f"{len(data)} inputs, {norm} budget {attack_radius:g}. Columns: best attacked accuracy in % at clean accuracy of at "
        "least so much; score: its mean between the clean accuracies of both models."
    )
    forms = [_values(curve, low, high) for curve in curves]
    output.show({**values, "forms": forms}, _table(curves, low, high, output.table_format), [note])


def _values(curve: "FormCurve", low: float, high: float) -> dict[str, Any]:
    return {
        "form": curve.name,
        "score": curve.score(low, high),
        "gamma": [value if value < float("inf") else None for value in curve.gamma.tolist()],
        "clean": curve.clean.tolist(),
        "attacked": curve.attacked.tolist(),
    }


def _plot(curves: "list[FormCurve]", stem: Path, inputs: int) -> list[str]:
    from certmix.plots.trade_off import plot_trade_off

    panels = {
        f"on {on}": {
            c.factor: list(zip(c.clean.tolist(), c.attacked.tolist(), strict=True)) for c in curves if c.on == on
        }
        for on in ("probabilities", "logits")
    }
    return plot_trade_off(panels, stem, inputs=inputs)


def _table(curves: "list[FormCurve]", low: float, high: float, table_format: str) -> str:
    import numpy as np

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
