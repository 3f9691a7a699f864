"""Which draws go into which forward pass: every draw of every input exactly once. No model, no tensor.

A pass is filled from the oldest open input first and topped up with the next ones, so that no pass is padded but the
last, whatever the numbers of draws.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

SELECTION, ESTIMATION = 0, 1


@dataclass
class Work:
    """An input whose draws are under way.

    Attributes:
        slot: number that no other open input has.
        stage: SELECTION or ESTIMATION.
        next_draw: the first draw of this stage that no pass has taken.
        until: draws of this stage that may be taken now.
    """

    slot: int
    stage: int
    next_draw: int
    until: int

    @property
    def wanted(self) -> int:
        """Draws that it can take now."""
        return self.until - self.next_draw


@dataclass(frozen=True)
class Segment:
    """Draws first_draw, first_draw + 1, ... of one input, in rows begin to end of a pass."""

    work: Work
    stage: int
    first_draw: int
    begin: int
    end: int
    until: int


@dataclass
class PassPlanner:
    """Plans passes of one size.

    Args:
        rows: of a pass.
        slots: inputs open at the same time, at most.
        num_selection: selection draws per input; 0 where the estimation takes all values of the noise.
        looks: numbers of estimation draws after which an input may stop, ascending; the last is all of them.
        choice_first: an input's estimation draws wait until its selection draws have been seen.
    """

    rows: int
    slots: int
    num_selection: int
    looks: tuple[int, ...]
    choice_first: bool = False
    open: list[Work] = field(default_factory=list)
    _free: list[int] = field(default_factory=list)
    _ended: bool = False  # there are no more inputs

    def __post_init__(self) -> None:
        self._free = list(range(self.slots))[::-1]

    def plan(self, begin: Callable[[Work], bool]) -> list[Segment]:
        """The segments of the next pass, which fill its rows from 0 on; none where nothing is left to draw.

        Args:
            begin: called with a new input's work when there is room for one; it may move `stage` and `next_draw` on by
                `resume`. False: there are no more inputs.
        """
        segments: list[Segment] = []
        row, place = 0, 0
        while row < self.rows:
            if place == len(self.open) and not self._begin(begin):
                break
            work = self.open[place]
            while work.wanted and row < self.rows:
                taken = min(work.wanted, self.rows - row)
                segments.append(Segment(work, work.stage, work.next_draw, row, row + taken, work.until))
                work.next_draw += taken
                row += taken
                if work.stage == SELECTION and not work.wanted and not self.choice_first:
                    self.estimate(work)
            place += 1
        return segments

    @property
    def starved(self) -> bool:
        """Whether the next pass could not be filled now: looks are undecided, and no further input can be opened."""
        return (not self._free or self._ended) and sum(work.wanted for work in self.open) < self.rows

    def _begin(self, begin: Callable[[Work], bool]) -> bool:
        if not self._free:
            return False
        work = Work(self._free[-1], SELECTION, 0, self.num_selection)
        if not begin(work):
            self._ended = True
            return False
        self._free.pop()
        self.open.append(work)
        if not work.until:  # no selection draws
            self.estimate(work)
        return True

    def resume(self, work: Work, draws: int) -> None:
        """Go on after so many estimation draws that were stored before."""
        work.stage, work.next_draw = ESTIMATION, draws
        work.until = next(look for look in self.looks if look > draws)

    def estimate(self, work: Work) -> None:
        """The selection draws are all taken: the estimation draws come next."""
        self.resume(work, 0)

    def go_on(self, work: Work) -> bool:
        """Draw up to the next look; False where the last one is reached."""
        if work.next_draw == self.looks[-1]:
            return False
        self.resume(work, work.next_draw)
        return True

    def close(self, work: Work) -> None:
        """Take no more draws of an input; its slot stays taken until `release`."""
        self.open.remove(work)

    def release(self, slot: int) -> None:
        """A slot may be used again."""
        self._free.append(slot)

    def shrink(self, segments: list[Segment]) -> None:
        """Half the rows from now on; the draws of a pass that failed are planned again."""
        for part in reversed(segments):
            part.work.stage, part.work.next_draw, part.work.until = part.stage, part.first_draw, part.until
        self.rows //= 2
