"""`certmix train`: clean or Gaussian-augmented training of a base classifier."""

import json
from pathlib import Path
from typing import Annotated

import typer

from certmix.cli import app
from certmix.cli.options import HoldoutOption, JsonOption, QuietOption, SplitOption, TrustOption


@app.command("train")
def train_command(
    dataset: Annotated[
        str, typer.Option("--dataset", metavar="SPEC", help="Data set: digits, cifar10:ROOT, ...; see inspect.")
    ],
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="Where the model goes (.safetensors).")],
    sigma: Annotated[
        float, typer.Option("--sigma", metavar="S", help="Noise standard deviation in training; 0 = clean.")
    ] = 0.0,
    attack_radius: Annotated[
        float, typer.Option("--attack-radius", metavar="E", help="Adversarial training (PGD) in this budget; 0 = none.")
    ] = 0.0,
    norm: Annotated[str, typer.Option("--norm", help="Of that budget: linf, l2 or l1.")] = "linf",
    attack_steps: Annotated[int, typer.Option("--attack-steps", help="PGD steps of adversarial training.")] = 7,
    split: SplitOption = "train",
    holdout: HoldoutOption = None,
    architecture: Annotated[
        str, typer.Option("--architecture", help="digits-cnn, mlp, resnet18, cifar_resnet20 or cifar_resnet110.")
    ] = "digits-cnn",
    epochs: Annotated[int, typer.Option("--epochs")] = 40,
    batch_size: Annotated[int, typer.Option("--batch-size", "--batch")] = 128,
    learning_rate: Annotated[float, typer.Option("--learning-rate")] = 3e-3,
    seed: Annotated[int, typer.Option("--seed", help="Of weights, order and noise.")] = 0,
    device: Annotated[str, typer.Option("--device")] = "cpu",
    trust_model: TrustOption = False,
    force: Annotated[bool, typer.Option("--force", help="Overwrite --out.")] = False,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Train a base classifier, clean or with Gaussian noise, and write it as safetensors.

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
    from certmix.training.train import accuracy, save_model, train

    if out.exists() and not force:
        raise InvalidArgument(f"{out} must not exist, but does; choose another --out or add --force.")
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
    result = {"out": str(out), "training_accuracy": accuracy(model, data), **settings}
    if as_json:
        print(json.dumps(result, indent=2))
    else:
        print(
            f"{out}: {architecture}, sigma {sigma:g}, {100 * accuracy(model, data):.1f} % of the clean {split} inputs right"
        )
