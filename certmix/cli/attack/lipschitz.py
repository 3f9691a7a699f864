"""`certmix attack lipschitz`: local Lipschitz constants of a robust model, and Theorem 3.5 with them."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

from certmix.cli.attack import app
from certmix.cli.attack.options import AnyNormOption, listed
from certmix.cli.command import command, need, option
from certmix.cli.options import (
    AttackRadiusOption,
    MixingWeightOption,
    Placement,
    RestartsOption,
    SeedOption,
    Sources,
    StepsOption,
)
from certmix.cli.output import Output
from certmix.cli.values import COUNT, Numbers

if TYPE_CHECKING:
    from certmix.lipschitz import LipschitzEstimate
    from certmix.lipschitz_bounds import LipschitzBound


@command(app, "lipschitz")
def lipschitz_command(
    *,
    sources: Sources,
    attack_radius: AttackRadiusOption,
    norm: AnyNormOption = "l2",
    mixing_weight: MixingWeightOption = None,
    steps: StepsOption = 20,
    restarts: RestartsOption = 1,
    balls: Annotated[int, option("--balls", "N", "Nested balls that are searched.", COUNT)] = 4,
    bound: Annotated[bool, option("--bound", None, "Also sound bounds, by intervals (small ReLU networks).")] = False,
    lipschitz: Annotated[
        Numbers | None,
        option("--lipschitz", "L[,L...]", "Known constants of the class probabilities, one or per class.", listed),
    ] = None,
    seed: SeedOption = 0,
    placement: Placement,
    output: Output,
) -> None:
    """Lipschitz constants by PGD: estimates, not certificates.

    \b
    Eq. 12 (corrected) per class, sound bounds beside it, and Theorem 3.5 at two mixing weights:
      certmix attack lipschitz --robust h.safetensors --dataset digits --norm linf --attack-radius 0.01 \\
        --max 100 --bound --mixing-weight 0.8 --mixing-weight 1
    With constants that are known (a network that is Lipschitz by construction), Theorem 3.5 is a certificate:
      certmix attack lipschitz --robust py:net.py:build --trust-model --dataset digits --attack-radius 0.5 \\
        --lipschitz 0.36
    """
    from certmix.datasets.batches import batches
    from certmix.errors import InvalidArgument
    from certmix.lipschitz import LipschitzEstimate, estimate_local_lipschitz, local_lipschitz_radius
    from certmix.lipschitz_bounds import LipschitzBound, bound_local_lipschitz
    from certmix.models.memory import inputs_at_once
    from certmix.models.placement import device_of

    need("attack lipschitz", robust=sources.robust, dataset=sources.dataset)
    weights, data = mixing_weight or [1.0], sources.load_dataset()
    if lipschitz is not None and len(lipschitz.values) not in (1, data.num_classes):
        raise InvalidArgument(
            f"--lipschitz must be one number or one per class ({data.num_classes}), got {len(lipschitz.values)}."
        )
    h = placement.place(sources.load_model(str(sources.robust)))
    estimates, bounds, device = [], [], device_of(h)
    size = inputs_at_once(data.input_shape, h, wanted=placement.batch_size)
    for number, (inputs, _) in enumerate(batches(data, size)):
        estimates.append(
            estimate_local_lipschitz(
                h, inputs.to(device), attack_radius=attack_radius, norm=norm, steps=steps, restarts=restarts,
                balls=balls, seed=seed + 1_000_003 * number,
            )
        )  # fmt: skip
        if bound:
            bounds.append(bound_local_lipschitz(h, inputs, attack_radius=attack_radius, norm=norm))
    estimate = LipschitzEstimate.joined(estimates)
    rows = _rows(estimate, LipschitzBound.joined(bounds) if bounds else None, weights)
    if lipschitz is not None:
        radius = local_lipschitz_radius(estimate.probabilities, estimate.prediction, lipschitz.values, weights)
        rows += _radius_rows("certified, given constants", weights, radius)
    note = (
        f"{len(data)} inputs, {norm} balls of radius {attack_radius:g}. Rows marked estimate come from PGD, which can miss "
        "the worst point: they are not certificates."
    )
    values = {"norm": norm, "attack_radius": attack_radius, "inputs": len(data), "rows": rows}
    output.show(values, _table(rows, output.table_format), [note])


def _rows(
    estimate: "LipschitzEstimate", bounds: "LipschitzBound | None", weights: Sequence[float]
) -> list[dict[str, Any]]:
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


def _radius_rows(kind: str, weights: Sequence[float], radius: Any) -> list[dict[str, Any]]:
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
