"""Some inputs of a stored run drawn again: a third party's reason to believe its votes.

Votes must come back bit for bit from the stored seed and the model; so must everything else a shard holds.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from certmix.datasets import Dataset, Subset
from certmix.errors import InvalidArgument
from certmix.runs.store import Statistics
from certmix.sampling.execution import Execution
from certmix.sampling.probe import answers_agree, tolerance
from certmix.sampling.sample import sample


@dataclass
class Verification:
    """What was compared, and every difference in words; the run holds where `differences` is empty.

    Attributes:
        inputs: inputs that the run holds.
        redrawn: indices of the inputs whose draws were repeated.
        draws_repeated: number of draws that were repeated.
        certificates_checked: number of radii recomputed at high precision.
        differences: one line each.
        remarks: what a reader should know, such as another torch version.
    """

    inputs: int = 0
    redrawn: list[int] = field(default_factory=list)
    draws_repeated: int = 0
    certificates_checked: int = 0
    differences: list[str] = field(default_factory=list)
    remarks: list[str] = field(default_factory=list)

    @property
    def holds(self) -> bool:
        """Whether nothing differs."""
        return not self.differences

    def escape_probability(self, forged: int) -> float:
        """The chance that none of so many forged inputs was among those drawn again.

        Example:
            >>> Verification(inputs=300, redrawn=list(range(30))).escape_probability(30) < 0.05
            True
        """
        kept, drawn = self.inputs, len(self.redrawn)
        if forged > kept - drawn:
            return 0.0
        steps = (1.0 - forged / (kept - number) for number in range(drawn))
        return float(np.prod(list(steps)))

    def note(self, what: str, stored: object, here: object) -> None:
        """Note a difference where there is one."""
        if stored != here:
            self.differences.append(f"{what}: stored {stored}, here {here}")


def check_inputs(statistics: Statistics, dataset: Dataset, result: Verification) -> None:
    """Note inputs that are missing or too many, and labels that are not the data set's. Nothing is drawn."""
    draws = statistics.draws
    result.note("content of the data set (its fingerprint)", draws.dataset.fingerprint, dataset.fingerprint)
    result.note("number of inputs in the manifest", draws.dataset.inputs, len(dataset))
    result.note("shape of an input in the manifest", draws.dataset.input_shape, tuple(dataset.input_shape))
    result.note("number of classes in the manifest", draws.num_classes, dataset.num_classes)
    place = {int(index): row for row, index in enumerate(dataset.indices)}
    strange = [index for index in statistics.indices.tolist() if index not in place]
    if strange:
        result.differences.append(f"{_some(strange)} are stored, but the data set has no such input")
    missing = sorted(set(place) - set(statistics.indices.tolist()))
    if missing:
        result.differences.append(
            f"{len(missing)} of {len(place)} inputs are missing ({_some(missing)}): accuracies of this run are of a choice"
        )
    for row, index in enumerate(statistics.indices.tolist()):
        if index in place:
            result.note(f"label of input {index}", int(statistics.labels[row]), int(dataset.labels[place[index]]))


def redraw(
    statistics: Statistics,
    result: Verification,
    *,
    robust: torch.nn.Module,
    dataset: Dataset,
    accurate: torch.nn.Module | None = None,
    count: int = 16,
    seed: int | None = None,
    execution: Execution | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> None:
    """Draw the noise of some random inputs again, from the stored seed, and note everything that differs.

    Args:
        statistics: the stored votes, with their manifest.
        result: takes the findings.
        robust, accurate, dataset: what the run was made from; their fingerprints are compared.
        count: inputs to draw again; all where it exceeds them.
        seed: of the choice of inputs; fresh operating-system entropy by default, so that nobody can foresee it.
        execution: where the models run.
        progress: called with (inputs done, inputs in all).
    Raises: InvalidArgument: count < 1.
    """
    if count < 1:
        raise InvalidArgument(f"sample must be >= 1 inputs to draw again, got {count}.")
    draws, environment = statistics.draws, statistics.manifest.environment
    check_inputs(statistics, dataset, result)
    result.inputs = len(statistics)
    if draws.seed_source == "derived":
        result.note("seed derived from the draws", draws.seed, draws.derive_seed(draws.seed_text or ""))
    place = {int(index): row for row, index in enumerate(dataset.indices)}
    wanted = [index for index in statistics.indices.tolist() if index in place]
    chosen = sorted(np.random.default_rng(seed).permutation(wanted)[:count].tolist())
    if not chosen:
        result.differences.append("none of the stored inputs is in the data set, so that nothing could be drawn again")
        return
    where = execution or Execution()
    again = sample(
        robust,
        Subset(dataset, [place[index] for index in chosen]),
        sigma=draws.sigma,
        num_selection=draws.num_selection,
        num_estimation=draws.num_estimation,
        accurate=accurate,
        seed=draws.seed,
        noise=draws.noise.kind,
        on_invalid=draws.on_invalid,
        votes=draws.votes,
        schedule=draws.schedule,
        confidence=draws.confidence,
        execution=Execution(where.device, environment.batch_size, exact_batch=True, compile=environment.compiled),
        progress=progress,
    )
    result.note("sha256 of the model", draws.model.sha256, again.draws.model.sha256)
    if draws.accurate is not None and again.draws.accurate is None:
        result.remarks.append("the accurate model was not given: its recorded predictions were not checked")
    elif draws.accurate is not None and again.draws.accurate is not None:
        result.note("sha256 of the accurate model", draws.accurate.sha256, again.draws.accurate.sha256)
    result.note("noise", draws.noise, again.draws.noise)
    if not answers_agree(statistics.manifest.probe, again.manifest.probe, tolerance(robust), elsewhere=True):
        result.differences.append(
            "the model answers otherwise than the one that was drawn from, though it may look the same"
        )
    here = again.manifest.environment
    for key in ("torch", "device", "threads"):
        if getattr(environment, key) != getattr(here, key):
            result.remarks.append(
                f"{key} is {getattr(here, key)} here and was {getattr(environment, key)}: the noise is the same, "
                "but a model's rounding may differ, and with it a vote that was nearly tied"
            )
    compare(statistics, again, result)


def compare(stored: Statistics, redrawn: Statistics, result: Verification) -> None:
    """Note every redrawn input whose votes, soft votes or accurate prediction differ from the stored ones.

    Args:
        stored: the published statistics.
        redrawn: statistics of some of the same inputs, drawn again from the stored seed.
        result: takes the findings.
    """
    if stored.num_classes != redrawn.num_classes:
        return  # noted already; no vote can be the same
    place = {int(index): row for row, index in enumerate(stored.indices)}
    for row, index in enumerate(redrawn.indices.tolist()):
        kept = place[index]
        result.redrawn.append(index)
        result.draws_repeated += int(redrawn.draws.num_selection + redrawn.estimation_draws[row])
        result.note(f"label of input {index}", int(stored.labels[kept]), int(redrawn.labels[row]))
        for kind in ("selection", "estimation"):
            old, new = (
                np.append(getattr(s, f"{kind}_counts")[r], getattr(s, f"{kind}_invalid")[r])
                for s, r in ((stored, kept), (redrawn, row))
            )
            if not np.array_equal(old, new):
                result.differences.append(
                    f"input {index}: {kind} votes stored {old.tolist()}, redrawn {new.tolist()} (last: invalid), "
                    f"{int(np.abs(old - new).sum() + 1) // 2} differ"
                )
        deferred = (int(s.estimation_deferred[r]) for s, r in ((stored, kept), (redrawn, row)))
        result.note(f"deferred draws of input {index}", *deferred)
        _compare_soft(stored, redrawn, kept, row, result)
        if stored.accurate_probabilities is not None and redrawn.accurate_probabilities is not None:
            apart = np.abs(stored.accurate_probabilities[kept] - redrawn.accurate_probabilities[row]).max()
            if not apart <= 1e-4:
                result.differences.append(f"input {index}: the accurate model's probabilities differ by {apart:.2g}")


def _compare_soft(stored: Statistics, redrawn: Statistics, kept: int, row: int, result: Verification) -> None:
    """Class, rivals, counts and sums of both stages' histograms."""
    if stored.soft is None or redrawn.soft is None:
        return
    index = int(redrawn.indices[row])
    result.note(
        f"soft prediction of input {index}", int(stored.soft.prediction[kept]), int(redrawn.soft.prediction[row])
    )
    result.note(f"rivals of input {index}", stored.soft.rivals[kept].tolist(), redrawn.soft.rivals[row].tolist())
    for stage in ("selection", "estimation"):
        old, new = getattr(stored.soft, stage), getattr(redrawn.soft, stage)
        moved = _apart(old.counts[kept], new.counts[row]) // 2
        if moved:
            result.differences.append(f"input {index}: {moved} soft {stage} votes fell into other bins when redrawn")
        elif _apart(old.sums[kept], new.sums[row]):
            result.differences.append(f"input {index}: sums of soft {stage} votes differ when redrawn")


def _apart(one: NDArray[np.int64], other: NDArray[np.int64]) -> int:
    return int(np.abs(one - other).sum())


def _some(indices: list[int]) -> str:
    shown = ", ".join(map(str, indices[:5]))
    return f"inputs {shown}{', ...' if len(indices) > 5 else ''}"
