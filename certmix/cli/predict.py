"""`certmix predict`: the deployable mixture on a data set: its class or an abstention, with a stated error probability."""

from typing import TYPE_CHECKING

from certmix.cli.command import command, need
from certmix.cli.options import (
    AccurateVoteOption,
    BatchOption,
    DeviceOption,
    FailureProbabilityOption,
    FileOption,
    ForceOption,
    JsonOption,
    NoiseSeedOption,
    NumEstimationOption,
    NumSelectionOption,
    QuietOption,
    RuleOptions,
    SigmaOption,
    Sources,
)
from certmix.cli.output import Output
from certmix.cli.root import app

if TYPE_CHECKING:
    from certmix.datasets import Dataset
    from certmix.prediction import Prediction


@command(app, "predict")
def predict_command(
    *,
    sources: Sources,
    wanted: RuleOptions,
    accurate_vote: AccurateVoteOption = "class",
    sigma: SigmaOption = None,
    failure_probability: FailureProbabilityOption = None,
    num_selection: NumSelectionOption = 100,
    num_estimation: NumEstimationOption = 10_000,
    batch_size: BatchOption = None,
    seed: NoiseSeedOption = None,
    device: DeviceOption = "auto",
    out: FileOption = None,
    force: ForceOption = False,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Predict by the smoothed mixture: its exact class or abstain.

    \b
    Stops as soon as a class is decided. Prints accuracy, abstentions and draws used; --out keeps every answer:
      certmix predict --robust h.safetensors --accurate g.safetensors --mixing-weight 0.8 \\
        --dataset digits --sigma 0.5 --max 100 --out predictions.tsv
    """
    import certmix
    from certmix.datasets.batches import stack
    from certmix.errors import InvalidArgument
    from certmix.files import check_target, write_whole
    from certmix.models.denoised import check_denoiser_sigma
    from certmix.prediction import MixturePredictor
    from certmix.promise import DEFAULT_FAILURE_PROBABILITY
    from certmix.sampling.devices import choose_device
    from certmix.tables import percent_text

    need("predict", robust=sources.robust, dataset=sources.dataset, sigma=sigma)
    if out is not None:
        check_target(out, force=force)
    err, rules = failure_probability or DEFAULT_FAILURE_PROBABILITY, wanted.rules(accurate_vote)
    if len(rules) != 1:
        raise InvalidArgument(f"predict follows one --mixing-weight or --threshold, got {len(rules)}.")
    data, h = sources.load_dataset(), sources.load_model(str(sources.robust))
    assert sigma is not None
    check_denoiser_sigma(h, sigma)
    mixture = MixturePredictor(
        robust=h,
        accurate=sources.load_model(sources.accurate) if sources.accurate else None,
        rule=rules[0],
        sigma=sigma,
        num_classes=data.num_classes,
        failure_probability=err,
        num_selection=num_selection,
        num_estimation=num_estimation,
        grid_levels=data.grid_levels,
        confidence=wanted.confidence,
        batch_size=batch_size or 200,
        device=str(choose_device(device)),
        seed=seed,
    )
    made = mixture.predict(stack(data)[0])
    if out is not None:
        write_whole(out, _table(data, made), force=force)
    summary = {
        "inputs": len(data),
        "accuracy": float((made.classes == data.labels).mean()),
        "abstained": float((made.classes == certmix.ABSTAIN).mean()),
        "mean_draws": float(made.draws.mean()),
        "failure_probability": err,
    }
    text = (
        f"{percent_text(summary['accuracy'])} % right, {percent_text(summary['abstained'])} % abstained, of {len(data)} "
        f"inputs; {summary['mean_draws']:.0f} of {num_estimation} estimation draws on average."
    )
    note = f"A class returned is not that of the exact mixture with probability at most {err:g} per input."
    Output(as_json=as_json, quiet=quiet).show(summary, text, [note])


def _table(data: "Dataset", made: "Prediction") -> str:
    from certmix.tables import floor_text

    rows = zip(data.indices, data.labels, made.classes, made.radius, made.draws, strict=True)
    lines = ["\t".join(map(str, (i, label, guess, floor_text(r, 6), n))) for i, label, guess, r, n in rows]
    return "\n".join(["idx\tlabel\tpredict\tradius\tdraws", *lines]) + "\n"
