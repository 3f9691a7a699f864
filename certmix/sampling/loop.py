"""The draw loop: packs the draws of several inputs into passes of one fixed shape, and counts the votes on the device.

A pass is filled from the oldest open input first and topped up with the next ones, so that no pass is padded but the
last, whatever the numbers of draws; every draw's noise depends on its address alone, so packing changes no result.
"""

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from certmix.datasets import Dataset
from certmix.errors import SamplingError
from certmix.noise import Noise, Purpose
from certmix.runs.records import InputRecord, PartialRecord, SoftRow
from certmix.sampling.counting import ESTIMATION, SELECTION, VoteCounter

_PURPOSES: tuple[Purpose, Purpose] = ("selection", "estimation")
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
            counts: votes, shape (2, classes + 1): selection and estimation, the last column invalid.
            draws: estimation draws so far, one of `looks`.
            accurate: the accurate model's probabilities, shape (classes,).
        """
        ...


@dataclass
class _Open:
    """An input whose draws are under way."""

    slot: int
    index: int
    label: int
    clean: torch.Tensor
    accurate: torch.Tensor | None
    stage: int = SELECTION
    next_draw: int = 0
    until: int = 0
    seconds: float = 0.0

    @property
    def wanted(self) -> int:
        """Draws that it can take now."""
        return self.until - self.next_draw


@dataclass(frozen=True)
class _Segment:
    """Consecutive draws of one input in consecutive rows of a pass."""

    owner: _Open
    stage: int
    first_draw: int
    begin: int
    end: int
    until: int


@dataclass
class DrawLoop:
    """Draws the votes of a data set's inputs.

    Attributes:
        robust, accurate: models in eval mode on `device`.
        dataset: inputs and labels.
        draws: what defines the draws: the manifest's "draws".
        noise: adds the noise of an address.
        device: where the models run.
        batch: rows of every pass.
        schedule: looks at which an input may stop; None draws all.
        between_passes: called after every pass with `partials`, to store what is under way when it is time.
    """

    robust: torch.nn.Module
    accurate: torch.nn.Module | None
    dataset: Dataset
    draws: dict[str, Any]
    noise: Noise
    device: torch.device
    batch: int
    schedule: StoppingRule | None = None
    between_passes: Callable[[Callable[[], list[PartialRecord]]], None] | None = None
    _open: list[_Open] = field(default_factory=list)
    _finished: list[_Open] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.soft = self.draws["votes"] != "hard"
        self.num = (self.draws["num_selection"], self.draws["num_estimation"])
        size = math.prod(self.dataset.input_shape)
        slots = min(_SLOTS, len(self.dataset))
        self._counter = VoteCounter(
            slots, self.draws["num_classes"], self.num[SELECTION], soft=self.soft, device=self.device
        )
        self._free = list(range(slots))[::-1]
        self._spare = slots
        self._size = size
        self._allocate()

    def _allocate(self) -> None:
        self._buffer = torch.zeros(self.batch, self._size, dtype=torch.float32, device=self.device)
        self._slot = torch.full((self.batch,), self._spare, dtype=torch.int64, device=self.device)
        self._stage = torch.full((self.batch,), ESTIMATION, dtype=torch.int64, device=self.device)

    @torch.inference_mode()
    def records(self, positions: Iterator[int], partial: dict[int, PartialRecord]) -> Iterator[InputRecord]:
        """One record per input at these positions, roughly in order.

        Args:
            positions: in the data set; the next one is taken when there is room for it.
            partial: draws of some of them that were stored before, by index.
        """
        while True:
            started = time.perf_counter()
            segments = self._plan(positions, partial)
            if not segments and not self._open:
                break
            try:
                logits = self._forward(segments)
            except torch.cuda.OutOfMemoryError:
                self._shrink(segments)
                continue
            self._count(logits, segments)
            self._share_seconds(segments, time.perf_counter() - started)
            self._advance(segments)
            if self._finished and (self.device.type == "cpu" or len(self._finished) >= _HARVEST or not self._open):
                yield from self._harvest()
            if self.between_passes is not None:
                self.between_passes(self.partials)

    def _plan(self, positions: Iterator[int], partial: dict[int, PartialRecord]) -> list[_Segment]:
        """Fill one pass; opens inputs as long as there is room."""
        segments: list[_Segment] = []
        begin, place = 0, 0
        while begin < self.batch:
            if place == len(self._open):
                position = next(positions, None) if self._free else None
                if position is None:
                    break
                self._begin(position, partial)
            owner = self._open[place]
            while owner.wanted and begin < self.batch:
                rows = min(owner.wanted, self.batch - begin)
                segments.append(_Segment(owner, owner.stage, owner.next_draw, begin, begin + rows, owner.until))
                owner.next_draw += rows
                begin += rows
                if owner.stage == SELECTION and not owner.wanted and not self.soft:
                    self._estimate(owner)  # hard votes need no choice between the two
            place += 1
        return segments

    def _begin(self, position: int, partial: dict[int, PartialRecord]) -> None:
        clean, label = self.dataset[position]
        index = int(self.dataset.indices[position])
        self.noise.accept(clean, index)
        clean = clean.to(self.device, torch.float32)
        owner = _Open(self._free.pop(), index, label, clean.reshape(-1), self._accurate_probabilities(clean))
        owner.until = self.num[SELECTION]
        self._counter.clear(owner.slot)
        if index in partial:
            self._restore(owner, partial[index])
        self._open.append(owner)

    def _estimate(self, owner: _Open) -> None:
        owner.stage, owner.next_draw = ESTIMATION, 0
        owner.until = self.schedule.looks[0] if self.schedule else self.num[ESTIMATION]

    def _forward(self, segments: list[_Segment]) -> torch.Tensor:
        """Noise and forward pass. On a GPU the host does not wait for any of it."""
        self._slot[segments[-1].end :] = self._spare
        for part in segments:
            rows = self._buffer[part.begin : part.end]
            purpose = _PURPOSES[part.stage]
            self.noise.add_to(rows, part.owner.clean, index=part.owner.index, purpose=purpose, start=part.first_draw)
            self._slot[part.begin : part.end] = part.owner.slot
            self._stage[part.begin : part.end] = part.stage
        logits: torch.Tensor = self.robust(self._buffer.view(self.batch, *self.dataset.input_shape))
        return logits

    def _count(self, logits: torch.Tensor, segments: list[_Segment]) -> None:
        probabilities = self._counter.count(logits, self._slot, self._stage)
        if self.soft:
            for part in segments:
                if part.stage == SELECTION:
                    self._counter.keep(probabilities[part.begin : part.end], part.owner.slot, part.first_draw)

    def _shrink(self, segments: list[_Segment]) -> None:
        """Half the rows per pass, after a pass that did not fit into memory; its draws are planned again."""
        if self.batch == 1:
            raise SamplingError(
                "the model must fit into the GPU's memory with one input, and does not; use a smaller model or another "
                "--device."
            ) from None
        for part in reversed(segments):
            part.owner.stage, part.owner.next_draw = part.stage, part.first_draw
            part.owner.until = part.until
        if self.noise.audit is not None:
            self.noise.audit.forget_repeats()
        self.batch = self.batch // 2
        torch.cuda.empty_cache()
        self._allocate()

    def _share_seconds(self, segments: list[_Segment], seconds: float) -> None:
        for part in segments:
            part.owner.seconds += seconds * (part.end - part.begin) / segments[-1].end

    def _advance(self, segments: list[_Segment]) -> None:
        """Move the inputs whose request is complete to their next stage, look, or end."""
        for owner in {id(part.owner): part.owner for part in segments}.values():
            if owner.wanted:
                continue
            if owner.stage == SELECTION:
                self._counter.choose(owner.slot)
                self._estimate(owner)
            elif self.schedule is not None and not self._stops(owner):
                owner.until = next(look for look in self.schedule.looks if look > owner.next_draw)
            else:
                self._open.remove(owner)
                self._finished.append(owner)

    def _stops(self, owner: _Open) -> bool:
        assert self.schedule is not None
        hard = self._counter.hard[owner.slot].cpu().numpy()
        if hard[:, -1].any() and self.draws["on_invalid"] == "error":
            return True  # `_harvest` names the input
        accurate = None if owner.accurate is None else owner.accurate.cpu().numpy()
        return self.schedule.stops(hard, owner.next_draw, accurate)

    def _harvest(self) -> Iterator[InputRecord]:
        """Records of the finished inputs; the only place where the host waits for the device."""
        self.noise.check()
        slots = torch.tensor([owner.slot for owner in self._finished], device=self.device)
        # Copies: records that share torch's memory keep much more of it.
        hard = np.array(self._counter.hard[slots].cpu().numpy())
        soft = self._soft_rows(slots) if self.soft else [None] * len(hard)
        for owner, counts, row in zip(self._finished, hard, soft, strict=True):
            self._free.append(owner.slot)
            yield self._record(owner, counts, row)
        self._finished.clear()

    def _soft_rows(self, slots: torch.Tensor) -> list[SoftRow]:
        top, rivals = self._counter.top[slots].cpu().numpy(), self._counter.rivals[slots].cpu().numpy()
        bins = torch.stack([self._counter.bin_counts[slots], self._counter.bin_sums[slots]], dim=-1)
        packed = np.array(bins.reshape(len(slots), -1).cpu().numpy())
        return [(int(t), r, p) for t, r, p in zip(top, rivals, packed, strict=True)]

    def _record(self, owner: _Open, counts: NDArray[np.int64], soft: SoftRow | None) -> InputRecord:
        invalid = counts[:, -1]
        if invalid.any() and self.draws["on_invalid"] == "error":
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
        )

    def _accurate_probabilities(self, clean: torch.Tensor) -> torch.Tensor | None:
        if self.accurate is None:
            return None
        return torch.softmax(self.accurate(clean.unsqueeze(0)).double(), dim=1)[0].float()

    def partials(self) -> list[PartialRecord]:
        """The state of every open input whose estimation is under way, between two passes."""
        made = []
        for owner in self._open:
            if owner.stage == ESTIMATION and owner.next_draw:
                slot = torch.tensor([owner.slot], device=self.device)
                soft = self._soft_rows(slot)[0] if self.soft else None
                counts = self._counter.hard[owner.slot].cpu().numpy()
                made.append(PartialRecord(owner.index, owner.next_draw, owner.seconds, counts, soft))
        return made

    def _restore(self, owner: _Open, state: PartialRecord) -> None:
        owner.seconds = state.seconds
        self._estimate(owner)
        owner.next_draw = state.draws
        if self.schedule is not None:
            owner.until = next(look for look in self.schedule.looks if look > state.draws)
        self._counter.hard[owner.slot] = torch.from_numpy(state.counts).to(self.device)
        if self.soft and state.soft is not None:
            top, rivals, packed = state.soft
            bins = torch.from_numpy(packed.copy()).to(self.device).view(*self._counter.bin_counts.shape[1:], 2)
            self._counter.top[owner.slot] = top
            self._counter.rivals[owner.slot] = torch.from_numpy(rivals.copy()).to(self.device)
            self._counter.bin_counts[owner.slot], self._counter.bin_sums[owner.slot] = bins[..., 0], bins[..., 1]
