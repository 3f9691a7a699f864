"""A run folder with the models and inputs it was drawn from, for the commands that attack it."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

    from certmix.datasets import Dataset
    from certmix.runs.draws import Draws, ModelRecord
    from certmix.runs.store import Statistics


_OPTIONS = {"model": "--robust", "accurate": "--accurate"}  # entries of a manifest, and how to say where they are now


@dataclass(frozen=True)
class RunModels:
    """Statistics, models and the inputs of the run that are finished, in the statistics' order."""

    statistics: "Statistics"
    robust: "torch.nn.Module"
    accurate: "torch.nn.Module | None"
    inputs: "torch.Tensor"
    labels: "torch.Tensor"

    @property
    def grid_levels(self) -> int | None:
        """Levels of integer noise; None for float noise."""
        levels: int | None = self.statistics.draws.grid_levels
        return levels


def load_run(
    run: Path, *, robust: str | None, accurate: str | None, dataset: str | None, options: dict[str, Any]
) -> RunModels:
    """Read a run and load what it was drawn from, at the places its manifest names or the options do.

    Raises: InvalidArgument: another data set or model than the run's, by fingerprint.
    """
    import numpy as np

    import certmix
    from certmix.datasets import Subset
    from certmix.datasets.batches import stack
    from certmix.errors import InvalidArgument
    from certmix.models import fingerprint

    statistics = certmix.read_statistics(run)
    draws = statistics.draws
    data, models = load_parts(draws, robust=robust, accurate=accurate, dataset=dataset, options=options)
    if data.fingerprint != draws.dataset.fingerprint:
        raise InvalidArgument(
            f"the data set must be the one {run} was drawn from, got another (its fingerprint differs)."
        )
    for name, option in _OPTIONS.items():
        found = models[name]
        if found is not None and fingerprint(found) != getattr(draws, name).sha256:
            raise InvalidArgument(f"{option} must be the model {run} was drawn from, got another (its sha256 differs).")
    assert models["model"] is not None
    place = {int(index): position for position, index in enumerate(data.indices)}
    rows = np.array([place[int(index)] for index in statistics.indices], dtype=np.int64)
    return RunModels(statistics, models["model"], models["accurate"], *stack(Subset(data, rows)))


def load_parts(
    draws: "Draws", *, robust: str | None, accurate: str | None, dataset: str | None, options: dict[str, Any]
) -> "tuple[Dataset, dict[str, torch.nn.Module | None]]":
    """The data set, and the models "model" and "accurate", that a manifest names or the options do; unchecked.

    Raises: InvalidArgument: a model that the manifest does not say the place of, and no option does.
    """
    import certmix

    subset = {**draws.dataset.subset, "trust_model": options.get("trust_model", False)}
    data = certmix.load_dataset(dataset or draws.dataset.spec, **subset)
    models: dict[str, torch.nn.Module | None] = {"model": None, "accurate": None}
    for (name, option), given in zip(_OPTIONS.items(), (robust, accurate), strict=True):
        if (entry := getattr(draws, name)) is not None:
            models[name] = certmix.load_model(given or _stored_spec(entry, option), **options)
    return data, models


def _stored_spec(entry: "ModelRecord", option: str) -> str:
    """The model's spec in a manifest. Raises InvalidArgument, naming the option to give, where there is none."""
    from certmix.errors import InvalidArgument

    if entry.spec is None:
        raise InvalidArgument(f"the run does not say where its model is (it was made from Python); give {option} SPEC.")
    return entry.spec
