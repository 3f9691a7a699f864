"""The pass planner: whatever happens, every draw is planned exactly once."""

import itertools
from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from certmix.sampling.planner import ESTIMATION, SELECTION, PassPlanner
from tests.strategies import seeded


@seeded
@given(
    rows=st.integers(1, 40),
    slots=st.integers(1, 5),
    selection=st.integers(1, 12),
    steps=st.lists(st.integers(1, 25), min_size=1, max_size=4),
    inputs=st.integers(0, 9),
    choice_first=st.booleans(),
    data=st.data(),
)
def test_every_draw_of_every_input_exactly_once(rows, slots, selection, steps, inputs, choice_first, data):
    looks = tuple(sum(steps[: i + 1]) for i in range(len(steps)))
    planner = PassPlanner(rows, slots, selection, looks, choice_first=choice_first)
    waiting, owner, drawn, stopped, passes = list(range(inputs)), {}, Counter(), {}, []
    resumed = {
        i: data.draw(st.integers(1, looks[-1] - 1)) for i in waiting if looks[-1] > 1 and data.draw(st.booleans())
    }

    def begin(work):
        if not waiting:
            return False
        owner[work.slot] = waiting.pop(0)
        if owner[work.slot] in resumed:
            planner.resume(work, resumed[owner[work.slot]])
        return True

    while segments := planner.plan(begin):
        size = planner.rows
        assert segments[0].begin == 0
        assert all(one.end == other.begin for one, other in itertools.pairwise(segments))
        assert segments[-1].end <= size
        if size > 1 and data.draw(st.integers(0, 9)) == 0:
            planner.shrink(segments)  # it did not fit into memory
            continue
        passes.append(segments[-1].end == size)
        for part in segments:
            for draw in range(part.first_draw, part.first_draw + part.end - part.begin):
                drawn[owner[part.work.slot], part.stage, draw] += 1
        for work in {part.work.slot: part.work for part in segments}.values():
            if work.wanted:
                continue
            if work.stage == SELECTION:
                planner.estimate(work)
            elif data.draw(st.booleans()) or not planner.go_on(work):
                stopped[owner[work.slot]] = work.next_draw
                planner.close(work)
                planner.release(work.slot)
    assert not planner.open
    assert sorted(stopped) == list(range(inputs))
    assert set(drawn.values()) <= {1}
    for number, draws in stopped.items():
        assert draws in looks
        first = resumed.get(number, 0)
        assert {d for i, stage, d in drawn if (i, stage) == (number, ESTIMATION)} == set(range(first, draws))
        taken = {d for i, stage, d in drawn if (i, stage) == (number, SELECTION)}
        assert taken == (set() if number in resumed else set(range(selection)))
    if slots > inputs and not choice_first and len(looks) == 1:
        assert all(passes[:-1])  # nothing is padded but the last pass
