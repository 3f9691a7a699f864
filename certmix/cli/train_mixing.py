"""`certmix train-mixing`: train, calibrate and write an adaptive mixture of two frozen models."""

import json
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from certmix.cli import app
from certmix.cli.options import (
    AttackRadiusOption,
    HoldoutOption,
    JsonOption,
    ModelOption,
    NormOption,
    QuietOption,
    ScaleOption,
    SplitOption,
    TrustOption,
    WeightRangeOption,
    key_values,
    numbers,
)

if TYPE_CHECKING:
    from certmix.adaptive.training import EpochReport


@app.command("train-mixing")
def train_mixing_command(
    accurate: Annotated[str, typer.Option("--accurate", metavar="SPEC", help="Accurate model g.")],
    robust: Annotated[str, typer.Option("--robust", metavar="SPEC", help="Robust model h.")],
    dataset: Annotated[str, typer.Option("--dataset", metavar="SPEC", help="Data set: digits, npz:FILE.")],
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="Where the mixture goes (.safetensors).")],
    attack_radius: AttackRadiusOption,
    norm: NormOption = "linf",
    attack: Annotated[
        str, typer.Option("--attack", help="A (gray-box PGD), B (white-box PGD) or C (white-box APGD).")
    ] = "B",
    split: SplitOption = "train",
    holdout: HoldoutOption = 0.25,
    target: Annotated[
        float | None,
        typer.Option("--target", metavar="ACC", help="Clean accuracy on the held-out inputs; midway by default."),
    ] = None,
    weight_range: WeightRangeOption = "0.5,1",
    scale: ScaleOption = None,
    loss_weights: Annotated[
        str, typer.Option("--loss-weights", metavar="CE,BCE,PROD", help="Weights of Eq. 8.")
    ] = "0,1.5,0.2",
    kind: Annotated[str, typer.Option("--kind", help="Mixing network: auto, resnet18 or small.")] = "auto",
    accurate_layers: Annotated[
        str | None, typer.Option("--accurate-layers", metavar="A,B", help="Two named layers of g.")
    ] = None,
    robust_layers: Annotated[
        str | None, typer.Option("--robust-layers", metavar="A,B", help="Two named layers of h.")
    ] = None,
    accurate_scale: Annotated[float, typer.Option("--accurate-scale", help="Of g's logits.")] = 1.0,
    robust_scale: Annotated[float, typer.Option("--robust-scale", help="Of h's logits.")] = 1.0,
    epochs: Annotated[int, typer.Option("--epochs")] = 60,
    batch_size: Annotated[int, typer.Option("--batch-size", "--batch")] = 128,
    learning_rate: Annotated[float, typer.Option("--learning-rate")] = 2e-3,
    seed: Annotated[int, typer.Option("--seed", help="Of weights, order and attacks.")] = 0,
    device: Annotated[str, typer.Option("--device")] = "cpu",
    model: ModelOption = None,
    trust_model: TrustOption = False,
    force: Annotated[bool, typer.Option("--force", help="Overwrite --out.")] = False,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Train the network that chooses the mixing weight per input, and calibrate it on held-out inputs.

    \b
    The base models stay as they are; they should not have seen the held-out inputs (certmix train --holdout 0.25):
      certmix train --dataset digits --holdout 0.25 --epochs 80 --out g.safetensors
      certmix train --dataset digits --holdout 0.25 --attack-radius 0.2 --norm linf --out h.safetensors
      certmix train-mixing --accurate g.safetensors --robust h.safetensors --dataset digits \\
        --attack-radius 0.2 --norm linf --out mixture.safetensors
    The same command again resumes an interrupted training.
    """
    import torch

    import certmix
    from certmix.adaptive.training import MixingTraining, train_mixing
    from certmix.cli.mixing_models import save_mixture, seen_held_out
    from certmix.datasets.holdout import hold_out
    from certmix.errors import InvalidArgument

    if out.exists() and not force:
        raise InvalidArgument(f"{out} must not exist, but does; choose another --out or add --force.")
    settings = MixingTraining(
        attack=attack,
        norm=norm,
        attack_radius=attack_radius,
        loss_weights=numbers(loss_weights, "--loss-weights", 3),  # type: ignore[arg-type]
        epochs=epochs,
        batch_size=batch_size,
        learning_rate=learning_rate,
        seed=seed,
    )
    settings.check()
    data = certmix.load_dataset(dataset, split=split, trust_model=trust_model)
    rest, held = hold_out(data, 0.25 if holdout is None else holdout)
    for spec in (accurate, robust):
        if not quiet and seen_held_out(spec, rest.fingerprint):
            print(
                f"{spec} was trained on other inputs than the {len(rest)} not held out: if it saw the held-out ones, "
                "the calibrated clean accuracy is optimistic (certmix train --holdout).",
                file=sys.stderr,
            )
    options: dict[str, Any] = {"trust_model": trust_model, **key_values(model)}
    bases = certmix.load_model(accurate, **options).to(device), certmix.load_model(robust, **options).to(device)
    low, high = numbers(weight_range or "0.5,1", "--weight-range", 2)
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        mixture = certmix.AdaptiveMixture(
            *bases,
            input_shape=data.input_shape,
            kind=kind,
            weight_range=(low, high),
            accurate_layers=accurate_layers.split(",") if accurate_layers else None,
            robust_layers=robust_layers.split(",") if robust_layers else None,
            accurate_scale=accurate_scale,
            robust_scale=robust_scale,
        ).to(device)
    started = time.monotonic()
    train_mixing(
        mixture,
        rest,
        settings,
        checkpoint=out.with_name(f"{out.name}.training"),
        progress=None if quiet else _say,
    )
    seconds = time.monotonic() - started
    budget = _budget(norm, attack_radius)
    calibration = calibrate(mixture, held, target=target, scales=scale, budget=budget)
    trained = {**vars(settings), "dataset": rest.spec, "fingerprint": rest.fingerprint, "seconds": round(seconds, 1)}
    save_mixture(mixture, out, accurate=accurate, robust=robust, training={**trained, **calibration}, force=force)
    out.with_name(f"{out.name}.training").unlink(missing_ok=True)
    result = {"out": str(out), "seconds": round(seconds, 1), "epochs": epochs, **calibration}
    if as_json:
        print(json.dumps(result, indent=2))
    else:
        print(
            f"{out}: trained in {seconds:.0f} s; a(x) in [{mixture.floor:g}, {mixture.ceiling:g}], "
            f"{100 * calibration['clean_accuracy']:.1f} % of the {len(held)} held-out inputs right "
            f"(scale {calibration['scale']:g}, shift {calibration['shift']:.3f})"
        )


def calibrate(
    mixture: Any,
    held: Any,
    *,
    target: float | None,
    scales: list[float] | None,
    budget: Any,
    sigma: float | None = None,
) -> dict[str, Any]:
    """Calibrate a mixture on held-out inputs; returns what was chosen. Midway between g and h without a target."""
    from certmix.adaptive.evaluation import calibrate_mixture
    from certmix.training.train import accuracy

    if target is None:
        device = mixture.calibration.device
        mixture.cpu()
        target = (accuracy(mixture.accurate, held) + accuracy(mixture.robust, held)) / 2
        mixture.to(device)
    found = calibrate_mixture(mixture, held, target=target, scales=scales or [2.0], budget=budget, sigma=sigma)
    scale, shift = mixture.calibration.tolist()
    return {
        "target": target,
        "clean_accuracy": found.clean_accuracy,
        "scale": scale,
        "shift": shift,
        "floor": mixture.floor,
        "ceiling": mixture.ceiling,
        "held_out": len(held),
        "sigma": sigma,
    }


def _budget(norm: str, attack_radius: float) -> Any:
    from certmix.adaptive.attacks import AttackBudget

    return AttackBudget(norm, attack_radius)


def _say(report: "EpochReport") -> None:
    print(
        f"epoch {report.epoch}/{report.epochs}: loss {report.loss:.4f}, clean {100 * report.clean_accuracy:.1f} %, "
        f"attacked {100 * report.attacked_accuracy:.1f} %, mean a(x) {report.clean_weight:.3f} clean, "
        f"{report.attacked_weight:.3f} attacked",
        file=sys.stderr,
    )
