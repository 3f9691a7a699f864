"""What every rule is: the region of h's probabilities in which h's class is kept, whatever g says."""

from typing import ClassVar, Literal, Protocol, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from certmix.certifiers import Certifier
from certmix.clean_accuracy import CleanAccuracy
from certmix.errors import check_choice
from certmix.intervals import ProbabilityBounds

Floats = NDArray[np.float64]
AccurateVote = Literal["class", "softmax"]
ACCURATE_VOTES: tuple[AccurateVote, ...] = get_args(AccurateVote)


class Form(Protocol):
    """What certificates say of the classifier that they are about: a rule, or a chain of several sigmas. Frozen, compared by
    value.

    Attributes:
        kind: its name on the command line and in files.
        title: what its parameter is called in tables.
        accurate_vote: whether g votes with its "class", as in the paper's certified experiments, or with its "softmax".
            No certificate depends on it; clean accuracy and predictions do.
    """

    kind: ClassVar[str]
    title: ClassVar[str]

    @property
    def accurate_vote(self) -> AccurateVote:
        """See above."""
        ...

    @property
    def parameter(self) -> float:
        """The number that trades clean accuracy for radius."""
        ...

    @property
    def label(self) -> str:
        """In tables and figures, such as "weight 0.8"."""
        ...

    def to_json(self) -> dict[str, object]:
        """As plain values, which `rule_from_json` reads."""
        ...


class Rule(Form, Protocol):
    """A mixed classifier of g and the smoothed h."""

    def takes(self, certifier: Certifier) -> bool:
        """Whether the certifier knows enough of h for this rule: `radius` raises where it does not."""
        ...

    def radius(self, certifier: Certifier, bounds: ProbabilityBounds) -> Floats:
        """Certified radii, shape (inputs,), pixel units; 0 where nothing is certified.

        Guarantee: the mixture predicts h's class on the open ball, whatever g is, where the bounds and the certifier hold.
        Raises: InvalidArgument: a certifier that this rule cannot use.
        """
        ...

    def decide(self, accurate: ArrayLike, robust: ArrayLike, *, draws: ArrayLike | None = None) -> NDArray[np.int64]:
        """Class of the mixture where g and h are known.

        Args:
            accurate: g's probabilities, shape (inputs, classes).
            robust: h's vote counts or probabilities, shape (inputs, classes).
            draws: what they are divided by, shape (inputs,); each row's sum where left out, which counts no deferred draw.
        Returns: shape (inputs,); the first class on ties.
        """
        ...

    def lead(self, candidate: int, accurate: Floats, lower: Floats, upper: Floats) -> float:
        """Positive only where the mixture's class must be `candidate` for every h within its bounds, one input.

        Args:
            candidate: a class.
            accurate: g's probabilities, shape (classes,).
            lower, upper: bounds on h's probabilities, shape (classes,).
        """
        ...

    def clean_accuracy(
        self, accurate: ArrayLike, robust: ArrayLike, labels: ArrayLike, *, draws: ArrayLike | None = None
    ) -> CleanAccuracy:
        """Clean accuracy as an exact step function of the parameter, whatever it is here; arguments as `decide`, labels of
        shape (inputs,)."""
        ...

    def with_parameter(self, parameter: float) -> "Rule":
        """The same rule at another parameter."""
        ...


def accurate_votes(accurate: ArrayLike, accurate_vote: AccurateVote) -> Floats:
    """What g puts into a mixture: its probabilities, or the one-hot vector of its class; shape (..., classes)."""
    g = np.asarray(accurate, dtype=np.float64)
    return g if accurate_vote == "softmax" else np.eye(g.shape[-1])[g.argmax(axis=-1)]


def check_accurate_vote(value: str) -> None:
    """Raise InvalidArgument where it is neither "class" nor "softmax"."""
    check_choice("accurate_vote", value, ACCURATE_VOTES)
