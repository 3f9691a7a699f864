"""Options that commands about adaptive mixtures share."""

import operator
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar, Generic, TypeVar

import typer

import certmix
from certmix.cli.command import option, own
from certmix.cli.options import SOURCES, HoldoutOption, TrustOption
from certmix.cli.values import COUNT, SHARE, WEIGHT, real

if TYPE_CHECKING:
    from certmix.adaptive.mixture import AdaptiveMixture
    from certmix.datasets import Dataset, Subset


Number = TypeVar("Number", int, float)


@dataclass(frozen=True)
class Range(Generic[Number]):
    """Two ends of a range."""

    low: Number
    high: Number


def range_of(
    end: Callable[[str], Number], fits: Callable[[Number, Number], bool], rule: str
) -> Callable[[str], Range[Number]]:
    """Parser of MIN,MAX, by the parser of an end and by what must hold between the two, which the rule says."""

    def parse(text: str) -> Range[Number]:
        parts = text.split(",")
        ends = [end(part) for part in parts] if len(parts) == 2 else []
        if not ends or not fits(*ends):
            raise typer.BadParameter(f"must be MIN,MAX with {rule}, got {text!r}.")
        return Range(*ends)

    return parse


GATE_RANGE = range_of(WEIGHT, operator.lt, "0 <= MIN < MAX <= 1")
STEPS_RANGE = range_of(COUNT, operator.le, "1 <= MIN <= MAX")


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
    Range[float] | None,
    option("--gate-range", "MIN,MAX", "Range of the gate; certificates need MIN > 0.5.", GATE_RANGE),
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
