"""Hypothesis strategies for what the maths half takes, extremes included, and one settings object for seeded runs."""

from hypothesis import settings
from hypothesis import strategies as st

seeded = settings(derandomize=True, deadline=None, database=None, max_examples=300)

BELOW_ONE = 1.0 - 2.0**-53

_exponents = st.floats(-16.0, -0.31)
_near_zero = _exponents.map(lambda e: 10.0**e)
_near_one = _near_zero.map(lambda tail: min(1.0 - tail, BELOW_ONE))
_unit = st.floats(0.0, 1.0)

top_lowers = st.one_of(
    st.floats(0.0, BELOW_ONE), st.floats(0.5, BELOW_ONE), _near_one, _near_zero, st.sampled_from([0.0, 0.5, BELOW_ONE])
)
rival_uppers = st.one_of(
    st.floats(0.0, 1.0, exclude_min=True), _near_zero, _near_one, st.sampled_from([5e-324, 1e-300, 0.5, 1.0])
)
mixing_weights = st.one_of(
    _unit, st.floats(0.5, 1.0), _near_zero.map(lambda d: 0.5 + d / 2), _near_one, st.sampled_from([0.0, 0.5, 1.0])
)
sigmas = st.one_of(st.floats(0.05, 4.0), st.sampled_from([1e-150, 1e-6, 1.0, 1e150]))


@st.composite
def certifiable_bounds(draw: st.DrawFn) -> tuple[float, float, float]:
    """(top_lower, rival_upper, mixing_weight), usually with a positive margin: the weight is placed above its limit."""
    top = draw(st.one_of(st.floats(0.5, BELOW_ONE), _near_one, _near_zero))
    rival = min(max(top * draw(st.one_of(_unit, _near_zero, _near_one)), 5e-324), 1.0)
    limit = 1.0 / (1.0 + max(top - min(rival, 1.0 - top), 0.0))
    return top, rival, min(limit + (1.0 - limit) * draw(st.one_of(_unit, _near_zero, _near_one)), 1.0)
