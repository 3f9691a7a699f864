"""Options that commands which attack share."""

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated

from certmix.cli.command import option
from certmix.cli.values import COUNT, RADIUS, Numbers, choice

if TYPE_CHECKING:
    from certmix.certification.certify import Certificates
    from certmix.rules import Rule
    from certmix.runs.store import Statistics


def listed(text: str) -> Numbers:
    """Parser of finite numbers >= 0 between commas, in the order that was typed."""
    return Numbers(tuple(RADIUS(part) for part in text.split(",")))


AnyNormOption = Annotated[str, option("--norm", "NAME", "linf, l2 or l1.", choice("linf", "l2", "l1"))]
GradientDrawsOption = Annotated[int, option("--gradient-draws", "N", "Noise draws per gradient.", COUNT)]
JudgingDrawsOption = Annotated[int, option("--judging-draws", "N", "Fresh draws that judge an attack.", COUNT)]
AttackedOption = Annotated[
    int | None, option("--max-inputs --max", "N", "Attack at most N inputs, spread evenly over the run.", COUNT)
]


def certify_hard_votes(
    statistics: "Statistics", rules: "Sequence[Rule]", certifier: str, failure_probability: float | None
) -> "Certificates":
    """Certificates of what attacks judge: the shares of h's votes.

    Raises: InvalidArgument: a run of soft or confident votes alone, whose h is another one.
    """
    import certmix
    from certmix.errors import InvalidArgument

    made = certmix.certify(statistics, rules=rules, certifier=certifier, failure_probability=failure_probability)
    if made.promise is not None and made.promise.votes != "hard":
        raise InvalidArgument(
            f"RUN must hold hard votes, which attacks are judged by, got {made.promise.votes} ones; sample with --votes both."
        )
    return made
