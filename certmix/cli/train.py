"""`certmix train`: clean or Gaussian-augmented training of a base classifier."""

from pathlib import Path
from typing import Annotated

import typer

from certmix.cli import values
from certmix.cli.command import command
from certmix.cli.options import (
    DeviceOption,
    ForceOption,
    HoldoutOption,
    JsonOption,
    QuietOption,
    SeedOption,
    SplitOption,
    TrustOption,
)
from certmix.cli.output import Output
from certmix.cli.root import app

ARCHITECTURES = ("digits-cnn", "mlp", "resnet18", "cifar_resnet20", "cifar_resnet110")


@command(app, "train")
def train_command(
    *,
    dataset: Annotated[
        str, typer.Option("--dataset", metavar="SPEC", help="Data set: digits, cifar10:ROOT, ...; see inspect.")
    ],
    out: Annotated[
        Path, typer.Option("--out", metavar="FILE", help="The model (.safetensors).", parser=values.output_path)
    ],
    sigma: Annotated[
        float,
        typer.Option("--sigma", metavar="S", help="Noise in training; 0 = clean.", parser=values.TRAINING_SIGMA),
    ] = 0.0,
    attack_radius: Annotated[
        float,
        typer.Option(
            "--attack-radius",
            metavar="R",
            help="Adversarial training (PGD) in this budget; 0 = none.",
            parser=values.RADIUS,
        ),
    ] = 0.0,
    norm: Annotated[
        str,
        typer.Option(
            "--norm", metavar="NAME", help="Of that budget: linf, l2 or l1.", parser=values.choice("linf", "l2", "l1")
        ),
    ] = "linf",
    attack_steps: Annotated[
        int,
        typer.Option("--attack-steps", metavar="N", help="PGD steps of adversarial training.", parser=values.COUNT),
    ] = 7,
    split: SplitOption = "train",
    holdout: HoldoutOption = None,
    architecture: Annotated[
        str,
        typer.Option(
            "--architecture",
            metavar="NAME",
            help=f"{', '.join(ARCHITECTURES)}.",
            parser=values.choice(*ARCHITECTURES),
        ),
    ] = "digits-cnn",
    epochs: Annotated[int, typer.Option("--epochs", metavar="N", parser=values.COUNT)] = 40,
    batch_size: Annotated[int, typer.Option("--batch-size", "--batch", metavar="N", parser=values.COUNT)] = 128,
    learning_rate: Annotated[float, typer.Option("--learning-rate", metavar="R", parser=values.POSITIVE)] = 3e-3,
    seed: SeedOption = 0,
    device: DeviceOption = "cpu",
    trust_model: TrustOption = False,
    force: ForceOption = False,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Train a base classifier: clean, with noise, or against attacks.

    \b
    An accurate model and a robust one:
      certmix train --dataset digits --out g.safetensors
      certmix train --dataset digits --sigma 0.5 --out h.safetensors
    One that is robust to attacks, without smoothing:
      certmix train --dataset digits --attack-radius 0.2 --norm linf --out adversarial.safetensors
    """
    import certmix
    from certmix.attacks import adversarial_examples
    from certmix.cli.progress import progress_bar
    from certmix.datasets.holdout import hold_out
    from certmix.errors import InvalidArgument
    from certmix.files import check_target
    from certmix.training.train import accuracy, save_model, train

    check_target(out, force=force)
    if attack_radius and sigma:
        raise InvalidArgument(f"--attack-radius needs --sigma 0, got {sigma:g}; train with one or the other.")
    perturb = None
    attacked: dict[str, float | str] = {}
    if attack_radius:
        perturb = adversarial_examples(norm=norm, attack_radius=attack_radius, steps=attack_steps)
        attacked = {"attack_radius": attack_radius, "norm": norm, "attack_steps": attack_steps}
    data = certmix.load_dataset(dataset, split=split, trust_model=trust_model)
    if holdout is not None:
        data, _ = hold_out(data, holdout)
    how = {"epochs": epochs, "batch_size": batch_size, "learning_rate": learning_rate, "sigma": sigma, "seed": seed}
    with progress_bar("training", quiet=quiet) as progress:
        model = train(data, architecture=architecture, device=device, perturb=perturb, progress=progress, **how)  # type: ignore[arg-type]
    settings = {
        **how,
        **attacked,
        "dataset": data.spec,
        "fingerprint": data.fingerprint,
        "num_classes": data.num_classes,
        "subset": data.subset,
    }
    save_model(model, out, architecture=architecture, settings=settings, force=force)
    right = accuracy(model, data)
    text = f"{out}: {architecture}, sigma {sigma:g}, {100 * right:.1f} % of the clean {split} inputs right"
    Output(as_json=as_json, quiet=quiet).show({"out": str(out), "training_accuracy": right, **settings}, text)
