"""Options that commands about adaptive mixtures share."""

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

import typer

import certmix
from certmix.cli.command import option, own
from certmix.cli.options import SOURCES, HoldoutOption, TrustOption
from certmix.cli.values import COUNT, SHARE, WEIGHT, real

if TYPE_CHECKING:
    from certmix.adaptive.mixture import AdaptiveMixture
    from certmix.datasets import Dataset, Subset


@dataclass(frozen=True)
class Range:
    """Two ends of a range."""

    low: float
    high: float


def gate_range(text: str) -> Range:
    """Parser of MIN,MAX, rising in [0, 1]."""
    parts = text.split(",")
    if len(parts) != 2 or not WEIGHT(parts[0]) < WEIGHT(parts[1]):
        raise typer.BadParameter(f"must be MIN,MAX with 0 <= MIN < MAX <= 1, got {text!r}.")
    return Range(WEIGHT(parts[0]), WEIGHT(parts[1]))


@dataclass(frozen=True)
class LossWeights:
    """c_CE, c_BCE and c_prod of Eq. 8."""

    values: tuple[float, float, float]


def loss_weights(text: str) -> LossWeights:
    """Parser of CE,BCE,PROD."""
    parts = text.split(",")
    if len(parts) != 3:
        raise typer.BadParameter(f"must be three numbers between commas, got {text!r}.")
    first, second, third = (real(0.0)(part) for part in parts)
    return LossWeights((first, second, third))


DEFAULT_RANGE = Range(0.6, 1.0)
GateRangeOption = Annotated[
    Range | None, option("--gate-range", "MIN,MAX", "Range of the gate; certificates need MIN > 0.5.", gate_range)
]
TargetOption = Annotated[
    float | None,
    option("--target", "ACC", "Clean accuracy to keep on the held-out inputs; midway by default.", WEIGHT),
]


@dataclass(frozen=True)
class BaseModels:
    """Where the base models of a mixture are now: as its file says, or as these options do."""

    panel: ClassVar[str] = SOURCES
    robust: str | None = own(None, "--robust", "SPEC", "The robust model, where the file's does not serve.")
    accurate: str | None = own(None, "--accurate", "SPEC", "Likewise the accurate model.")
    trust_model: TrustOption = False

    def load(self, path: str) -> "AdaptiveMixture":
        """The mixture of a file."""
        from certmix.adaptive.files import load_mixture

        return load_mixture(path, accurate=self.accurate, robust=self.robust, trust_model=self.trust_model)


@dataclass(frozen=True)
class Share:
    """Which inputs are held out to calibrate on."""

    panel: ClassVar[str] = SOURCES
    holdout: HoldoutOption = 0.25
    validation: float | None = own(
        None, "--validation", "SHARE", "In place of --holdout: the part that certmix train --validation kept.", SHARE
    )

    def split(self, whole: "Dataset") -> "tuple[Subset, Subset]":
        """(the rest, the part held out)."""
        from certmix.datasets.holdout import VALIDATION_SEED, hold_out

        if self.validation is not None:
            return hold_out(whole, self.validation, seed=VALIDATION_SEED)
        return hold_out(whole, self.holdout or 0.25)


@dataclass(frozen=True)
class HeldOut(Share):
    """The inputs that a mixture is calibrated on, and the split that they are of."""

    validation_split: str = own("train", "--validation-split", "NAME", "Split whose held-out part is calibrated on.")

    def load(self, dataset: str, trust_model: bool) -> "Dataset":
        """The held-out part of the split."""
        return self.split(certmix.load_dataset(dataset, split=self.validation_split, trust_model=trust_model))[1]


@dataclass(frozen=True)
class Steps:
    """A range of numbers of steps."""

    low: int
    high: int


def steps_range(text: str) -> Steps:
    """Parser of MIN,MAX, whole numbers >= 1."""
    parts = text.split(",")
    if len(parts) != 2 or not COUNT(parts[0]) <= COUNT(parts[1]):
        raise typer.BadParameter(f"must be MIN,MAX with 1 <= MIN <= MAX, got {text!r}.")
    return Steps(COUNT(parts[0]), COUNT(parts[1]))
