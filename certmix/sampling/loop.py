"""The draw loop: planned passes through noise, model and counter; the counts are read when an input is done.

Every draw's noise depends on its address alone, so that how draws are packed into passes changes no result.
"""

import time
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
from certmix.runs.records import InputRecord, PartialRecord, SoftRow
from certmix.sampling.counting import VoteCounter
from certmix.sampling.planner import ESTIMATION, SELECTION, PassPlanner, Segment, Work

_SLOTS = 64  # inputs open at the same time, at most
_HARVEST = 16  # finished inputs whose counts are fetched from a GPU together


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
    _finished: list[int] = field(default_factory=list)  # slots

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
            started = time.perf_counter()
            segments = self._planner.plan(begin)
            if not segments and not self._planner.open:
                break
            try:
                logits = self._forward(segments)
            except torch.cuda.OutOfMemoryError:
                self._shrink(segments)
                continue
            self._count(logits, segments)
            self._share_seconds(segments, time.perf_counter() - started)
            self._advance(segments)
            if self._finished and (
                self.device.type == "cpu" or len(self._finished) >= _HARVEST or not self._planner.open
            ):
                yield from self._harvest()
            if self.between_passes is not None:
                self.between_passes(self.partials)

    def _begin(self, work: Work, position: int, partial: dict[int, PartialRecord]) -> None:
        clean, label = self.dataset[position]
        index = int(self.dataset.indices[position])
        self.noise.accept(clean, index)
        clean = clean.to(self.device, torch.float32)
        self._inputs[work.slot] = _Input(index, label, clean.reshape(-1), self._accurate_probabilities(clean))
        self._counter.clear(work.slot)
        if index in partial:
            self._restore(work, partial[index])

    def _forward(self, segments: list[Segment]) -> torch.Tensor:
        """Noise and forward pass. On a GPU the host does not wait for any of it."""
        self._slot[segments[-1].end :] = self._spare
        for part in segments:
            rows, owner = self._buffer[part.begin : part.end], self._inputs[part.work.slot]
            purpose = self.plan.purposes[part.stage]
            self.noise.add_to(rows, owner.clean, index=owner.index, purpose=purpose, start=part.first_draw)
            self._slot[part.begin : part.end] = part.work.slot
            self._stage[part.begin : part.end] = part.stage
        logits: torch.Tensor = self.robust(self._buffer)
        return logits

    def _count(self, logits: torch.Tensor, segments: list[Segment]) -> None:
        probabilities = self._counter.count(logits, self._slot, self._stage)
        if self.plan.soft:
            for part in segments:
                if part.stage == SELECTION:
                    self._counter.keep(probabilities[part.begin : part.end], part.work.slot, part.first_draw)

    def _shrink(self, segments: list[Segment]) -> None:
        """Half the rows per pass, after a pass that did not fit into memory; its draws are planned again."""
        if self.batch == 1:
            raise SamplingError(
                "the model must fit into the GPU's memory with one input, and does not; use a smaller model or another "
                "--device."
            ) from None
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
        """Move the inputs whose request is complete to their next stage, look, or end."""
        for work in {part.work.slot: part.work for part in segments}.values():
            if work.wanted:
                continue
            if work.stage == SELECTION:
                self._counter.choose(work.slot)
                self._planner.estimate(work)
            elif self._stops(work) or not self._planner.go_on(work):
                self._planner.close(work)
                self._inputs[work.slot].draws = work.next_draw
                self._finished.append(work.slot)

    def _stops(self, work: Work) -> bool:
        if self.stopping is None:
            return False
        hard = self._counter.hard[work.slot].cpu().numpy()
        if hard[:, -1].any() and self.plan.on_invalid == "error":
            return True  # `_harvest` names the input
        accurate = self._inputs[work.slot].accurate
        return self.stopping.stops(hard, work.next_draw, None if accurate is None else accurate.cpu().numpy())

    def _harvest(self) -> Iterator[InputRecord]:
        """Records of the finished inputs; the only place where the host waits for the device."""
        self.noise.check()
        slots = torch.tensor(self._finished, device=self.device)
        # Copies: records that share torch's memory keep much more of it.
        hard = np.array(self._counter.hard[slots].cpu().numpy())
        soft = self._soft_rows(slots) if self.plan.soft else [None] * len(hard)
        for slot, counts, row in zip(self._finished, hard, soft, strict=True):
            self._planner.release(slot)
            yield self._record(self._inputs.pop(slot), counts, row)
        self._finished.clear()

    def _soft_rows(self, slots: torch.Tensor) -> list[SoftRow]:
        top, rivals = self._counter.top[slots].cpu().numpy(), self._counter.rivals[slots].cpu().numpy()
        bins = torch.stack([self._counter.bin_counts[slots], self._counter.bin_sums[slots]], dim=-1)
        packed = np.array(bins.reshape(len(slots), -1).cpu().numpy())
        return [(int(t), r, p) for t, r, p in zip(top, rivals, packed, strict=True)]

    def _record(self, owner: _Input, counts: NDArray[np.int64], soft: SoftRow | None) -> InputRecord:
        invalid = counts[:, -1]
        if invalid.any() and self.plan.on_invalid == "error":
            raise SamplingError(
                f"model output must be finite, got NaN or infinity in {int(invalid.sum())} of {int(counts.sum())} draws "
                f"at input {owner.index}; mend the model, or count them as votes against it with --on-invalid count."
            )
        accurate = None if owner.accurate is None else owner.accurate.cpu().numpy()
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
            accurate_probabilities=accurate,
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
                owner, slot = self._inputs[work.slot], torch.tensor([work.slot], device=self.device)
                soft = self._soft_rows(slot)[0] if self.plan.soft else None
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
