"""`certmix attack`: accuracy of the mixture under attack, against its weight."""

import json
import sys
from pathlib import Path
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
    from certmix.attacks import MixtureSweep

WEIGHTS = (0.0, 0.1, 0.2, 0.3, 0.4, 0.45, 0.5, 0.55, 0.6, 0.65, 0.7, 0.8, 0.9, 1.0)
AccurateOption = Annotated[str, typer.Option("--accurate", metavar="SPEC", help="Accurate model g: inputs -> logits.")]
RobustOption = Annotated[str, typer.Option("--robust", metavar="SPEC", help="Robust model h: inputs -> logits.")]
AttackDatasetOption = Annotated[str, typer.Option("--dataset", metavar="SPEC", help="Data set: digits, npz:FILE, ...")]
RadiusOption = Annotated[float, typer.Option("--attack-radius", metavar="E", help="Budget, in pixel units.")]
NormOption = Annotated[str, typer.Option("--norm", help="linf, l2 or l1.")]
StepsOption = Annotated[int, typer.Option("--steps", help="PGD steps.")]
RestartsOption = Annotated[int, typer.Option("--restarts", help="PGD restarts.")]
SeedOption = Annotated[int, typer.Option("--seed", help="Of random starts and noise.")]
OutOption = Annotated[Path | None, typer.Option("--out", metavar="STEM", help="Write figure (PNG, PDF) and CSV there.")]


@app.command("attack")
def attack_command(
    accurate: AccurateOption,
    robust: RobustOption,
    dataset: AttackDatasetOption,
    attack_radius: RadiusOption,
    norm: NormOption = "linf",
    mixing_weight: MixingWeightOption = None,
    attack: Annotated[
        list[str] | None, typer.Option("--attack", metavar="NAME", help="std, rob, mix or auto; repeat for several.")
    ] = None,
    steps: StepsOption = 20,
    restarts: RestartsOption = 1,
    loss: Annotated[
        list[str] | None,
        typer.Option("--loss", metavar="NAME", help="cross-entropy, margin or dlr; the first two by default."),
    ] = None,
    hard_accurate: Annotated[
        bool, typer.Option("--hard-accurate", help="Mix the accurate model's class, not its softmax.")
    ] = False,
    sigma: Annotated[
        float | None, typer.Option("--sigma", metavar="S", help="Smooth the robust model; attack it through the noise.")
    ] = None,
    draws: Annotated[int, typer.Option("--draws", help="Noise draws per gradient and decision, with --sigma.")] = 64,
    skip: SkipOption = 1,
    max_inputs: MaxOption = None,
    split: SplitOption = None,
    indices: IndicesOption = None,
    seed: SeedOption = 0,
    model: ModelOption = None,
    trust_model: TrustOption = False,
    out: OutOption = None,
    table_format: FormatOption = "markdown",
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Attack the mixture over its weights: PGD on the accurate model (std), the robust one (rob), the mixture (mix).

    \b
    Accuracy against weight, as in the paper's Figure 4:
      certmix attack --accurate g.safetensors --robust h.safetensors --dataset digits \\
        --norm linf --attack-radius 0.1 --out figures/attack
    One weight, AutoAttack as well (pip install 'certmix[attacks]'):
      certmix attack --accurate g.safetensors --robust h.safetensors --dataset digits \\
        --attack-radius 0.1 --mixing-weight 0.8 --attack mix --attack auto
    """
    import certmix
    from certmix.attacks import attack_mixture
    from certmix.attacks.smoothed import SmoothedClassifier
    from certmix.cli.progress import progress_bar
    from certmix.datasets.batches import stack

    weights = sorted(mixing_weight or WEIGHTS)
    certmix.required_margin(weights)
    part = {"split": split, "skip": skip, "max": max_inputs, "indices": indices, "trust_model": trust_model}
    data = certmix.load_dataset(dataset, **part)  # type: ignore[arg-type]
    options: dict[str, Any] = {"trust_model": trust_model, **key_values(model)}
    g, h = certmix.load_model(accurate, **options), certmix.load_model(robust, **options)
    inputs, labels = stack(data)
    with progress_bar("attacking", quiet=quiet) as progress:
        sweep = attack_mixture(
            g,
            h if sigma is None else SmoothedClassifier(h, sigma=sigma, draws=draws, seed=seed),
            inputs,
            labels,
            mixing_weight=weights,
            norm=norm,
            attack_radius=attack_radius,
            attacks=attack or ["std", "rob", "mix"],
            steps=steps,
            restarts=restarts,
            losses=loss or ("cross-entropy", "margin"),
            hard_accurate=hard_accurate,
            seed=seed,
            progress=progress,
        )
    files = plot_sweep(sweep, out) if out is not None else []
    if as_json:
        print(json.dumps({**sweep_values(sweep), "files": files}, indent=2))
        return
    print(sweep_table(sweep, table_format))
    if not quiet:
        print(
            f"Accuracy in % on {sweep.num_inputs} inputs, {norm} budget {attack_radius:g}, {steps} steps x {restarts}. "
            "Attacks only bound robustness from above: a stronger one may lower these numbers.",
            file=sys.stderr,
        )
        for line in (*(f"AutoAttack warns, {flag}" for flag in sweep.warnings), *(f"Written: {f}" for f in files)):
            print(line, file=sys.stderr)


def sweep_values(sweep: "MixtureSweep") -> dict[str, Any]:
    """A sweep as plain values: the object that --json prints."""
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
