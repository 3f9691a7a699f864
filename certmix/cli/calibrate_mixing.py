"""`certmix calibrate-mixing`: another clean accuracy or another range of weights, without training again."""

import json
from pathlib import Path
from typing import Annotated

import typer

from certmix.cli import app
from certmix.cli.options import (
    AttackRadiusOption,
    HoldoutOption,
    JsonOption,
    NormOption,
    ScaleOption,
    SplitOption,
    TrustOption,
    WeightRangeOption,
    numbers,
)


@app.command("calibrate-mixing")
def calibrate_mixing_command(
    mixture: Annotated[Path, typer.Argument(metavar="MIXTURE", help="File of train-mixing.")],
    dataset: Annotated[str, typer.Option("--dataset", metavar="SPEC", help="Data set of the held-out inputs.")],
    out: Annotated[Path, typer.Option("--out", metavar="FILE", help="Where the calibrated mixture goes.")],
    target: Annotated[float, typer.Option("--target", metavar="ACC", help="Clean accuracy to keep, in [0, 1].")],
    split: SplitOption = "train",
    holdout: HoldoutOption = 0.25,
    weight_range: WeightRangeOption = None,
    scale: ScaleOption = None,
    sigma: Annotated[
        float | None,
        typer.Option("--sigma", metavar="S", help="Calibrate with h smoothed by this noise, as certified."),
    ] = None,
    norm: NormOption = "linf",
    attack_radius: AttackRadiusOption = 0.1,
    force: Annotated[bool, typer.Option("--force", help="Overwrite --out.")] = False,
    trust_model: TrustOption = False,
    as_json: JsonOption = False,
) -> None:
    """Shift (and scale) a trained mixture's weights so that clean accuracy on held-out inputs meets a target, exactly.

    \b
    Clean accuracy is a step function of the shift: the largest shift that meets the target is found without a search:
      certmix calibrate-mixing mixture.safetensors --dataset digits --target 0.96 --weight-range 0.8,1 --out m.safetensors
    """
    import safetensors

    import certmix
    from certmix.adaptive.attacks import AttackBudget
    from certmix.adaptive.mixture import describe_base
    from certmix.cli.mixing_models import load_mixture
    from certmix.cli.train_mixing import calibrate
    from certmix.datasets.holdout import hold_out
    from certmix.training.train import save_model

    model = load_mixture(str(mixture))
    data = certmix.load_dataset(dataset, split=split, trust_model=trust_model)
    held = hold_out(data, holdout)[1] if holdout else data
    if weight_range is not None:
        low, high = numbers(weight_range, "--weight-range", 2)
        model.set_weight_range(low, high)
    chosen = calibrate(model, held, target=target, scales=scale, budget=AttackBudget(norm, attack_radius), sigma=sigma)
    with safetensors.safe_open(mixture, framework="pt") as handle:
        training = json.loads(handle.metadata()["certmix"])["training"]
    own = describe_base(str(mixture))
    assert own is not None
    settings = {**training, **chosen}
    save_model(model, out, architecture="adaptive-mixture", settings=settings, build=own["settings"], force=force)
    if as_json:
        print(json.dumps({"out": str(out), **chosen}, indent=2))
    else:
        print(
            f"{out}: {100 * chosen['clean_accuracy']:.1f} % of the {chosen['held_out']} inputs right, a(x) in "
            f"[{model.floor:g}, {model.ceiling:g}], scale {chosen['scale']:g}, shift {chosen['shift']:.3f}"
        )
