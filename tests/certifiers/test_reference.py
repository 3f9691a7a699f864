"""10,000 points, most of them extreme, against true roots in mpmath at 50 digits: never above, never 1e-9 below."""

import numpy as np
import pytest

from certmix.certifiers import CERTIFIERS
from tests.certifiers.reference import radii
from tests.strategies import BELOW_ONE


def extreme_points(count: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Bounds and weights of every kind: ordinary, at the limits, tiny, contradictory (p_A + p_B > 1), just certifiable."""
    rng = np.random.default_rng(20230129)

    def pick(*choices: np.ndarray) -> np.ndarray:
        return np.choose(rng.integers(len(choices), size=count), choices)

    def tiny(lowest: float) -> np.ndarray:
        return 10.0 ** rng.uniform(lowest, -0.31, count)

    top = pick(rng.uniform(0, 1, count), rng.uniform(0.5, 1, count), 1 - tiny(-15), tiny(-17), 1 - 1e-12 + 0 * tiny(-1))
    top = np.minimum(top, BELOW_ONE)
    rival = pick(
        1 - top, rng.uniform(0, 1, count), top * rng.uniform(0, 1, count), tiny(-16), tiny(-307), 1e-12 + 0 * top
    )
    rival = np.clip(rival, 5e-324, 1.0)
    limit = 1 / (1 + np.maximum(top - np.minimum(rival, 1 - top), 0))
    above = limit + (1 - limit) * pick(rng.uniform(0, 1, count), tiny(-13), 1 - tiny(-13))
    special = rng.choice([0.5, 1.0, BELOW_ONE, np.nextafter(0.5, 1), 0.5 + 1e-12, 1 - 1e-12, 0.3, 0.0], count)
    weight = np.clip(pick(above, above, above, rng.uniform(0.5, 1, count), special), 0.0, 1.0)
    return top, rival, weight


def test_points_include_the_extremes() -> None:
    top, rival, weight = extreme_points(10_000)
    assert (weight == 0.5).sum() > 100
    assert (weight == 1.0).sum() > 100
    assert (top == 1 - 1e-12).sum() > 1000
    assert (rival == 1e-12).sum() > 1000
    assert (top + rival > 1).sum() > 1000
    assert (top < 1e-6).sum() > 500
    assert (CERTIFIERS["exact"].radius(top, rival, weight, 1.0) > 0).sum() > 4000


@pytest.mark.slow
def test_never_above_mpmath_and_within_1e9() -> None:
    top, rival, weight = extreme_points(10_000)
    ours = {name: certifier.radius(top, rival, weight, 1.0) for name, certifier in CERTIFIERS.items()}
    for i in range(len(top)):
        point = float(top[i]), float(rival[i]), float(weight[i] or 0.25)  # the formula has no value at weight 0
        truth = radii(*point, start=float(ours["exact"][i]))
        for name, value in truth.items():
            radius = float(ours[name][i])
            assert radius <= value, (name, point, radius, value)
            assert value - radius <= 1e-9, (name, point, radius, value)


@pytest.mark.slow
def test_mpmath_roots_do_not_depend_on_where_the_search_starts() -> None:
    for point in zip(*(values[:300].tolist() for values in extreme_points(10_000)), strict=True):
        if point[2] > 0:
            near, far = (radii(*point, start=start)["exact"] for start in (0.1, 3.0))
            assert abs(near - far) < 1e-15
