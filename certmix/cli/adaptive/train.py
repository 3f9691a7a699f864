"""`certmix adaptive train`: train, calibrate and write an adaptive mixture of two frozen models."""

import functools
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from certmix.cli import options
from certmix.cli.adaptive import app
from certmix.cli.adaptive.options import (
    DEFAULT_RANGE,
    STEPS_RANGE,
    GateRangeOption,
    LossWeights,
    Range,
    Share,
    TargetOption,
)
from certmix.cli.adaptive.options import loss_weights as parse_loss_weights
from certmix.cli.command import command, need, option
from certmix.cli.exits import checkpoint_kept, if_stopped
from certmix.cli.output import Answer
from certmix.cli.progress import Watch, progress_bar
from certmix.cli.values import COUNT, POSITIVE, SHARE_OF_PAST, choice, output_path

if TYPE_CHECKING:
    from certmix.adaptive.training import EpochReport

PAPER_LOSS_WEIGHTS = (0.0, 1.5, 0.2)
LayersOption = str | None


@command(app, "train")
def train_command(
    *,
    sources: options.Sources,
    attack_radius: options.AttackRadiusOption,
    norm: options.NormOption = "linf",
    setting: Annotated[
        str, option("--setting", "A|B|C", "Gray-box PGD, white-box PGD or white-box APGD.", choice("A", "B", "C"))
    ] = "B",
    held_out: Share,
    target: TargetOption = None,
    gate_range: GateRangeOption = None,
    scale: options.ScaleOption = None,
    loss_weights: Annotated[
        LossWeights | None, option("--loss-weights", "CE,BCE,PROD", "Of Eq. 8; 0,1.5,0.2.", parse_loss_weights)
    ] = None,
    kind: Annotated[
        str, option("--kind", "NAME", "Mixing network: auto, resnet18, small.", choice("auto", "resnet18", "small"))
    ] = "auto",
    width: Annotated[int | None, option("--width", "N", "Of it; 64 for resnet18, 32 for small.", COUNT)] = None,
    accurate_layers: Annotated[LayersOption, option("--accurate-layers", "A,B", "Two named layers of g.")] = None,
    robust_layers: Annotated[LayersOption, option("--robust-layers", "A,B", "Two named layers of h.")] = None,
    accurate_scale: Annotated[float, option("--accurate-scale", "S", "Of g's logits.", POSITIVE)] = 1.0,
    robust_scale: Annotated[float, option("--robust-scale", "S", "Of h's logits.", POSITIVE)] = 1.0,
    epochs: Annotated[int, option("--epochs", "N", "Of training.", COUNT)] = 60,
    attack_steps: Annotated[
        Range[int] | None, option("--attack-steps", "MIN,MAX", "Of the attacks in training; 5,15.", STEPS_RANGE)
    ] = None,
    batch_size: Annotated[int, option("--batch-size --batch", "N", "Clean inputs per step.", COUNT)] = 128,
    learning_rate: Annotated[float, option("--learning-rate", "R", "Of AdamW.", POSITIVE)] = 2e-3,
    averaging: Annotated[
        float, option("--averaging", "D", "Of weights over epochs; 0 keeps the last.", SHARE_OF_PAST)
    ] = 0.8,
    seed: options.SeedOption = 0,
    device: options.DeviceOption = "auto",
    out: Annotated[Path, option("--out", "FILE", "The mixture (.safetensors).", output_path)],
    force: options.ForceOption = False,
    output: Answer,
) -> None:
    """Train the gate on clean and attacked inputs; calibrate it.

    \b
    The base models stay as they are; they should not have seen the held-out inputs (certmix train --holdout 0.25):
      certmix train --dataset digits --holdout 0.25 --epochs 80 --out g.safetensors
      certmix train --dataset digits --holdout 0.25 --attack-radius 0.2 --norm linf --out h.safetensors
      certmix adaptive train --accurate g.safetensors --robust h.safetensors --dataset digits \\
        --attack-radius 0.2 --norm linf --out mixture.safetensors
    The same command again resumes an interrupted training. --skip and --max choose among the inputs not held out.
    """
    from dataclasses import asdict, replace

    from certmix.adaptive.files import trained_on_others
    from certmix.adaptive.making import checkpoint_of, make_mixture
    from certmix.adaptive.training import GateTraining
    from certmix.datasets import part_of
    from certmix.files import check_target
    from certmix.sampling.devices import choose_device

    need("adaptive train", accurate=sources.accurate, robust=sources.robust, dataset=sources.dataset)
    check_target(out, force=force)
    limits = gate_range or DEFAULT_RANGE
    if limits.low <= 0.5:
        output.say(
            f"A gate that may fall to {limits.low:g} certifies nothing: certificates need --gate-range MIN > 0.5."
        )
    settings = GateTraining(
        attack=setting, norm=norm, attack_radius=attack_radius, epochs=epochs, batch_size=batch_size,
        learning_rate=learning_rate, seed=seed, averaging=averaging,
        loss_weights=loss_weights.values if loss_weights else PAPER_LOSS_WEIGHTS,
    )  # fmt: skip
    if attack_steps is not None:
        settings = replace(settings, steps=(attack_steps.low, attack_steps.high))
    whole = replace(sources, split=sources.split or "train", skip=1, max_inputs=None, indices=None).load_dataset()
    rest, held = held_out.split(whole)
    chosen = part_of(rest, skip=sources.skip, max=sources.max_inputs, indices=sources.indices)
    seen = (rest if held_out.validation is None else whole).fingerprint
    for spec in (str(sources.accurate), str(sources.robust)):
        if trained_on_others(spec, seen, held_out.validation):
            output.say(
                f"{spec} was trained on other inputs than the {len(rest)} not held out: if it saw the held-out ones, the "
                "calibrated clean accuracy is optimistic (certmix train --holdout)."
            )
    with (
        if_stopped(lambda: checkpoint_kept(checkpoint_of(out))),
        progress_bar("training", quiet=output.quiet) as watch,
    ):
        made = make_mixture(
            training=chosen, held_out=held, accurate=sources.load_model(str(sources.accurate)),
            robust=sources.load_model(str(sources.robust)), settings=settings, gate_range=(limits.low, limits.high),
            kind=kind, width=width, accurate_layers=accurate_layers.split(",") if accurate_layers else None,
            robust_layers=robust_layers.split(",") if robust_layers else None, accurate_scale=accurate_scale,
            robust_scale=robust_scale, target=target, scales=scale or [2.0], device=choose_device(device), out=out,
            force=force, progress=functools.partial(_show, watch),
        )  # fmt: skip
    found = made.calibration
    text = (
        f"{out}: trained in {made.seconds:.0f} s; a(x) in [{found.floor:g}, {found.ceiling:g}], "
        f"{100 * found.clean_accuracy:.1f} % of the {found.held_out} held-out inputs right (scale {found.scale:g}, "
        f"shift {found.shift:.3f})"
    )
    values = {"out": str(out), "seconds": round(made.seconds, 1), "epochs": epochs, **asdict(found)}
    output.show(values, text)


def _show(watch: Watch, report: "EpochReport") -> None:
    """A bar, or in a log a line now and then."""
    watch(report.epoch, report.epochs, f"epoch {report.epoch}/{report.epochs}, loss {report.loss:.3f}")
    watch.mention(
        f"epoch {report.epoch}/{report.epochs}: loss {report.loss:.4f}, clean {100 * report.clean_accuracy:.1f} %, "
        f"attacked {100 * report.attacked_accuracy:.1f} %, mean a(x) {report.clean_gate:.3f} clean, "
        f"{report.attacked_gate:.3f} attacked"
    )
