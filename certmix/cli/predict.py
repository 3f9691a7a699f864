"""`certmix predict`: the deployable mixture on a data set: its class or an abstention, with a stated error probability."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from certmix.cli import app
from certmix.cli.options import (
    DatasetOption,
    DeviceOption,
    IndicesOption,
    JsonOption,
    MaxOption,
    ModelOption,
    QuietOption,
    SkipOption,
    SplitOption,
    TrustOption,
    key_values,
)


@app.command("predict")
def predict_command(
    robust: Annotated[str, typer.Option("--robust", metavar="SPEC", help="Model to smooth.")],
    dataset: DatasetOption = None,
    sigma: Annotated[
        float, typer.Option("--sigma", help="Standard deviation of the noise, in [0, 1] pixel units.")
    ] = 0.5,
    accurate: Annotated[str | None, typer.Option("--accurate", metavar="SPEC", help="Standard model.")] = None,
    mixing_weight: Annotated[float, typer.Option("--mixing-weight", metavar="A", help="Of the robust model.")] = 1.0,
    hard_accurate: Annotated[
        bool, typer.Option("--hard-accurate", help="Mix the accurate model's class, not its softmax.")
    ] = False,
    failure_probability: Annotated[
        float,
        typer.Option("--failure-probability", help="Chance, per input, of a class other than the exact mixture's."),
    ] = 1e-3,
    num_selection: Annotated[int, typer.Option("--num-selection", "--N0", help="Draws that suggest the class.")] = 100,
    num_estimation: Annotated[int, typer.Option("--num-estimation", "--N", help="Most draws that decide it.")] = 10_000,
    batch_size: Annotated[int, typer.Option("--batch-size", "--batch", help="Draws per forward pass.")] = 200,
    skip: SkipOption = 1,
    max_inputs: MaxOption = None,
    split: SplitOption = None,
    indices: IndicesOption = None,
    seed: Annotated[int | None, typer.Option("--seed", help="Fresh noise by default.")] = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE.tsv", help="Write index, class, radius, draws.")
    ] = None,
    model: ModelOption = None,
    trust_model: TrustOption = False,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Predict with the smoothed mixture: its exact class or an abstention, stopping as soon as it is decided.

    \b
    Prints accuracy, abstentions and draws used; --out keeps every answer:
      certmix predict --robust h.safetensors --accurate g.safetensors --mixing-weight 0.8 \\
        --dataset digits --sigma 0.5 --max 100 --out predictions.tsv
    """
    import torch

    import certmix
    from certmix.errors import InvalidArgument
    from certmix.models.denoised import check_denoiser_sigma
    from certmix.prediction import SmoothedMixture
    from certmix.sampling.devices import choose_device
    from certmix.tables import floor_text, percent_text

    if dataset is None:
        raise InvalidArgument("predict needs --dataset SPEC, got none; for example --dataset digits.")
    part = {"skip": skip, "max": max_inputs, "indices": indices}
    data = certmix.load_dataset(dataset, split=split, trust_model=trust_model, **part)  # type: ignore[arg-type]
    options = {"trust_model": trust_model, **key_values(model)}
    h = certmix.load_model(robust, **options)  # type: ignore[arg-type]
    check_denoiser_sigma(h, sigma)
    mixture = SmoothedMixture(
        h,
        certmix.load_model(accurate, **options) if accurate else None,  # type: ignore[arg-type]
        mixing_weight=mixing_weight,
        sigma=sigma,
        num_classes=data.num_classes,
        failure_probability=failure_probability,
        num_selection=num_selection,
        num_estimation=num_estimation,
        hard_accurate=hard_accurate,
        grid_levels=data.grid_levels,
        batch_size=batch_size,
        device=str(choose_device(device)),
        seed=seed,
    )
    made = mixture.predict(torch.stack([data[position][0] for position in range(len(data))]))
    right = float((made.classes == data.labels).mean())
    abstained = float((made.classes == certmix.ABSTAIN).mean())
    if out is not None:
        rows = ["idx\tlabel\tpredict\tradius\tdraws"]
        rows += [
            f"{index}\t{label}\t{guess}\t{floor_text(radius, 6)}\t{draws}"
            for index, label, guess, radius, draws in zip(
                data.indices, data.labels, made.classes, made.radius, made.draws, strict=True
            )
        ]
        try:
            out.write_text("\n".join(rows) + "\n")
        except OSError as error:
            raise InvalidArgument(f"--out must be a path that can be written, got {out} ({error.strerror}).") from None
    summary = {
        "inputs": len(data),
        "accuracy": right,
        "abstained": abstained,
        "mean_draws": float(made.draws.mean()),
        "failure_probability": failure_probability,
    }
    if as_json:
        print(json.dumps(summary, indent=2))
        return
    print(
        f"{percent_text(right)} % right, {percent_text(abstained)} % abstained, of {len(data)} inputs; "
        f"{summary['mean_draws']:.0f} of {num_estimation} estimation draws on average."
    )
    if not quiet:
        print(
            f"A class returned is not that of the exact mixture with probability at most {failure_probability:g} per input.",
            file=sys.stderr,
        )
