"""`certmix attack lipschitz`: local Lipschitz constants of a robust model, and Theorem 3.5 with them."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

from certmix.cli.attack import app
from certmix.cli.attack.options import AnyNormOption, GradientDrawsOption, listed
from certmix.cli.command import command, need, option
from certmix.cli.options import (
    AttackRadiusOption,
    MixingWeightOption,
    Placement,
    RestartsOption,
    RuleOptions,
    SeedOption,
    SigmaOption,
    Sources,
    StepsOption,
    ThresholdOption,
)
from certmix.cli.output import Output
from certmix.cli.values import COUNT, Numbers

if TYPE_CHECKING:
    from certmix.lipschitz import LipschitzEstimate
    from certmix.lipschitz_bounds import LipschitzBound
    from certmix.rules import Rule


@command(app, "lipschitz")
def lipschitz_command(
    *,
    sources: Sources,
    attack_radius: AttackRadiusOption,
    norm: AnyNormOption = "l2",
    mixing_weight: MixingWeightOption = None,
    threshold: ThresholdOption = None,
    sigma: SigmaOption = None,
    gradient_draws: GradientDrawsOption = 64,
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
    Smoothed, with the same estimates of the smoothed h, by both rules (estimates throughout):
      certmix attack lipschitz --robust h.safetensors --dataset digits --attack-radius 0.25 --sigma 0.5 \\
        --mixing-weight 0.8 --threshold 0.5
    """
    from certmix.attacks.smoothed import SmoothedClassifier
    from certmix.datasets.batches import batches
    from certmix.lipschitz import LipschitzEstimate, estimate_local_lipschitz
    from certmix.lipschitz_bounds import LipschitzBound, bound_local_lipschitz
    from certmix.models.memory import inputs_at_once
    from certmix.models.placement import device_of

    need("attack lipschitz", robust=sources.robust, dataset=sources.dataset)
    rules, data = RuleOptions(mixing_weight, threshold).rules(), sources.load_dataset()
    _check(lipschitz, data.num_classes, sigma, norm, bound)
    h = placement.place(sources.load_model(str(sources.robust)))
    device = device_of(h)
    if sigma is not None:
        h = SmoothedClassifier(h, sigma=sigma, draws=gradient_draws, seed=seed, common=True)
    estimates, bounds = [], []
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
    rows = _rows(estimate, LipschitzBound.joined(bounds) if bounds else None, rules)
    if sigma is not None:
        rows += _smoothed_rows(estimate, sigma, None if lipschitz is None else lipschitz.values[0], rules)
    elif lipschitz is not None:
        rows += _radius_rows("certified, given constants", rules, estimate, lipschitz.values)
    note = (
        f"{len(data)} inputs, {norm} balls of radius {attack_radius:g}. Rows marked estimate come from PGD, which can miss "
        "the worst point: they are not certificates."
    )
    if sigma is not None:
        note += (
            f" h is smoothed at sigma {sigma:g} with {gradient_draws} draws, the same for every input: its probabilities are "
            "estimates too, so that no row is a certificate, whatever its constant; certmix certify makes those."
        )
    values = {"norm": norm, "attack_radius": attack_radius, "inputs": len(data), "sigma": sigma, "rows": rows}
    output.show(values, _table(rows, output.table_format), [note])


def _check(lipschitz: Numbers | None, classes: int, sigma: float | None, norm: str, bound: bool) -> None:
    from certmix.errors import InvalidArgument

    if lipschitz is not None and len(lipschitz.values) not in (1, classes):
        raise InvalidArgument(
            f"--lipschitz must be one number or one per class ({classes}), got {len(lipschitz.values)}."
        )
    if sigma is None:
        return
    if bound:
        raise InvalidArgument("--bound is for the network itself, not for a smoothed one; leave --sigma out.")
    if norm != "l2":
        raise InvalidArgument(f"--norm must be l2 with --sigma, whose constants are in l2, got {norm!r}.")
    if lipschitz is not None and (len(lipschitz.values) != 1 or lipschitz.values[0] == 0):
        raise InvalidArgument("--lipschitz must be one number > 0 with --sigma: L of every class probability in l2.")


def _rows(
    estimate: "LipschitzEstimate", bounds: "LipschitzBound | None", rules: "Sequence[Rule]"
) -> list[dict[str, Any]]:
    rows = [_summary("Eq. 12 corrected, class average (estimate)", estimate.class_average)]
    rows += _constant_rows("estimate", estimate.constant, estimate.prediction)
    if bounds is not None:
        rows += _constant_rows("bound", bounds.constant, bounds.prediction)
    rows += _radius_rows("estimate", rules, estimate, estimate.constant, estimate.attack_radius)
    if bounds is not None:
        rows += _radius_rows("certified, bounds", rules, bounds, bounds.constant, bounds.attack_radius)
    return rows


def _radius_rows(
    kind: str,
    rules: "Sequence[Rule]",
    about: "LipschitzEstimate | LipschitzBound",
    constant: Any,
    at_most: float = float("inf"),
) -> list[dict[str, Any]]:
    """Theorem 3.5 by every rule, with constants of the class probabilities that hold as far as `at_most`."""
    import numpy as np

    from certmix.lipschitz import local_lipschitz_radius, local_threshold_radius

    rows = []
    for rule in rules:
        formula = local_lipschitz_radius if rule.kind == "linear" else local_threshold_radius
        radius = formula(about.probabilities, about.prediction, constant, rule.parameter)
        rows.append(_summary(f"Theorem 3.5 radius at {rule.label} ({kind})", np.minimum(radius, at_most)))
    return rows


def _smoothed_rows(
    estimate: "LipschitzEstimate", sigma: float, lipschitz: float | None, rules: "Sequence[Rule]"
) -> list[dict[str, Any]]:
    """What sound constants would give, were the estimated probabilities the true ones: estimates."""
    import numpy as np

    from certmix.certifiers import CERTIFIERS
    from certmix.intervals import ProbabilityBounds

    h, y = estimate.probabilities, estimate.prediction
    rival = np.where(np.arange(h.shape[1]) == y[:, None], 0.0, h).max(axis=1)
    tiny = np.finfo(np.float64).tiny
    bounds = ProbabilityBounds(
        y, np.clip(h[np.arange(len(h)), y], 0.0, 1 - 1e-12), np.clip(rival, tiny, 1.0), sigma
    )  # not bounds, but what the draws show
    methods = [CERTIFIERS["theorem-3.5"], CERTIFIERS["exact"]]
    if lipschitz is not None:
        methods.append(CERTIFIERS["lipschitz-smoothed"].supposing(lipschitz))
    return [
        _summary(
            f"{method.label} radius at {rule.label} (estimate: sound constant, estimated probabilities)",
            rule.radius(method, bounds),
        )
        for method in methods
        for rule in rules
    ]


def _constant_rows(kind: str, constant: Any, prediction: Any) -> list[dict[str, Any]]:
    import numpy as np

    own = np.arange(constant.shape[1]) == prediction[:, None]
    return [
        _summary(f"L of the prediction ({kind})", constant[own]),
        _summary(f"largest L of a rival ({kind})", np.where(own, 0.0, constant).max(axis=1)),
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
