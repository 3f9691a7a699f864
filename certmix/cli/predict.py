"""`certmix predict`: the deployable mixture or chain on a data set: its class or an abstention, with a stated error."""

from typing import TYPE_CHECKING, Any

import typer

import certmix
from certmix.cli import options
from certmix.cli.command import command, need, refuse_others
from certmix.cli.output import Answer
from certmix.cli.root import app
from certmix.errors import InvalidArgument
from certmix.files import check_target, write_whole
from certmix.promise import DEFAULT_FAILURE_PROBABILITY
from certmix.tables import floor_text, percent_text

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch

    from certmix.datasets import Dataset
    from certmix.prediction import ChainPredictor, MixturePredictor, Prediction
    from certmix.runs.grouping import Run

_BY_RUN = {"robust", "sigma"}  # what a run says itself


@command(app, "predict")
def predict_command(
    context: typer.Context,
    *,
    runs: options.RunsArgument = None,
    sources: options.Sources,
    wanted: options.RuleOptions,
    accurate_vote: options.AccurateVoteOption = "class",
    sigma: options.SigmaOption = None,
    failure_probability: options.FailureProbabilityOption = None,
    num_selection: options.NumSelectionOption = 100,
    num_estimation: options.NumEstimationOption = 10_000,
    batch_size: options.BatchOption = None,
    seed: options.NoiseSeedOption = None,
    device: options.DeviceOption = "auto",
    out: options.FileOption = None,
    force: options.ForceOption = False,
    output: Answer,
) -> None:
    """Predict by the smoothed mixture: its exact class or abstain.

    \b
    Stops as soon as a class is decided. Prints accuracy, abstentions and draws used; --out keeps every answer:
      certmix predict --robust h.safetensors --accurate g.safetensors --mixing-weight 0.8 \\
        --dataset digits --sigma 0.5 --max 100 --out predictions.tsv
    The models and sigma of a run; those of several, as a chain, whose nodes are drawn one after another:
      certmix predict runs/half --threshold 0.5 --dataset digits
      certmix predict runs/quarter runs/half --threshold 0.8 --threshold 0.4 --dataset digits
    """
    from certmix.datasets.batches import stack
    from certmix.runs.grouping import read_nodes
    from certmix.sampling.devices import choose_device

    nodes = read_nodes(runs) if runs else []
    if nodes:
        refuse_others(context, "predict RUN", set(context.params) - _BY_RUN)
        need("predict RUN", dataset=sources.dataset)
    else:
        need("predict", robust=sources.robust, dataset=sources.dataset, sigma=sigma)
    if len(nodes) > 1:
        refuse_others(context, "predict RUN RUN", set(context.params) - {"mixing_weight", "accurate_vote"})
    if out is not None:
        check_target(out, force=force)
    data, err = sources.load_dataset(), failure_probability or DEFAULT_FAILURE_PROBABILITY
    how: dict[str, Any] = {
        "num_classes": data.num_classes,
        "failure_probability": err,
        "num_selection": num_selection,
        "num_estimation": num_estimation,
        "grid_levels": data.grid_levels,
        "confidence": wanted.confidence or (nodes[0].statistics.draws.confidence if nodes else None),
        "batch_size": batch_size,
        "device": str(choose_device(device)),
        "seed": seed,
    }
    predictor = (
        _chain(nodes, sources, wanted, how)
        if len(nodes) > 1
        else _mixture(nodes, sources, wanted, accurate_vote, sigma, how)
    )
    made = predictor.predict(stack(data)[0])
    if out is not None:
        write_whole(out, _table(data, made), force=force)
    what = "chain" if len(nodes) > 1 else "mixture"
    note = f"A class returned is not that of the exact {what} with probability at most {err:g} per input."
    summary = _summary(data, made, err)
    text = _text(summary, num_estimation * max(1, len(nodes)))
    output.show(summary, text, [note])


def _summary(data: "Dataset", made: "Prediction", err: float) -> dict[str, Any]:
    """Plain values of all answers."""
    return {
        "inputs": len(data),
        "accuracy": float((made.classes == data.labels).mean()),
        "abstained": float((made.classes == certmix.ABSTAIN).mean()),
        "mean_draws": float(made.draws.mean()),
        "failure_probability": err,
    }


def _text(summary: dict[str, Any], most: int) -> str:
    return (
        f"{percent_text(summary['accuracy'])} % right, {percent_text(summary['abstained'])} % abstained, of "
        f"{summary['inputs']} inputs; {summary['mean_draws']:.0f} of {most} estimation draws on average."
    )


def _mixture(
    nodes: "Sequence[Run]",
    sources: options.Sources,
    wanted: options.RuleOptions,
    accurate_vote: str,
    sigma: float | None,
    how: dict[str, Any],
) -> "MixturePredictor":
    """One smoothed model and g by one rule, of the specs or of a run."""
    from certmix.models.denoised import check_denoiser_sigma
    from certmix.prediction import MixturePredictor

    rules = wanted.rules(accurate_vote)
    if len(rules) != 1:
        raise InvalidArgument(f"predict follows one --mixing-weight or --threshold, got {len(rules)}.")
    if nodes:
        h, g = _of_run(nodes[0], sources)
        sigma = nodes[0].statistics.sigma
    else:
        h, g = sources.load_model(str(sources.robust)), _typed_accurate(sources)
    assert sigma is not None
    check_denoiser_sigma(h, sigma)
    return MixturePredictor(robust=h, accurate=g, rule=rules[0], sigma=sigma, **how)


def _chain(
    nodes: "Sequence[Run]", sources: options.Sources, wanted: options.RuleOptions, how: dict[str, Any]
) -> "ChainPredictor":
    """The chain of the runs' models."""
    from certmix.prediction import ChainNode, ChainPredictor
    from certmix.rules import Chain

    chain = Chain([node.statistics.sigma for node in nodes], wanted.threshold or [])
    loaded = [_of_run(node, sources) for node in nodes]
    accurate = loaded[0][1]
    if accurate is None:
        raise InvalidArgument(
            f"a chain ends with an accurate model, but {nodes[0].name} recorded none; give --accurate."
        )
    made = zip(loaded, chain.sigmas, chain.thresholds, strict=True)
    return ChainPredictor(nodes=[ChainNode(h, s, c) for (h, _), s, c in made], accurate=accurate, **how)


def _of_run(run: "Run", sources: options.Sources) -> "tuple[torch.nn.Module, torch.nn.Module | None]":
    """h that a run was drawn from, and g: as typed, else the run's."""
    from certmix.cli.run_models import Places, check_models, load_models

    draws = run.statistics.draws
    places = Places(accurate=sources.accurate, model=sources.model, trust_model=sources.trust_model)
    h, g = load_models(draws, places)
    check_models(draws, run.name, robust=h, accurate=None if sources.accurate else g)
    return h, _typed_accurate(sources) if g is None else g


def _typed_accurate(sources: options.Sources) -> "torch.nn.Module | None":
    return sources.load_model(sources.accurate) if sources.accurate else None


def _table(data: "Dataset", made: "Prediction") -> str:
    rows = zip(data.indices, data.labels, made.classes, made.radius, made.draws, strict=True)
    lines = ["\t".join(map(str, (i, label, guess, floor_text(r, 6), n))) for i, label, guess, r, n in rows]
    return "\n".join(["idx\tlabel\tpredict\tradius\tdraws", *lines]) + "\n"
