"""What defines a run's draws: the one description that a run folder, its reader and its referee share."""

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, cast, get_args

from certmix.certification.schedule import Schedule
from certmix.errors import InvalidArgument, RunError
from certmix.input_range import InputRange
from certmix.json_fields import Fields, first_difference
from certmix.promise import Norm, check_confidence

Votes = Literal["hard", "soft", "both"]
NoiseKind = Literal["integer", "float", "splitting"]
SeedSource = Literal["fresh", "chosen", "derived"]
Json = dict[str, Any]
NOISE_GENERATOR = "philox4x64-10"
MOST_DRAWS, MOST_CLASSES = 10**12, 10**6
NUM_SELECTION, NUM_ESTIMATION = 100, 10_000  # where nothing is asked
_MOST_VALUES = 1 << 20


@dataclass(frozen=True)
class ModelRecord:
    """A model: how it is loaded (None where it came from Python) and its fingerprint."""

    spec: str | None
    sha256: str

    @classmethod
    def from_json(cls, tree: Fields) -> "ModelRecord":
        """Raises RunError where a field breaks its rule."""
        made = cls(tree.optional("spec", lambda: tree.text("spec")), tree.sha256("sha256"))
        tree.end()
        return made


@dataclass(frozen=True)
class DataRecord:
    """A data set, or a part of it.

    Attributes:
        spec: how it is loaded.
        fingerprint: sha256 of the content of these inputs.
        subset: how they were chosen, e.g. {"split": "test", "skip": 20}.
        inputs: how many.
        input_shape: of one.
        bounds: the range that inputs had before they were mapped to [0, 1]; None where that was [0, 1].
    """

    spec: str
    fingerprint: str
    subset: Mapping[str, str | int | float | None]
    inputs: int
    input_shape: tuple[int, ...]
    bounds: InputRange | None = None

    @classmethod
    def from_json(cls, tree: Fields) -> "DataRecord":
        """Raises RunError where a field breaks its rule."""
        made = cls(
            bounds=tree.optional("bounds", lambda: _range(tree)),
            spec=tree.text("spec"),
            fingerprint=tree.sha256("fingerprint"),
            subset=tree.scalars("subset"),
            inputs=tree.integer("inputs", 1, 10**9),
            input_shape=tree.integers("input_shape", 1, 10**9),
        )
        tree.end()
        return made

    @property
    def subset_text(self) -> str:
        """The choice in words, e.g. "split test, skip 20"."""
        return ", ".join(f"{key} {value}" for key, value in self.subset.items() if value is not None) or "all"


@dataclass(frozen=True)
class NoiseRecord:
    """The noise besides sigma and seed.

    Attributes:
        kind: Gaussian, "integer" (exactly rounded on a grid) or "float"; or "splitting", of which all values are evaluated.
        generator: name of the counter-based generator; splitting noise takes its offsets from it.
        levels: G of integer and splitting noise, grid steps per pixel unit; None for float noise.
        table_sha256: of integer noise's threshold table.
        total_variation: bound on the distance between the noise of one draw and the Gaussian it stands for.
    """

    kind: NoiseKind
    generator: str
    levels: int | None = None
    table_sha256: str | None = None
    total_variation: float = 0.0

    @classmethod
    def from_json(cls, tree: Fields) -> "NoiseRecord":
        """Raises RunError where a field breaks its rule."""
        kind = cast(NoiseKind, tree.choice("kind", get_args(NoiseKind)))
        integer = kind == "integer"
        made = cls(
            kind=kind,
            generator=tree.choice("generator", (NOISE_GENERATOR,)),
            levels=tree.integer("levels", 1, 65_535) if kind != "float" else tree.optional("levels", lambda: 0),
            table_sha256=tree.sha256("table_sha256") if integer else tree.optional("table_sha256", lambda: ""),
            total_variation=tree.number("total_variation", 0.0, 1.0 if integer else 0.0),
        )
        tree.end()
        return made


@dataclass(frozen=True)
class Draws:
    """Everything that defines the draws of a run; two runs of equal draws hold equal votes.

    Attributes:
        model: base classifier h; `accurate`: g, or None.
        dataset: the inputs.
        num_classes: number of classes.
        sigma: standard deviation of the noise, or Lambda of splitting noise, in [0, 1] pixel units.
        num_selection, num_estimation: draws per input; the second is the most where sampling may stop early. Of splitting
            noise, none and all its values.
        votes: what is stored of a draw: "hard" (its class), "soft" (its probabilities) or "both".
        noise: see `NoiseRecord`.
        seed: in [0, 2**128).
        seed_source: "fresh" entropy, "chosen" by hand, or "derived" from these draws and `seed_text`: see `derive_seed`.
        seed_text: public text behind a derived seed.
        on_invalid: what a non-finite output is: an "error", or "count"ed as a vote against.
        schedule: looks at which an input could stop early; None where all draws were made.
        confidence: below which a draw was deferred instead of counted, hard votes only; see
            `certmix.intervals.confidence`. None where every draw voted.
    """

    model: ModelRecord
    accurate: ModelRecord | None
    dataset: DataRecord
    num_classes: int
    sigma: float
    num_selection: int
    num_estimation: int
    votes: Votes
    noise: NoiseRecord
    seed: int
    seed_source: SeedSource = "chosen"
    seed_text: str | None = None
    on_invalid: Literal["error", "count"] = "error"
    schedule: Schedule | None = None
    confidence: float | None = None

    def __repr__(self) -> str:
        d, g = self.dataset, "" if self.accurate is None else ", with an accurate model"
        return (
            f"Draws({d.inputs} inputs of {d.spec} ({d.subset_text}), {self.num_classes} classes, sigma {self.sigma:g}, "
            f"{self.num_selection} + {self.num_estimation} draws, {self.votes} votes, {self.noise.kind} noise{g})"
        )

    @property
    def size(self) -> int:
        """Elements of one input."""
        return math.prod(self.dataset.input_shape)

    @property
    def grid_levels(self) -> int | None:
        """G of integer and splitting noise; None for float noise."""
        return self.noise.levels

    @property
    def enumerated(self) -> bool:
        """Whether all values of the noise were evaluated, none drawn: shares of votes are then exact."""
        return self.noise.kind == "splitting"

    @property
    def norm(self) -> Norm:
        """That of the balls which this noise certifies."""
        return "l1" if self.enumerated else "l2"

    @property
    def scale_text(self) -> str:
        """Such as "sigma 0.5", or "Lambda 1.5 (l1)"."""
        return f"Lambda {self.sigma:g} ({self.norm})" if self.enumerated else f"sigma {self.sigma:g}"

    @property
    def total_variation(self) -> float:
        """Distance of the drawn noise from the Gaussian, at most."""
        return self.noise.total_variation

    @property
    def quantisation_distance(self) -> float:
        """How far rounding to the grid can move an input: sqrt(d) / (2 G) in l2, rounded up, in pixel units.

        A predictor that rounds its input to the grid keeps a certificate about grid inputs for every real-valued input
        inside the radius less this distance. Source: Voracek and Hein 2023, arXiv:2207.07209.

        Raises: InvalidArgument: draws without integer noise, whose certificates are not about a grid.
        """
        if self.noise.levels is None or self.enumerated:
            raise InvalidArgument(
                "real_valued is for runs drawn with integer noise; certificates of float noise have no grid, and those of "
                "splitting noise hold on it alone."
            )
        return math.nextafter(math.sqrt(self.size) / (2 * self.noise.levels), math.inf)

    def allowed_totals(self) -> tuple[int, ...]:
        """Numbers of estimation draws that an input may have."""
        return (self.num_estimation,) if self.schedule is None else self.schedule.looks

    def disagreement(self, other: "Draws", *, parts: bool = False) -> str | None:
        """The first difference in words, "sigma: the run has 0.5, asked for is 0.25"; None where the two agree.

        Args:
            other: what is asked for.
            parts: allow other inputs of the same data set, and other schedules of them: parts of one run.
        """
        mine, theirs = self.as_part() if parts else self, other.as_part() if parts else other
        return first_difference(mine.to_json(), theirs.to_json(), whole="dataset.subset")

    def as_part(self) -> "Draws":
        """These draws without what tells one part of a run from another: which inputs it holds."""
        return replace(self, dataset=replace(self.dataset, fingerprint="0" * 64, subset={}, inputs=1))

    def derive_seed(self, text: str) -> int:
        """128 bits of the sha256 of everything but the seed, and a public text: nobody can try seeds unseen."""
        bare = replace(self, seed=0, seed_source="derived", seed_text=text)
        digest = hashlib.sha256(json.dumps(bare.to_json(), sort_keys=True).encode())
        return int.from_bytes(digest.digest()[:16], "big")

    def to_json(self) -> Json:
        """As plain values: what the manifest holds under "draws"."""
        made: Json = {field.name: getattr(self, field.name) for field in fields(self)}
        for name in ("model", "accurate", "dataset", "noise"):
            if made[name] is not None:
                made[name] = {field.name: getattr(made[name], field.name) for field in fields(made[name])}
        made["dataset"] |= {"subset": dict(self.dataset.subset), "input_shape": list(self.dataset.input_shape)}
        bounds = made["dataset"].pop("bounds")
        if bounds is not None:
            made["dataset"]["bounds"] = [bounds.low, bounds.high]
        schedule = None if self.schedule is None else self.schedule.to_json()
        if self.confidence is None:
            del made["confidence"]
        return {**made, "seed": hex(self.seed), "schedule": schedule}

    @classmethod
    def from_json(cls, tree: Fields) -> "Draws":
        """Of what `to_json` made. Raises RunError where a field is missing, unknown or breaks its rule."""
        sigma = tree.number("sigma", 0.0, 1e6, open_low=True)
        num_estimation = tree.integer("num_estimation", 1, MOST_DRAWS)
        num_selection = tree.integer("num_selection", 0, MOST_DRAWS)
        seed_source = cast(SeedSource, tree.choice("seed_source", ("fresh", "chosen", "derived")))
        made = cls(
            model=ModelRecord.from_json(tree.part("model")),
            accurate=tree.optional("accurate", lambda: ModelRecord.from_json(tree.part("accurate"))),
            dataset=DataRecord.from_json(tree.part("dataset")),
            num_classes=tree.integer("num_classes", 2, MOST_CLASSES),
            sigma=sigma,
            num_selection=num_selection,
            num_estimation=num_estimation,
            votes=cast(Votes, tree.choice("votes", ("hard", "soft", "both"))),
            noise=NoiseRecord.from_json(tree.part("noise")),
            seed=_seed(tree),
            seed_source=seed_source,
            seed_text=tree.optional("seed_text", lambda: tree.text("seed_text")),
            on_invalid=cast(Literal["error", "count"], tree.choice("on_invalid", ("error", "count"))),
            schedule=tree.optional(
                "schedule",
                lambda: Schedule.from_json(tree.part("schedule"), sigma=sigma, num_estimation=num_estimation),
            ),
            confidence=tree.optional("confidence", lambda: tree.number("confidence", 0.5, 1.0)),
        )
        tree.end()
        try:
            if made.confidence is not None:
                check_stored_confidence(made.confidence, made.votes)
            check_numbers(made)
        except InvalidArgument as error:
            raise RunError(f"{tree.where}: {error}") from None
        return made


def check_numbers(draws: Draws) -> None:
    """Raise InvalidArgument where the numbers of draws are not the noise's: all its values, or selections first."""
    if not draws.enumerated:
        if draws.num_selection < 1:
            raise InvalidArgument(f"num_selection must be >= 1, got {draws.num_selection}; the paper draws 100.")
        return
    assert draws.noise.levels is not None
    values = splitting_values(draws.sigma, draws.noise.levels)
    if (draws.num_selection, draws.num_estimation) != (0, values):
        raise InvalidArgument(
            f"noise 'splitting' at Lambda {draws.sigma:g} has {values} values, all of which are evaluated, got num_selection "
            f"{draws.num_selection} and num_estimation {draws.num_estimation}; leave both out."
        )
    if draws.votes != "hard" or draws.schedule is not None:
        raise InvalidArgument(
            f"noise 'splitting' takes votes hard and stops at no radius, got votes {draws.votes!r}"
            f"{'' if draws.schedule is None else ' and a schedule'}; leave these out."
        )


def splitting_values(split: float, levels: int) -> int:
    """Number of values of splitting noise, 2 Lambda G; see `certmix.noise.splitting`.

    Args:
        split: Lambda, in [0, 1] pixel units.
        levels: G, grid steps per pixel unit.
    Raises: InvalidArgument: a Lambda that is no multiple of 1 / (2 G).
    Example:
        >>> splitting_values(1.5, 16)
        48
    """
    exact = 2.0 * split * levels
    values = round(exact) if math.isfinite(exact) else 0
    if not 1 <= values <= _MOST_VALUES or abs(exact - values) > 1e-13 * values:
        near = min(max(values, 1), _MOST_VALUES) / (2 * levels)
        raise InvalidArgument(
            f"lambda of splitting noise must be a multiple of 1/{2 * levels} (half a step of the data's grid), up to "
            f"{_MOST_VALUES / (2 * levels):g}, got {split}; take {near!r}."
        )
    return values


def check_stored_confidence(confidence: float, votes: Votes) -> None:
    """Raise InvalidArgument where draws of these votes cannot be stored as confident or deferred."""
    check_confidence(confidence)
    if votes != "hard":
        raise InvalidArgument(
            f"confidence is declared before drawing for votes hard alone, got votes {votes!r}, which hold every "
            "confidence; leave it out, and give it to certify."
        )


def _range(tree: Fields) -> InputRange:
    values = tree.numbers("bounds", -math.inf)
    try:
        return InputRange.of(values)
    except InvalidArgument as error:
        raise RunError(f"{tree.where}: {error}") from None


def _seed(tree: Fields) -> int:
    text = tree.text("seed")
    try:
        seed = int(text, 16)
    except ValueError:
        seed = -1
    if not 0 <= seed < 2**128:
        raise tree._refuse("seed", "hexadecimal, below 2**128", text)
    return seed
