"""A run folder with the models and inputs it was drawn from, for the commands that verify or attack it."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

import typer

from certmix.cli.options import ModelOption, TrustOption, key_values

if TYPE_CHECKING:
    import torch

    from certmix.datasets import Dataset
    from certmix.runs.draws import Draws, ModelRecord
    from certmix.runs.store import Statistics


@dataclass(frozen=True)
class Places:
    """Where the models and data of a run are now: as its manifest says, or as these options do."""

    panel: ClassVar[str] = "Models and data"
    robust: Annotated[
        str | None, typer.Option("--robust", metavar="SPEC", help="Robust model, where it is not at its old path.")
    ] = None
    accurate: Annotated[str | None, typer.Option("--accurate", metavar="SPEC", help="Likewise the accurate model.")] = (
        None
    )
    dataset: Annotated[str | None, typer.Option("--dataset", metavar="SPEC", help="Likewise the data set.")] = None
    model: ModelOption = None
    trust_model: TrustOption = False


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


def load_run(run: Path, places: Places) -> RunModels:
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
    draws = statistics.manifest["draws"]
    data, models = load_parts(draws, places)
    if data.fingerprint != draws["dataset"]["fingerprint"]:
        raise InvalidArgument(
            f"the data set must be the one {run} was drawn from, got another (its fingerprint differs)."
        )
    for name, option in (("model", "--robust"), ("accurate", "--accurate")):
        found = models[name]
        if found is not None and fingerprint(found) != getattr(draws, name).sha256:
            raise InvalidArgument(f"{option} must be the model {run} was drawn from, got another (its sha256 differs).")
    assert models["model"] is not None
    place = {int(index): position for position, index in enumerate(data.indices)}
    rows = np.array([place[int(index)] for index in statistics.indices], dtype=np.int64)
    return RunModels(statistics, models["model"], models["accurate"], *stack(Subset(data, rows)))


def load_parts(draws: Mapping[str, Any], places: Places) -> "tuple[Dataset, dict[str, torch.nn.Module | None]]":
    """The data set, and the models "model" and "accurate", that a manifest names or the options do; unchecked.

    A spec that was typed may be trusted by --trust-model; one that only a manifest names never is, since whoever wrote the
    manifest chose it.

    Raises: InvalidArgument: a model that the manifest does not say the place of, and no option does.
    """
    import certmix

    subset = draws["dataset"]["subset"]
    trusted = places.trust_model and places.dataset is not None
    data = certmix.load_dataset(places.dataset or draws["dataset"]["spec"], **subset, trust_model=trusted)
    models: dict[str, torch.nn.Module | None] = {"model": None, "accurate": None}
    for name, option, given in (("model", "--robust", places.robust), ("accurate", "--accurate", places.accurate)):
        if draws[name] is not None:
            spec = given or _stored_spec(draws[name], option)
            trusted = places.trust_model and given is not None
            models[name] = certmix.load_model(spec, trust_model=trusted, **key_values(places.model))
    return data, models


def _stored_spec(entry: Mapping[str, Any], option: str) -> str:
    """The model's spec in a manifest. Raises InvalidArgument, naming the option to give, where there is none."""
    from certmix.errors import InvalidArgument

    if entry.spec is None:
        raise InvalidArgument(f"the run does not say where its model is (it was made from Python); give {option} SPEC.")
    return entry.spec
