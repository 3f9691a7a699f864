"""Certificates of an adaptive mixture: radii at the floor a_min of its gate, clean accuracy at a(x) itself.

Lemma 3.2 holds for every weight at or above 1/2 and all radii increase in the weight, so that whatever a(x) is in
[a_min, a_max], inside the ball too, the certificate at a_min holds. Source: arXiv:2301.12554, Section 4.1, last sentence.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from certmix.certification.bounds import promise_of
from certmix.certification.certify import Certificates, certify
from certmix.certification.votes import votes_of_h
from certmix.clean_accuracy import CleanAccuracy, right_weights, step_function
from certmix.errors import InvalidArgument, RunError
from certmix.files import MOST_BYTES, read_whole, write_whole
from certmix.pareto import Candidate, candidate_from_statistics
from certmix.parquet import pack_table, unpack_table
from certmix.promise import Interval, Votes
from certmix.rules import Rule
from certmix.tables import shapes_repr

if TYPE_CHECKING:
    from certmix.runs.draws import Draws
    from certmix.runs.store import Statistics

Floats = NDArray[np.float64]
FILE = "adaptive.parquet"


@dataclass(frozen=True)
class MixtureRecord:
    """Which mixture it was: its spec and sha256, and the sha256 of its base models."""

    spec: str
    sha256: str
    accurate: str
    robust: str


@dataclass(frozen=True)
class GateValues:
    """What an adaptive mixture says about clean inputs: derived from its file and the data, kept beside the draws.

    Attributes:
        indices: stable positions of the inputs, shape (inputs,), int64.
        share: sigmoid behind a(x), shape (inputs,), in [0, 1]: a(x) = floor + (ceiling - floor) share.
        accurate_probabilities: g's probabilities with its logit scale, shape (inputs, classes).
        floor, ceiling: a_min and a_max.
        robust_scale: of h's logits in the mixture; soft votes of a run are drawn without it.
        mixture: where they come from.
    """

    indices: NDArray[np.int64]
    share: Floats
    accurate_probabilities: Floats
    floor: float
    ceiling: float
    robust_scale: float
    mixture: MixtureRecord

    __repr__ = shapes_repr

    def gate(self, floor: float | None = None) -> Floats:
        """a(x), shape (inputs,), with this floor or another one."""
        low = self.floor if floor is None else floor
        return low + (self.ceiling - low) * self.share


@dataclass(frozen=True)
class AdaptiveCertificates:
    """Certificates at the floor, and the clean predictions of the mixture at a(x).

    Attributes:
        certificates: at the floor, one weight.
        gate: a(x), shape (inputs,).
        clean_right: whether the mixture of g and h's vote shares at a(x) is right, shape (inputs,), bool; ties are wrong.
    """

    certificates: Certificates
    gate: Floats
    clean_right: NDArray[np.bool_]

    __repr__ = shapes_repr

    @property
    def clean_accuracy(self) -> float:
        """Share of the inputs that are right at a(x)."""
        return float(self.clean_right.mean())


def certify_adaptive(
    statistics: "Statistics",
    values: GateValues,
    *,
    certifier: str = "exact",
    failure_probability: float | None = None,
    interval: Interval = "pair",
    votes: Votes | None = None,
    real_valued: bool = False,
) -> AdaptiveCertificates:
    """Certify the mixture of g and the smoothed h at a(x) by any certifier at a_min; arguments as `certify`.

    Guarantee: as `Certificates`, for every deterministic a(x) that stays in [a_min, a_max], attacked or not.
    Raises: InvalidArgument: a_min of at most 1/2, which certifies nothing; gates of other inputs than the draws; or soft
        votes of a mixture that scales h's logits.
    """
    check_floor(values.floor)
    promise = promise_of(
        statistics, failure_probability=failure_probability, interval=interval, votes=votes, real_valued=real_valued
    )
    check_votes(values.robust_scale, promise.votes)
    aligned = _aligned(values, statistics)
    certificates = certify(
        statistics,
        mixing_weight=[values.floor],
        certifier=certifier,
        failure_probability=failure_probability,
        interval=interval,
        votes=votes,
        real_valued=real_valued,
    )
    gate = aligned.gate()
    robust, draws = votes_of_h(statistics, promise)
    low, high = right_weights(aligned.accurate_probabilities, robust, statistics.labels, draws=draws)
    return AdaptiveCertificates(certificates, gate, (low < gate) & (gate < high))


def check_floor(floor: float) -> None:
    """Raise InvalidArgument unless a_min > 1/2: at 1/2 and below, Lemma 3.2 asks for a margin of 1 or more."""
    if not floor > 0.5:
        raise InvalidArgument(
            f"a_min of an adaptive mixture must be > 0.5 to certify anything, got {floor:g}; give its gate another range "
            "with certmix adaptive calibrate --gate-range 0.6,1."
        )


def check_votes(robust_scale: float, votes: str) -> None:
    """Raise InvalidArgument for soft votes of a mixture that scales h's logits: they were drawn without the scale."""
    if votes != "hard" and robust_scale != 1.0:
        raise InvalidArgument(
            f"an adaptive mixture that scales the robust model's logits by {robust_scale:g} must be certified by hard votes, "
            f"got {votes}: soft votes are drawn without the scale. Use hard votes, or train with --robust-scale 1."
        )


def check_bases(values: GateValues, draws: "Draws") -> None:
    """Raise InvalidArgument unless a run was drawn from the base models of the mixture."""
    pairs = (("robust", draws.model, values.mixture.robust), ("accurate", draws.accurate, values.mixture.accurate))
    for name, drawn, own in pairs:
        if drawn is None or drawn.sha256 != own:
            raise InvalidArgument(
                f"--mixture must be of the run's models, but its {name} model has sha256 {own[:12]}, the run's "
                f"{drawn.sha256[:12] if drawn else 'none'}; give the models it was trained with."
            )


def adaptive_candidate(
    statistics: "Statistics",
    values: GateValues,
    *,
    failure_probability: float | None = None,
    interval: Interval = "pair",
    votes: Votes | None = None,
    distributions: bool = False,
) -> Candidate:
    """A candidate of `pareto_frontier` whose weight is the floor: a(x) moves with it below the same ceiling.

    a(x) = floor (1 - share) + ceiling share is linear in the floor, so that clean accuracy is an exact step function of
    it too, and the largest floor at a target is found without a search.
    """
    check_votes(values.robust_scale, promise_of(statistics, votes=votes).votes)
    aligned = _aligned(values, statistics)
    fixed = candidate_from_statistics(
        statistics,
        failure_probability=failure_probability,
        interval=interval,
        votes=votes,
        distributions=distributions,
    )
    return AdaptiveCandidate(
        bounds=fixed.bounds,
        accurate=aligned.accurate_probabilities,
        robust=fixed.robust,
        draws=fixed.draws,
        kind="adaptive",
        share=aligned.share,
        ceiling=values.ceiling,
    )


@dataclass(frozen=True)
class AdaptiveCandidate(Candidate):
    """See `adaptive_candidate`.

    Attributes:
        share: sigmoid behind a(x), shape (inputs,).
        ceiling: a_max.
    """

    share: Floats = None  # type: ignore[assignment]
    ceiling: float = 1.0

    __repr__ = shapes_repr

    def rules(self, wanted: Sequence[Rule]) -> list[Rule]:
        """Eq. 5 alone."""
        return [rule for rule in wanted if rule.kind == "linear"]

    def clean(self, rule: Rule, rows: NDArray[np.int64]) -> CleanAccuracy:
        """Clean accuracy over some of the inputs as a function of the floor, up to the ceiling; g votes with its softmax."""
        draws = None if self.draws is None else self.draws[rows]
        low, high = right_weights(self.accurate[rows], self.robust[rows], self.labels[rows], draws=draws)
        share = self.share[rows]
        with np.errstate(divide="ignore", invalid="ignore"):
            begin, end = (low - self.ceiling * share) / (1 - share), (high - self.ceiling * share) / (1 - share)
        fixed = share >= 1.0  # a(x) is the ceiling, whatever the floor
        inside = (low < self.ceiling) & (self.ceiling < high)
        begin = np.where(fixed, np.where(inside, -1.0, 1.0), begin)
        end = np.where(fixed, np.where(inside, 2.0, 0.0), np.where(low < high, end, begin))
        if self.ceiling < 1.0:  # no floor lies above the ceiling
            end = np.minimum(end, self.ceiling)
        return step_function(begin, end)


def write_gate(folder: str | Path, values: GateValues) -> Path:
    """Write `adaptive.parquet` into a run folder; returns its path. Derived: it can be deleted."""
    table = pa.table(
        {
            "index": values.indices,
            "share": values.share,
            "gate": values.gate(),
            "accurate_probabilities": pa.array(list(values.accurate_probabilities)),
        }
    )
    about = {
        "floor": values.floor,
        "ceiling": values.ceiling,
        "robust_scale": values.robust_scale,
        "mixture": asdict(values.mixture),
    }
    write_whole(path := Path(folder) / FILE, pack_table(table, about), force=True)
    return path


def read_gate(*folders: str | Path) -> GateValues | None:
    """What `write_gate` stored in parts of one run; None where a folder has none.

    Raises: RunError: a damaged file, or parts that are of different mixtures.
    """
    parts = []
    for path in (Path(folder) / FILE for folder in folders):
        if not path.is_file():
            return None
        try:
            table = unpack_table(read_whole(path, "gates", MOST_BYTES), most_rows=10**7, most_values=10**8)
            about = json.loads(table.schema.metadata[b"certmix"])
            columns = {name: np.array(table[name].to_pylist()) for name in ("index", "share", "accurate_probabilities")}
            MixtureRecord(**about["mixture"]), about["floor"], about["ceiling"], about["robust_scale"]
            parts.append((about, columns))
        except (KeyError, TypeError, ValueError) as error:
            raise RunError(f"{path} is damaged ({str(error)[:80]!r}); certify with --mixture again.") from None
        if about != parts[0][0]:
            raise RunError(f"{path} is of another adaptive mixture than {folders[0]}; certify with --mixture again.")
    joined = {name: np.concatenate([columns[name] for _, columns in parts]) for name in parts[0][1]}
    about = parts[0][0]
    return GateValues(
        indices=joined["index"],
        share=joined["share"],
        accurate_probabilities=joined["accurate_probabilities"],
        floor=about["floor"],
        ceiling=about["ceiling"],
        robust_scale=about["robust_scale"],
        mixture=MixtureRecord(**about["mixture"]),
    )


def _aligned(values: GateValues, statistics: "Statistics") -> GateValues:
    """The gates of the inputs that were drawn, in their order."""
    order = np.argsort(values.indices)
    place = np.searchsorted(values.indices, statistics.indices, sorter=order)
    rows = order[np.minimum(place, len(order) - 1)]
    missing = values.indices[rows] != statistics.indices
    if missing.any():
        raise InvalidArgument(
            f"the adaptive mixture's gate must cover every input of the run, got none for input "
            f"{statistics.indices[missing][0]}; certify with --mixture again."
        )
    return replace(
        values,
        indices=values.indices[rows],
        share=values.share[rows],
        accurate_probabilities=values.accurate_probabilities[rows],
    )
