"""`certmix paper confidence`: how sure both models are where they are right and wrong, clean and attacked (Table 1)."""

from typing import TYPE_CHECKING, Annotated, Any

from certmix.cli.attack.options import AnyNormOption
from certmix.cli.command import command, need, option
from certmix.cli.options import AttackRadiusOption, Placement, RestartsOption, SeedOption, Sources, StepsOption
from certmix.cli.output import Output
from certmix.cli.paper import app
from certmix.cli.values import choice
from certmix.tables import floor_text, percent_text, render_table

if TYPE_CHECKING:
    from certmix.paper.confidence import ConfidenceGap


@command(app, "confidence")
def confidence_command(
    *,
    sources: Sources,
    attack_radius: AttackRadiusOption,
    norm: AnyNormOption = "linf",
    attack: Annotated[
        list[str] | None, option("--attack", "NAME", "pgd or auto; repeatable.", choice("pgd", "auto"))
    ] = None,
    steps: StepsOption = 20,
    restarts: RestartsOption = 1,
    seed: SeedOption = 0,
    placement: Placement,
    output: Output,
) -> None:
    """Confidence gaps of right and wrong predictions (Table 1).

    \b
    Top-1 minus top-2 probability, on clean and on attacked inputs:
      certmix paper confidence --accurate g.safetensors --robust h.safetensors --dataset digits --attack-radius 0.1
    """
    from certmix.paper.confidence import confidence_gaps

    need("paper confidence", accurate=sources.accurate, robust=sources.robust, dataset=sources.dataset)
    data = sources.load_dataset()
    rows: list[dict[str, Any]] = []
    for name, spec in (("accurate", str(sources.accurate)), ("robust", str(sources.robust))):
        gaps = confidence_gaps(
            placement.place(sources.load_model(spec)), data, norm=norm, attack_radius=attack_radius,
            attacks=attack or ["pgd"], steps=steps, restarts=restarts, seed=seed, batch_size=placement.batch_size,
        )  # fmt: skip
        rows += [_row(name, gap) for gap in gaps]
    note = (
        f"{len(data)} inputs, {norm} budget {attack_radius:g}. Last column: Lemma 3.2 read backwards, the weight above which "
        "half of the right predictions have the margin it asks for; an estimate, gaps under attack being upper bounds of "
        "robust margins."
    )
    values = {"norm": norm, "attack_radius": attack_radius, "inputs": len(data), "rows": rows}
    output.show(values, _table(rows, output.table_format), [note])


def _row(model: str, gap: "ConfidenceGap") -> dict[str, Any]:
    import numpy as np

    row: dict[str, Any] = {"model": model, "inputs": gap.data, "accuracy": gap.accuracy}
    for kind, values in (("right", gap.right), ("wrong", gap.wrong)):
        row[f"{kind}_mean"] = float(values.mean()) if len(values) else None
        row[f"{kind}_median"] = float(np.median(values)) if len(values) else None
    return {**row, "weight_needed_by_half": gap.weight_needed()}


def _table(rows: list[dict[str, Any]], table_format: str) -> str:
    kinds = ("right_mean", "right_median", "wrong_mean", "wrong_median", "weight_needed_by_half")
    headers = ["model", "inputs", "accuracy", *(kind.replace("_", " ") for kind in kinds)]
    cells = [
        [row["model"], row["inputs"], percent_text(row["accuracy"])]
        + ["-" if row[kind] is None else floor_text(row[kind], 3) for kind in kinds]
        for row in rows
    ]
    return render_table(headers, cells, table_format)
