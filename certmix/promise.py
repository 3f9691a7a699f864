"""What a certificate promises, and what may not be chosen after looking at the votes."""

import math
from dataclasses import asdict, dataclass
from typing import Literal, cast, get_args

from certmix.errors import InvalidArgument, RunError, check_choice
from certmix.json_fields import Fields

DEFAULT_FAILURE_PROBABILITY = 1e-3
Interval = Literal["pair", "cohen"]
Votes = Literal["hard", "soft", "confident"]
MeanBound = Literal["betting", "bernstein", "hoeffding"]
Norm = Literal["l1", "l2", "linf"]
INTERVALS: tuple[Interval, ...] = get_args(Interval)
VOTES: tuple[Votes, ...] = get_args(Votes)
MEAN_BOUNDS: tuple[MeanBound, ...] = get_args(MeanBound)
NORMS: tuple[Norm, ...] = get_args(Norm)
LIPSCHITZ_RANGE = 1e-160, 1e160  # per pixel unit
CONFIDENCE_STEPS = 64  # a confidence is a multiple of 1/64, where the bins of soft votes end


@dataclass(frozen=True)
class Promise:
    """How the failure probability is spent. Choosing any of it by what certifies most voids the promise.

    Attributes:
        failure_probability: the chance, for each input separately, that its bounds are wrong; in (0, 1), or 0 where all
            values of the noise were evaluated and the bounds are the shares themselves.
        interval: "pair" spends half of it on p_A and half on p_B; "cohen" all on p_A, with p_B = 1 - p_A.
        votes: "hard" (h is the vote share of each class), "soft" (its mean probability) or "confident" (the share of draws
            in which the class is probable enough; see `certmix.intervals.confidence`).
        mean_bound: of soft votes: "betting", "bernstein" or "hoeffding".
        real_valued: whether perturbed inputs may leave the grid of integer noise; see `Draws.quantisation_distance`.
        confidence: kappa of confident votes, a multiple of 1/64 in (1/2, 1); None for others. It may be chosen on other
            inputs, never by the draws that are certified.
        lipschitz: L, where a certificate supposes that every class probability of h's network is L-Lipschitz in l2, per pixel
            unit; None where nothing is supposed of the network.
    Raises: InvalidArgument: a value that is none of these.
    """

    failure_probability: float = DEFAULT_FAILURE_PROBABILITY
    interval: Interval = "pair"
    votes: Votes = "hard"
    mean_bound: MeanBound = "betting"
    real_valued: bool = False
    confidence: float | None = None
    lipschitz: float | None = None

    def __post_init__(self) -> None:
        if not self.certain:
            check_failure_probability(self.failure_probability)
        check_choice("interval", self.interval, INTERVALS)
        check_choice("votes", self.votes, VOTES)
        check_choice("mean_bound", self.mean_bound, MEAN_BOUNDS)
        if (self.votes == "confident") != (self.confidence is not None):
            raise InvalidArgument(
                f"confidence must be given for votes 'confident', and for these alone, got {self.confidence} for votes "
                f"{self.votes!r}."
            )
        if self.confidence is not None:
            check_confidence(self.confidence)
        if self.lipschitz is not None:
            check_supposed_lipschitz(self.lipschitz, self.votes)
        if self.certain and (self.interval != "pair" or self.votes == "soft" or self.real_valued):
            raise InvalidArgument(
                "failure_probability 0 is for hard or confident votes of splitting noise, interval pair, and inputs on the "
                f"grid, got {self.votes} votes, interval {self.interval}, real_valued {self.real_valued}."
            )

    @property
    def certain(self) -> bool:
        """Whether nothing was drawn that could fail."""
        return self.failure_probability == 0.0

    @property
    def share(self) -> float:
        """Share of the failure probability that p_A gets; p_B gets the rest."""
        return 0.5 if self.interval == "pair" else 1.0

    @property
    def text(self) -> str:
        """The promise in words."""
        about = {
            "hard": "the shares of h's votes",
            "soft": f"h's mean probabilities ({self.mean_bound} bounds)",
            "confident": f"the shares of draws in which h's network is at least {self.confidence} sure of a class",
        }[self.votes]
        spent = "half on each of p_A and p_B" if self.interval == "pair" else "all on p_A, as Cohen et al."
        if self.certain:
            return (
                f"Each certificate holds, whatever the accurate model does: all values of the noise were evaluated, failure "
                f"probability 0; it is about {about}."
            )
        where = ", perturbed inputs off the data's grid included" if self.real_valued else ""
        if self.lipschitz is not None:
            where += (
                "; certificates of lipschitz-smoothed SUPPOSE that every class probability of h's network is "
                f"{self.lipschitz:g}-Lipschitz in l2, which was given, not checked, and hold up to its float rounding"
            )
        return (
            f"Each certificate is wrong with probability at most {self.failure_probability:g}, whatever the accurate model "
            f"does; it is about {about}, spends that probability {spent}{where}."
        )

    def to_json(self) -> dict[str, object]:
        """As plain values."""
        made = asdict(self)
        if self.lipschitz is None:
            del made["lipschitz"]
        return made

    @classmethod
    def from_json(cls, tree: Fields) -> "Promise":
        """Of what `to_json` made. Raises RunError where a field is missing, unknown or breaks its rule."""
        err = tree.number("failure_probability", 0.0, 1.0 - 2**-53)
        interval = cast(Interval, tree.choice("interval", INTERVALS))
        votes = cast(Votes, tree.choice("votes", VOTES))
        mean_bound = cast(MeanBound, tree.choice("mean_bound", MEAN_BOUNDS))
        real_valued = tree.flag("real_valued")
        confidence = tree.optional("confidence", lambda: tree.number("confidence", 0.5, 1.0))
        lipschitz = tree.optional("lipschitz", lambda: tree.number("lipschitz", *LIPSCHITZ_RANGE))
        tree.end()
        try:
            return cls(err, interval, votes, mean_bound, real_valued, confidence, lipschitz)
        except InvalidArgument as error:
            raise RunError(f"{tree.where}: {error}") from None


def check_failure_probability(value: float) -> float:
    """The value, or InvalidArgument where it is not in (0, 1)."""
    if not 0.0 < value < 1.0:
        raise InvalidArgument(f"failure_probability must be in (0, 1), got {value}; 0.001 is customary.")
    return float(value)


def check_confidence(value: float) -> float:
    """kappa, or InvalidArgument, with the nearest ones, where it is no multiple of 1/64 in (1/2, 1).

    Example:
        >>> check_confidence(0.75)
        0.75
    """
    step = value * CONFIDENCE_STEPS if math.isfinite(value) else 0.0
    if 0.5 < value < 1.0 and step == int(step):
        return float(value)
    least, most = CONFIDENCE_STEPS // 2 + 1, CONFIDENCE_STEPS - 1
    near = sorted({min(max(round(step + side), least), most) / CONFIDENCE_STEPS for side in (-0.49, 0.49)})
    raise InvalidArgument(
        f"confidence must be a multiple of 1/{CONFIDENCE_STEPS} in (0.5, 1), where the bins of soft votes end, got {value}; "
        f"take {' or '.join(map(str, near))}."
    )


def check_supposed_lipschitz(lipschitz: float, votes: Votes) -> None:
    """Raise InvalidArgument where L is no constant, or the votes are no means of the network's class probabilities."""
    least, most = LIPSCHITZ_RANGE
    if not least <= lipschitz <= most:
        raise InvalidArgument(
            f"lipschitz must be > 0 and finite (per pixel unit, {least:g} to {most:g}), got {lipschitz}; it bounds how fast "
            "every class probability of the network can change."
        )
    if votes != "soft":
        raise InvalidArgument(
            f"lipschitz needs votes 'soft', the means of the network's Lipschitz probabilities, got {votes!r}: a vote jumps; "
            "sample with --votes soft."
        )
