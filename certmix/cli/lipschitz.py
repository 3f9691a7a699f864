"""`certmix lipschitz`: local Lipschitz constants of a robust model, and Theorem 3.5 with them."""

import json
import sys
from typing import TYPE_CHECKING, Annotated, Any

import typer

from certmix.cli import app
from certmix.cli.options import (
    FormatOption,
    IndicesOption,
    JsonOption,
    MaxOption,
    MixingWeightOption,
    ModelOption,
    QuietOption,
    SkipOption,
    SplitOption,
    TrustOption,
    key_values,
)

if TYPE_CHECKING:
    from certmix.lipschitz import LipschitzEstimate
    from certmix.lipschitz_bounds import LipschitzBound


@app.command("lipschitz")
def lipschitz_command(
    robust: Annotated[str, typer.Option("--robust", metavar="SPEC", help="Robust model h: inputs -> logits.")],
    dataset: Annotated[str, typer.Option("--dataset", metavar="SPEC", help="Data set: digits, npz:FILE, ...")],
    attack_radius: Annotated[float, typer.Option("--attack-radius", metavar="E", help="Radius of the ball.")],
    norm: Annotated[str, typer.Option("--norm", help="l2, linf or l1.")] = "l2",
    mixing_weight: MixingWeightOption = None,
    steps: Annotated[int, typer.Option("--steps", help="PGD steps per ball and class.")] = 20,
    restarts: Annotated[int, typer.Option("--restarts", help="PGD restarts per ball and class.")] = 1,
    balls: Annotated[int, typer.Option("--balls", help="Nested balls that are searched.")] = 4,
    bound: Annotated[
        bool, typer.Option("--bound", help="Also sound bounds, by intervals (small ReLU networks only).")
    ] = False,
    lipschitz: Annotated[
        str | None,
        typer.Option("--lipschitz", metavar="L[,L...]", help="Known constants of the class probabilities in --norm."),
    ] = None,
    skip: SkipOption = 1,
    max_inputs: MaxOption = None,
    split: SplitOption = None,
    indices: IndicesOption = None,
    seed: Annotated[int, typer.Option("--seed", help="Of the random starts.")] = 0,
    model: ModelOption = None,
    trust_model: TrustOption = False,
    table_format: FormatOption = "markdown",
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Estimate local Lipschitz constants by PGD (Eq. 12, corrected), per class; estimates are not certificates.

    \b
    Estimates, sound bounds beside them, and Theorem 3.5 at two mixing weights:
      certmix lipschitz --robust h.safetensors --dataset digits --norm linf --attack-radius 0.01 --max 100 \\
        --bound --mixing-weight 0.8 --mixing-weight 1
    With constants that are known (a network that is Lipschitz by construction), Theorem 3.5 is a certificate:
      certmix lipschitz --robust py:net.py:build --trust-model --dataset digits --attack-radius 0.5 --lipschitz 0.36
    """
    import certmix
    from certmix.cli.report import check_numbers
    from certmix.datasets.batches import stack
    from certmix.errors import InvalidArgument
    from certmix.lipschitz import estimate_local_lipschitz, local_lipschitz_radius
    from certmix.lipschitz_bounds import bound_local_lipschitz

    weights = mixing_weight or [1.0]
    certmix.required_margin(weights)
    known = check_numbers("--lipschitz", lipschitz) if lipschitz else None
    part = {"split": split, "skip": skip, "max": max_inputs, "indices": indices, "trust_model": trust_model}
    data = certmix.load_dataset(dataset, **part)  # type: ignore[arg-type]
    h = certmix.load_model(robust, trust_model=trust_model, **key_values(model))
    if known is not None and len(known) not in (1, data.num_classes):
        raise InvalidArgument(
            f"--lipschitz must be one number or one per class ({data.num_classes}), got {len(known)}."
        )
    inputs, _ = stack(data)
    estimate = estimate_local_lipschitz(
        h, inputs, attack_radius=attack_radius, norm=norm, steps=steps, restarts=restarts, balls=balls, seed=seed
    )
    bounds = bound_local_lipschitz(h, inputs, attack_radius=attack_radius, norm=norm) if bound else None
    rows = _rows(estimate, bounds, weights)
    if known is not None:
        radius = local_lipschitz_radius(estimate.probabilities, estimate.prediction, known, weights)
        rows += _radius_rows("certified, given constants", weights, radius)
    if as_json:
        print(json.dumps({"norm": norm, "attack_radius": attack_radius, "inputs": len(data), "rows": rows}, indent=2))
        return
    print(_table(rows, table_format))
    if not quiet:
        print(
            f"{len(data)} inputs, {norm} balls of radius {attack_radius:g}. Rows marked estimate come from PGD, which can "
            "miss the worst point: they are not certificates.",
            file=sys.stderr,
        )


def _rows(estimate: "LipschitzEstimate", bounds: "LipschitzBound | None", weights: list[float]) -> list[dict[str, Any]]:
    rows = [_summary("Eq. 12 corrected, class average (estimate)", estimate.class_average)]
    rows += _constant_rows("estimate", estimate.constant, estimate.prediction)
    if bounds is not None:
        rows += _constant_rows("bound", bounds.constant, bounds.prediction)
    rows += _radius_rows("estimate", weights, estimate.estimated_radius(weights))
    if bounds is not None:
        rows += _radius_rows("certified, bounds", weights, bounds.certified_radius(weights))
    return rows


def _constant_rows(kind: str, constant: Any, prediction: Any) -> list[dict[str, Any]]:
    import numpy as np

    own = np.arange(constant.shape[1]) == prediction[:, None]
    return [
        _summary(f"L of the prediction ({kind})", constant[own]),
        _summary(f"largest L of a rival ({kind})", np.where(own, 0.0, constant).max(axis=1)),
    ]


def _radius_rows(kind: str, weights: list[float], radius: Any) -> list[dict[str, Any]]:
    return [
        _summary(f"Theorem 3.5 radius at weight {weight:g} ({kind})", values)
        for weight, values in zip(weights, radius, strict=True)
    ]


def _summary(name: str, values: Any) -> dict[str, Any]:
    import numpy as np

    low, middle, high = np.quantile(values, [0.0, 0.5, 1.0])
    return {"quantity": name, "mean": float(values.mean()), "min": low, "median": middle, "max": high}


def _table(rows: list[dict[str, Any]], table_format: str) -> str:
    """Radii round down; constants too, being summaries of what is larger anyway."""
    from certmix.tables import floor_text, render_table

    columns = ("mean", "min", "median", "max")
    cells = [[row["quantity"], *(floor_text(row[name], 4) for name in columns)] for row in rows]
    return render_table(["quantity", *columns], cells, table_format)
