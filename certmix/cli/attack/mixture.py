"""`certmix attack mixture`: accuracy of the mixture under attack, against its weight."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

from certmix.cli.attack import app
from certmix.cli.attack.options import AnyNormOption, GradientDrawsOption
from certmix.cli.command import command, need, option
from certmix.cli.options import (
    AccurateVoteOption,
    AttackRadiusOption,
    MixingWeightOption,
    Placement,
    RestartsOption,
    SeedOption,
    SigmaOption,
    Sources,
    StemOption,
    StepsOption,
)
from certmix.cli.output import Output
from certmix.cli.values import choice

if TYPE_CHECKING:
    from certmix.attacks import MixtureSweep

LOSSES = ("cross-entropy", "margin", "dlr")
WEIGHTS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7, 0.8, 0.9, 1.0)


@command(app, "mixture")
def mixture_command(
    *,
    sources: Sources,
    attack_radius: AttackRadiusOption,
    norm: AnyNormOption = "linf",
    mixing_weight: MixingWeightOption = None,
    accurate_vote: AccurateVoteOption = "class",
    attack: Annotated[
        list[str] | None,
        option("--attack", "NAME", "std, rob, mix or auto; repeatable.", choice("std", "rob", "mix", "auto")),
    ] = None,
    steps: StepsOption = 20,
    restarts: RestartsOption = 1,
    loss: Annotated[
        list[str] | None,
        option(
            "--loss",
            "NAME",
            "cross-entropy, margin or dlr; the first two by default.",
            choice("cross-entropy", "margin", "dlr"),
        ),
    ] = None,
    sigma: SigmaOption = None,
    gradient_draws: GradientDrawsOption = 64,
    seed: SeedOption = 0,
    placement: Placement,
    out: StemOption = None,
    output: Output,
) -> None:
    """Attack the mixture over its weights (Figure 4).

    \b
    PGD on the accurate model (std), the robust one (rob), the mixture (mix); --sigma smooths the robust one:
      certmix attack mixture --accurate g.safetensors --robust h.safetensors --dataset digits \\
        --norm linf --attack-radius 0.1 --out figures/attack
    One weight, AutoAttack as well (pip install 'certmix[attacks]'):
      certmix attack mixture --accurate g.safetensors --robust h.safetensors --dataset digits \\
        --attack-radius 0.1 --mixing-weight 0.8 --attack mix --attack auto
    """
    from certmix.attacks import attack_mixture
    from certmix.attacks.smoothed import SmoothedClassifier
    from certmix.cli.progress import progress_bar

    need("attack mixture", accurate=sources.accurate, robust=sources.robust, dataset=sources.dataset)
    g, h = (placement.place(sources.load_model(str(spec))) for spec in (sources.accurate, sources.robust))
    if sigma is not None:
        h = SmoothedClassifier(h, sigma=sigma, draws=gradient_draws, seed=seed)
    with progress_bar("attacking", quiet=output.quiet) as progress:
        sweep = attack_mixture(
            sources.load_dataset(), accurate=g, robust=h, mixing_weight=sorted(mixing_weight or WEIGHTS), norm=norm,
            attack_radius=attack_radius, attacks=attack or ["std", "rob", "mix"], steps=steps, restarts=restarts,
            losses=loss or ("cross-entropy", "margin"), accurate_vote=accurate_vote, seed=seed,
            batch_size=placement.batch_size, progress=progress,
        )  # fmt: skip
    files = plot_sweep(sweep, out) if out is not None else []
    notes = [
        f"Accuracy in % on {sweep.num_inputs} inputs, {norm} budget {attack_radius:g}, {steps} steps x {restarts}. "
        "Attacks only bound robustness from above: a stronger one may lower these numbers.",
        *(f"AutoAttack warns, {flag}" for flag in sweep.warnings),
        *(f"Written: {file}" for file in files),
    ]
    output.show({**sweep_values(sweep), "files": files}, sweep_table(sweep, output.table_format), notes)


def sweep_values(sweep: "MixtureSweep") -> dict[str, Any]:
    """A sweep as plain values."""
    return {
        "norm": sweep.norm,
        "attack_radius": sweep.attack_radius,
        "inputs": sweep.num_inputs,
        "mixing_weight": sweep.mixing_weight.tolist(),
        "accuracy": {name: sweep.accuracy(name).tolist() for name in (*sweep.right, "worst")},
        "warnings": list(sweep.warnings),
    }


def sweep_table(sweep: "MixtureSweep", table_format: str) -> str:
    """Accuracy in percent, a row per weight, a column per attack, and all attacks together."""
    from certmix.tables import percent_text, render_table

    names = [*sweep.right, "worst"]
    rows = [
        [f"{weight:g}", *(percent_text(sweep.accuracy(name)[k]) for name in names)]
        for k, weight in enumerate(sweep.mixing_weight)
    ]
    return render_table(["mixing weight", *names], rows, table_format)


def plot_sweep(sweep: "MixtureSweep", stem: Path) -> list[str]:
    """The figure of a sweep; returns its paths."""
    from certmix.attacks.mixture import ATTACKS
    from certmix.plots.attacks import plot_attacks

    accuracies = {ATTACKS[name]: sweep.accuracy(name) for name in sweep.right}
    title = f"{sweep.norm} budget {sweep.attack_radius:g}, {sweep.num_inputs} inputs"
    return plot_attacks(sweep.mixing_weight, accuracies, stem, inputs=sweep.num_inputs, title=title)
