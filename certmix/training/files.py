"""A training run as files: the model, the best epoch's model, and a checkpoint while it lasts."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch

from certmix.datasets import Dataset
from certmix.datasets.holdout import VALIDATION_SEED, hold_out
from certmix.files import check_target
from certmix.training.loop import EpochReport, Progress, Trained, fit
from certmix.training.methods import Method
from certmix.training.network import Start
from certmix.training.recipe import Recipe
from certmix.training.train import accuracy, save_model


@dataclass(frozen=True)
class Written:
    """What a run left.

    Attributes:
        best: file of the best epoch; None without a validation part.
        best_epoch: counted from 1; 0 without one.
        accuracy: of the last epoch on clean inputs, range [0, 1].
        judged_on: which: "validation" or "training" ones.
        history: a report per epoch.
        settings: the metadata of the file.
    """

    best: Path | None
    best_epoch: int
    accuracy: float
    judged_on: str
    history: tuple[EpochReport, ...]
    settings: dict[str, object]


def checkpoint_of(out: Path) -> Path:
    """Where the training of a model's file keeps its checkpoint."""
    return out.with_name(f"{out.stem}.checkpoint.safetensors")


def train_to_file(
    dataset: Dataset,
    start: Start,
    method: Method,
    recipe: Recipe,
    out: Path,
    *,
    device: str | torch.device = "auto",
    validation: float | None = None,
    force: bool = False,
    checkpoint_seconds: float = 30.0,
    progress: Progress | None = None,
    each_epoch: Callable[[EpochReport], None] | None = None,
) -> Written:
    """`fit` with its models written to `out` (last epoch) and `NAME.best.safetensors`; the same call resumes.

    Args:
        dataset, start, method, recipe, device, checkpoint_seconds, progress, each_epoch: see `fit`.
        out: of the model (.safetensors); its checkpoint lies beside it, and goes when the run is done.
        validation: share of the inputs that is judged after every epoch and not trained on.
        force: overwrite.
    Raises: InvalidArgument: a file that exists, or a value out of range. RunError: a checkpoint of another run.
    """
    best = out.with_name(f"{out.stem}.best.safetensors") if validation else None
    checkpoint = checkpoint_of(out)
    for target in (out, best) if best else (out,):
        check_target(target, force=force)
    rest, held = hold_out(dataset, validation, seed=VALIDATION_SEED) if validation else (dataset, None)
    trained = fit(
        rest, start, method, recipe, device=device, validation=held, checkpoint=checkpoint,
        checkpoint_seconds=checkpoint_seconds, progress=progress, each_epoch=each_epoch,
    )  # fmt: skip
    right, judged_on = trained.history[-1].clean, "validation"
    if right is None:
        right, judged_on = accuracy(trained.model, dataset), "training"
    settings = _settings(dataset, start, method, recipe, validation, trained)
    build = start.settings(dataset.num_classes)
    for model, path in ((trained.model, out), (trained.best, best)):
        if model is not None and path is not None:
            save_model(model, path, architecture=start.architecture, settings=settings, build=build, force=force)
    checkpoint.unlink(missing_ok=True)
    scores = [report.score or 0.0 for report in trained.history]
    best_epoch = scores.index(max(scores)) + 1 if best else 0
    return Written(best, best_epoch, right, judged_on, trained.history, settings)


def _settings(
    dataset: Dataset, start: Start, method: Method, recipe: Recipe, validation: float | None, trained: Trained
) -> dict[str, object]:
    """How the model was made, as its file states it."""
    return {
        **asdict(recipe),
        "method": type(method).__name__.lower(),
        **asdict(method),  # type: ignore[call-overload]
        "init": start.init_name if start.init is not None else None,
        "validation": validation,
        "history": [asdict(report) for report in trained.history],
        "dataset": dataset.spec,
        "fingerprint": dataset.fingerprint,
        "num_classes": dataset.num_classes,
        "subset": dataset.subset,
    }
