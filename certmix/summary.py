"""What a table says of a run beside certified accuracy: clean accuracy, abstentions, and what the draws cost."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, cast

from certmix.certification.certify import Certificates
from certmix.certification.votes import votes_of_h
from certmix.promise import Promise
from certmix.rules import Rule
from certmix.tables import percent_text

if TYPE_CHECKING:
    from certmix.runs.store import Statistics


@dataclass(frozen=True)
class RunSummary:
    """One rule of one run.

    Attributes:
        clean_accuracy: share of inputs that the mixture gets right, with h as its draws estimate it; None where the accurate
            model was not recorded.
        abstained: share of inputs at which nothing is certified.
        draws: selection and estimation draws per input, mean.
        seconds: sampling time per input, mean.
    """

    clean_accuracy: float | None
    abstained: float
    draws: float
    seconds: float
    headers: ClassVar[tuple[str, ...]] = ("clean", "abstained", "draws", "s per input")

    def cells(self) -> list[str]:
        """Text under `headers`: shares in percent, accuracy rounded down and abstentions up."""
        clean = "" if self.clean_accuracy is None else percent_text(self.clean_accuracy)
        return [clean, percent_text(self.abstained, up=True), f"{self.draws:.0f}", f"{self.seconds:.3g}"]


def summarise(statistics: "Statistics", certificates: Certificates) -> list[RunSummary]:
    """A summary per rule of certificates of these draws."""
    g = statistics.accurate_probabilities
    h, votes = votes_of_h(statistics, certificates.promise or Promise())
    draws = float((statistics.draws.num_selection + statistics.estimation_draws).mean())
    found = []
    for rule, radius in zip(cast(Sequence[Rule], certificates.rules), certificates.radius, strict=True):
        clean = None
        if g is not None:
            clean = float(rule.clean_accuracy(g, h, statistics.labels, draws=votes)(rule.parameter))
        found.append(RunSummary(clean, float((radius == 0).mean()), draws, float(statistics.seconds.mean())))
    return found
