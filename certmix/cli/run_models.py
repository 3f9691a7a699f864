"""A run folder with the models and inputs it was drawn from, for the commands that verify or attack it."""

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

import certmix
from certmix.cli.command import own
from certmix.cli.options import SOURCES, ModelOption, TrustOption, key_values
from certmix.errors import InvalidArgument

if TYPE_CHECKING:
    import numpy as np
    import torch
    from numpy.typing import NDArray

    from certmix.datasets import Dataset
    from certmix.runs.draws import Draws, ModelRecord
    from certmix.runs.store import Statistics


@dataclass(frozen=True)
class Places:
    """Where the models and data of a run are now: as its manifest says, or as these options do."""

    panel: ClassVar[str] = SOURCES
    robust: str | None = own(None, "--robust", "SPEC", "The robust model, where it is not as the manifest says.")
    accurate: str | None = own(None, "--accurate", "SPEC", "Likewise the accurate model.")
    dataset: str | None = own(None, "--dataset", "SPEC", "Likewise the data set.")
    model: ModelOption = None
    trust_model: TrustOption = False


@dataclass(frozen=True)
class Parts:
    """What a run was drawn from; unchecked."""

    dataset: "Dataset"
    robust: "torch.nn.Module"
    accurate: "torch.nn.Module | None"


@dataclass(frozen=True)
class RunModels:
    """Statistics, models and the inputs of the run that are finished, in the statistics' order."""

    statistics: "Statistics"
    robust: "torch.nn.Module"
    accurate: "torch.nn.Module | None"
    dataset: "Dataset"

    @property
    def grid_levels(self) -> int | None:
        """Levels of integer noise; None for float noise."""
        return self.statistics.draws.grid_levels

    def some(self, most: int | None) -> "NDArray[np.int64]":
        """Rows of at most so many inputs, spread over the data, ascending; None = all."""
        import numpy as np

        from certmix.datasets.base import spread_order

        return np.sort(spread_order(len(self.statistics))[:most])

    def inputs(self, rows: "NDArray[np.int64]") -> "Dataset":
        """The inputs of these rows."""
        from certmix.datasets import Subset

        return Subset(self.dataset, rows)


def load_run(run: Path, places: Places) -> RunModels:
    """Read a run and load what it was drawn from, at the places its manifest names or the options do.

    Raises: InvalidArgument: another data set or model than the run's, by fingerprint.
    """
    import numpy as np

    from certmix.datasets import Subset

    statistics = certmix.read_statistics(run)
    if statistics.draws.enumerated:
        raise InvalidArgument(f"attacks on certificates draw Gaussian noise, got {run} of splitting noise; see verify.")
    parts = load_parts(statistics.draws, places)
    check_parts(parts, statistics.draws, run)
    place = {int(index): position for position, index in enumerate(parts.dataset.indices)}
    rows = np.array([place[int(index)] for index in statistics.indices], dtype=np.int64)
    return RunModels(statistics, parts.robust, parts.accurate, Subset(parts.dataset, rows))


def check_parts(parts: Parts, draws: "Draws", run: Path) -> None:
    """Raise InvalidArgument where the data set or a model is another than the run's, by fingerprint."""
    if parts.dataset.fingerprint != draws.dataset.fingerprint:
        raise InvalidArgument(
            f"the data set must be the one {run} was drawn from, got another (its fingerprint differs)."
        )
    check_models(draws, str(run), robust=parts.robust, accurate=parts.accurate)


def load_parts(draws: "Draws", places: Places) -> Parts:
    """The data set and the models that a manifest names or the options do; unchecked.

    What was typed is trusted where --trust-model says so; what only a manifest names never is, since whoever wrote the
    manifest chose it. -M goes with a model that was typed: the manifest's spec holds its own options.

    Raises: InvalidArgument: a model that the manifest does not say the place of, and no option does.
    """
    data = certmix.load_dataset(
        places.dataset or draws.dataset.spec,
        trust_model=places.trust_model and places.dataset is not None,
        **draws.dataset.subset,  # type: ignore[arg-type]
    )
    return Parts(data, *load_models(draws, places))


def load_models(draws: "Draws", places: Places) -> "tuple[torch.nn.Module, torch.nn.Module | None]":
    """h, and g where it was recorded, that a manifest names or the options do; unchecked. Errors as `load_parts`."""
    g = None if draws.accurate is None else _load(draws.accurate, "--accurate", places.accurate, places)
    return _load(draws.model, "--robust", places.robust, places), g


def check_models(draws: "Draws", name: str, *, robust: "torch.nn.Module", accurate: "torch.nn.Module | None") -> None:
    """Raise InvalidArgument where a model is not, by its sha256, the one that the run of that name was drawn from."""
    from certmix.models import fingerprint

    for option_, found, record in (("--robust", robust, draws.model), ("--accurate", accurate, draws.accurate)):
        if found is not None and record is not None and fingerprint(found) != record.sha256:
            raise InvalidArgument(
                f"{option_} must be the model {name} was drawn from, got another (its sha256 differs)."
            )


def _load(record: "ModelRecord", name: str, typed: str | None, places: Places) -> "torch.nn.Module":
    if typed is not None:
        return certmix.load_model(typed, trust_model=places.trust_model, **key_values(places.model))
    if record.spec is None:
        raise InvalidArgument(f"the run does not say where its model is (it was made from Python); give {name} SPEC.")
    return certmix.load_model(record.spec)
