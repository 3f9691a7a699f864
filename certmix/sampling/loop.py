"""The draw loop: planned passes through noise, model and counter; the counts are read at looks and when an input is done.

Every draw's noise depends on its address alone, so that how draws are packed into passes changes no result. A GPU is given
the next pass before the counts of the one before are read: it works while the host decides.
"""

import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from certmix.datasets import Dataset
from certmix.errors import SamplingError
from certmix.models.acceleration import input_buffer
from certmix.noise import Noise, Purpose
from certmix.noise.host_copy import HostCopy, to_device
from certmix.runs.records import InputRecord, PartialRecord, SoftRow
from certmix.sampling.counting import VoteCounter
from certmix.sampling.planner import ESTIMATION, SELECTION, PassPlanner, Segment, Work

NO_MEMORY = (
    "the model must fit into the GPU's memory with one input, and does not; use a smaller model or another --device."
)
_SLOTS = 64  # inputs open at the same time, at most


SentHistograms = tuple[HostCopy, HostCopy, HostCopy]  # classes, rivals and histograms of some slots


class StoppingRule(Protocol):
    """Looks at an input's votes after given numbers of estimation draws.

    Attributes:
        looks: ascending; the last is the full number.
    """

    @property
    def looks(self) -> tuple[int, ...]:
        """See above."""
        ...

    def stops(self, counts: NDArray[np.int64], draws: int, accurate: NDArray[Any] | None) -> bool:
        """Whether the input needs no more draws.

        Args:
            counts: votes, shape (2, classes + 1): selection and estimation, the last column invalid; deferred draws are in
                none.
            draws: estimation draws so far, one of `looks`.
            accurate: the accurate model's probabilities, shape (classes,).
        """
        ...


@dataclass(frozen=True)
class DrawPlan:
    """How many draws of what kind every input gets.

    Attributes:
        num_classes: number of classes.
        num_selection: selection draws.
        looks: numbers of estimation draws after which an input may stop; the last is all of them.
        soft: keep histograms of the class probabilities too.
        on_invalid: what a non-finite output is: an "error", or "count"ed as a vote against.
        purposes: noise streams of the two stages.
        confidence: of a draw that counts; None counts all.
    """

    num_classes: int
    num_selection: int
    looks: tuple[int, ...]
    soft: bool = False
    on_invalid: Literal["error", "count"] = "error"
    purposes: tuple[Purpose, Purpose] = ("selection", "estimation")
    confidence: float | None = None


@dataclass
class _Input:
    """An input that is open, or finished and not yet handed over."""

    index: int
    label: int
    clean: torch.Tensor
    accurate: torch.Tensor | None
    seconds: float = 0.0
    draws: int = 0  # of the estimation, when finished


@dataclass(frozen=True)
class _Arrival:
    """What a pass completed, on its way to the host: looks at open inputs, and inputs that are finished."""

    looks: list[Work]
    finished: list[_Input]
    counts: HostCopy  # of the looks, then of the finished
    accurate: HostCopy | None  # likewise
    soft: SentHistograms | None  # of the finished


@dataclass
class DrawLoop:
    """Draws the votes of a data set's inputs.

    Attributes:
        robust, accurate: models in eval mode on `device`.
        dataset: inputs and labels.
        plan: see `DrawPlan`.
        noise: adds the noise of an address.
        device: where the models run.
        batch: rows of every pass.
        stopping: decides at the plan's looks which inputs stop; None draws all.
        between_passes: called after every pass with `partials`, to store what is under way when it is time.
    """

    robust: torch.nn.Module
    accurate: torch.nn.Module | None
    dataset: Dataset
    plan: DrawPlan
    noise: Noise
    device: torch.device
    batch: int
    stopping: StoppingRule | None = None
    between_passes: Callable[[Callable[[], list[PartialRecord]]], None] | None = None
    _inputs: dict[int, _Input] = field(default_factory=dict)  # by slot
    _arriving: deque[_Arrival] = field(default_factory=deque)

    def __post_init__(self) -> None:
        slots = min(_SLOTS, len(self.dataset))
        plan = self.plan
        self._planner = PassPlanner(self.batch, slots, plan.num_selection, plan.looks, choice_first=plan.soft)
        self._counter = VoteCounter(
            slots,
            plan.num_classes,
            plan.num_selection,
            soft=plan.soft,
            device=self.device,
            confidence=plan.confidence,
        )
        self._spare = slots
        self._allocate()

    def _allocate(self) -> None:
        self._buffer = input_buffer(self.robust, (self.batch, *self.dataset.input_shape), self.device)
        self._slot = torch.full((self.batch,), self._spare, dtype=torch.int64, device=self.device)
        self._stage = torch.full((self.batch,), ESTIMATION, dtype=torch.int64, device=self.device)

    @torch.inference_mode()
    def records(self, positions: Iterator[int], partial: dict[int, PartialRecord]) -> Iterator[InputRecord]:
        """One record per input at these positions, roughly in order.

        Args:
            positions: in the data set; the next one is taken when there is room for it.
            partial: draws of some of them that were stored before, by index.
        """

        def begin(work: Work) -> bool:
            position = next(positions, None)
            if position is not None:
                self._begin(work, position, partial)
            return position is not None

        while True:
            while len(self._arriving) > self._ahead():
                yield from self._arrive(self._arriving.popleft())
            started = time.perf_counter()
            segments = self._planner.plan(begin)
            if not segments and not self._arriving:
                break
            if not segments:
                yield from self._arrive(self._arriving.popleft())
                continue
            logits = self._forward(segments)
            if logits is None:
                self._shrink(segments)
                continue
            self._count(logits, segments)
            self._share_seconds(segments, time.perf_counter() - started)
            self._advance(segments)
            if self.between_passes is not None:
                self.between_passes(self.partials)

    def _ahead(self) -> int:
        """How many passes a device may be ahead of what the host has read: none where reading is what fills the next."""
        return 0 if self.device.type == "cpu" or self._planner.starved else 1

    def _begin(self, work: Work, position: int, partial: dict[int, PartialRecord]) -> None:
        clean, label = self.dataset[position]
        index = int(self.dataset.indices[position])
        self.noise.accept(clean, index)
        clean = to_device(clean.float(), self.device)
        self._inputs[work.slot] = _Input(index, label, clean.reshape(-1), self._accurate_probabilities(clean))
        self._counter.clear(work.slot)
        if index in partial:
            self._restore(work, partial[index])

    def _forward(self, segments: list[Segment]) -> torch.Tensor | None:
        """Noise and forward pass; None where memory does not hold it. On a GPU the host does not wait for any of it."""
        try:
            self._fill(segments)
            logits: torch.Tensor = self.robust(self._buffer)
        except torch.cuda.OutOfMemoryError:
            return None  # and not handled here, where the exception still holds what the pass had allocated
        return logits

    def _fill(self, segments: list[Segment]) -> None:
        """Write the noisy inputs of a pass."""
        self._slot[segments[-1].end :] = self._spare
        for part in segments:
            rows, owner = self._buffer[part.begin : part.end], self._inputs[part.work.slot]
            purpose = self.plan.purposes[part.stage]
            self.noise.add_to(rows, owner.clean, index=owner.index, purpose=purpose, start=part.first_draw)
            self._slot[part.begin : part.end] = part.work.slot
            self._stage[part.begin : part.end] = part.stage

    def _count(self, logits: torch.Tensor, segments: list[Segment]) -> None:
        probabilities = self._counter.count(logits, self._slot, self._stage)
        if self.plan.soft:
            for part in segments:
                if part.stage == SELECTION:
                    self._counter.keep(probabilities[part.begin : part.end], part.work.slot, part.first_draw)

    def _shrink(self, segments: list[Segment]) -> None:
        """Half the rows per pass, after a pass that did not fit into memory; its draws are planned again."""
        if self.batch == 1:
            raise SamplingError(NO_MEMORY)
        self._planner.shrink(segments)
        if self.noise.audit is not None:
            self.noise.audit.forget_repeats()
        self.batch = self._planner.rows
        torch.cuda.empty_cache()
        self._allocate()

    def _share_seconds(self, segments: list[Segment], seconds: float) -> None:
        for part in segments:
            self._inputs[part.work.slot].seconds += seconds * (part.end - part.begin) / segments[-1].end

    def _advance(self, segments: list[Segment]) -> None:
        """Move the inputs whose request is complete to their next stage, or send for the counts that decide on them."""
        looks: list[Work] = []
        finished: list[Work] = []
        for work in {part.work.slot: part.work for part in segments}.values():
            if work.wanted:
                continue
            if work.stage == SELECTION:
                self._counter.choose(work.slot)
                self._planner.estimate(work)
            elif work.next_draw < self.plan.looks[-1] and self.stopping is not None:
                looks.append(work)
            elif not self._planner.go_on(work):
                finished.append(work)
        if looks or finished:
            self._arriving.append(self._send(looks, finished))

    def _send(self, looks: list[Work], finished: list[Work]) -> _Arrival:
        """Send counts to the host, behind the passes so far; the slots of what is finished are free for passes to come."""
        slots = [work.slot for work in (*looks, *finished)]
        owners = [self._inputs[slot] for slot in slots]
        accurate = [owner.accurate for owner in owners if owner.accurate is not None]
        arrival = _Arrival(
            looks=looks,
            finished=owners[len(looks) :],
            counts=HostCopy(torch.stack([self._counter.hard[slot] for slot in slots])),
            accurate=HostCopy(torch.stack(accurate)) if accurate else None,
            soft=self._send_soft(slots[len(looks) :]) if self.plan.soft and finished else None,
        )
        for work in finished:
            self._close(work)
        return arrival

    def _close(self, work: Work) -> None:
        self._inputs.pop(work.slot).draws = work.next_draw
        self._planner.close(work)
        self._planner.release(work.slot)

    def _send_soft(self, slots: list[int]) -> SentHistograms:
        """Class, rivals and histograms of some slots."""
        counter = self._counter
        bins = [torch.stack([counter.bin_counts[slot], counter.bin_sums[slot]], dim=-1).view(-1) for slot in slots]
        tops, rivals = ([tensor[slot] for slot in slots] for tensor in (counter.top, counter.rivals))
        return HostCopy(torch.stack(tops)), HostCopy(torch.stack(rivals)), HostCopy(torch.stack(bins))

    def _arrive(self, arrival: _Arrival) -> Iterator[InputRecord]:
        """Decide on the inputs at a look, and hand over the finished; the only place where the host waits for a device."""
        counts = arrival.counts.numpy()
        accurate = [None] * len(counts) if arrival.accurate is None else list(arrival.accurate.numpy())
        soft = [None] * len(arrival.finished) if arrival.soft is None else [*_soft_rows(arrival.soft)]
        self.noise.check()
        done = len(arrival.looks)
        for work, hard, g in zip(arrival.looks, counts[:done], accurate[:done], strict=True):
            if self._stops(work, hard, g):
                owner = self._inputs[work.slot]
                self._close(work)
                yield self._record(owner, hard, g, None)
            else:
                self._planner.go_on(work)
        for owner, hard, g, row in zip(arrival.finished, counts[done:], accurate[done:], soft, strict=True):
            yield self._record(owner, hard, g, row)

    def _stops(self, work: Work, hard: NDArray[np.int64], accurate: NDArray[Any] | None) -> bool:
        assert self.stopping is not None
        if hard[:, -1].any() and self.plan.on_invalid == "error":
            return True  # `_record` names the input
        return self.stopping.stops(hard, work.next_draw, accurate)

    def _record(
        self, owner: _Input, counts: NDArray[np.int64], accurate: NDArray[Any] | None, soft: SoftRow | None
    ) -> InputRecord:
        counts = counts.copy()  # records that share torch's memory keep much more of it
        invalid = counts[:, -1]
        if invalid.any() and self.plan.on_invalid == "error":
            raise SamplingError(
                f"model output must be finite, got NaN or infinity in {int(invalid.sum())} of {int(counts.sum())} draws "
                f"at input {owner.index}; mend the model, or count them as votes against it with --on-invalid count."
            )
        if accurate is not None and not np.isfinite(accurate).all():
            raise SamplingError(
                f"the accurate model's output must be finite, got NaN or infinity at input {owner.index}."
            )
        return InputRecord(
            index=owner.index,
            label=owner.label,
            selection_counts=counts[SELECTION, :-1],
            estimation_counts=counts[ESTIMATION, :-1],
            selection_invalid=int(invalid[SELECTION]),
            estimation_invalid=int(invalid[ESTIMATION]),
            accurate_probabilities=None if accurate is None else accurate.copy(),
            seconds=owner.seconds,
            soft=soft,
            estimation_deferred=owner.draws - int(counts[ESTIMATION].sum()),
        )

    def _accurate_probabilities(self, clean: torch.Tensor) -> torch.Tensor | None:
        if self.accurate is None:
            return None
        return torch.softmax(self.accurate(clean.unsqueeze(0)).double(), dim=1)[0].float()

    def partials(self) -> list[PartialRecord]:
        """The state of every open input whose estimation is under way, between two passes."""
        made = []
        for work in self._planner.open:
            if work.stage == ESTIMATION and work.next_draw:
                owner = self._inputs[work.slot]
                soft = _soft_rows(self._send_soft([work.slot]))[0] if self.plan.soft else None
                counts = self._counter.hard[work.slot].cpu().numpy()
                made.append(PartialRecord(owner.index, work.next_draw, owner.seconds, counts, soft))
        return made

    def _restore(self, work: Work, state: PartialRecord) -> None:
        self._inputs[work.slot].seconds = state.seconds
        self._planner.resume(work, state.draws)
        self._counter.hard[work.slot] = torch.from_numpy(state.counts).to(self.device)
        if state.soft is not None:
            top, rivals, packed = state.soft
            bins = torch.from_numpy(packed.copy()).to(self.device).view(*self._counter.bin_counts.shape[1:], 2)
            self._counter.top[work.slot] = top
            self._counter.rivals[work.slot] = torch.from_numpy(rivals.copy()).to(self.device)
            self._counter.bin_counts[work.slot], self._counter.bin_sums[work.slot] = bins[..., 0], bins[..., 1]


def _soft_rows(sent: SentHistograms) -> list[SoftRow]:
    """A row per slot of `DrawLoop._send_soft`, in memory of its own."""
    top, rivals, packed = (copy.numpy() for copy in sent)
    return [(int(t), r.copy(), p.copy()) for t, r, p in zip(top, rivals, packed, strict=True)]
