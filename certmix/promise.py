"""What a certificate promises, and what may not be chosen after looking at the votes."""

from dataclasses import asdict, dataclass
from typing import Literal, TypeVar, cast, get_args

from certmix.errors import InvalidArgument
from certmix.json_fields import Fields

DEFAULT_FAILURE_PROBABILITY = 1e-3
Interval = Literal["pair", "cohen"]
Votes = Literal["hard", "soft"]
MeanBound = Literal["betting", "bernstein", "hoeffding"]
INTERVALS: tuple[Interval, ...] = get_args(Interval)
VOTES: tuple[Votes, ...] = get_args(Votes)
MEAN_BOUNDS: tuple[MeanBound, ...] = get_args(MeanBound)

Choice = TypeVar("Choice", bound=str)


@dataclass(frozen=True)
class Promise:
    """How the failure probability is spent. Choosing any of it by what certifies most voids the promise.

    Attributes:
        failure_probability: the chance, for each input separately, that its bounds are wrong; in (0, 1).
        interval: "pair" spends half of it on p_A and half on p_B; "cohen" all on p_A, with p_B = 1 - p_A.
        votes: "hard" (h is the vote share of each class) or "soft" (its mean probability).
        mean_bound: of soft votes: "betting", "bernstein" or "hoeffding".
        real_valued: whether perturbed inputs may leave the grid of integer noise; see `Draws.quantisation_distance`.
    Raises: InvalidArgument: a value that is none of these.
    """

    failure_probability: float = DEFAULT_FAILURE_PROBABILITY
    interval: Interval = "pair"
    votes: Votes = "hard"
    mean_bound: MeanBound = "betting"
    real_valued: bool = False

    def __post_init__(self) -> None:
        check_failure_probability(self.failure_probability)
        check_choice("interval", self.interval, INTERVALS)
        check_choice("votes", self.votes, VOTES)
        check_choice("mean_bound", self.mean_bound, MEAN_BOUNDS)

    @property
    def share(self) -> float:
        """Share of the failure probability that p_A gets; p_B gets the rest."""
        return 0.5 if self.interval == "pair" else 1.0

    @property
    def text(self) -> str:
        """The promise in words."""
        about = (
            "the shares of h's votes" if self.votes == "hard" else f"h's mean probabilities ({self.mean_bound} bounds)"
        )
        spent = "half on each of p_A and p_B" if self.interval == "pair" else "all on p_A, as Cohen et al."
        where = ", perturbed inputs off the data's grid included" if self.real_valued else ""
        return (
            f"Each certificate is wrong with probability at most {self.failure_probability:g}, whatever the accurate model "
            f"does; it is about {about}, spends that probability {spent}{where}."
        )

    def to_json(self) -> dict[str, object]:
        """As plain values."""
        return asdict(self)

    @classmethod
    def from_json(cls, tree: Fields) -> "Promise":
        """Of what `to_json` made. Raises RunError where a field is missing, unknown or breaks its rule."""
        made = cls(
            failure_probability=tree.number("failure_probability", 5e-324, 1.0 - 2**-53),
            interval=cast(Interval, tree.choice("interval", INTERVALS)),
            votes=cast(Votes, tree.choice("votes", VOTES)),
            mean_bound=cast(MeanBound, tree.choice("mean_bound", MEAN_BOUNDS)),
            real_valued=tree.flag("real_valued"),
        )
        tree.end()
        return made


def check_failure_probability(value: float) -> float:
    """The value, or InvalidArgument where it is not in (0, 1)."""
    if not 0.0 < value < 1.0:
        raise InvalidArgument(f"failure_probability must be in (0, 1), got {value}; 0.001 is customary.")
    return float(value)


def check_choice(name: str, value: Choice, choices: tuple[Choice, ...]) -> Choice:
    """The value, or InvalidArgument that lists the choices."""
    if value not in choices:
        raise InvalidArgument(f"{name} must be one of {', '.join(choices)}, got {value!r}.")
    return value
