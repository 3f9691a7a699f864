"""The attack loop against closed forms on linear objectives, and its refusals."""

import pytest
import torch

from certmix.attacks import NORMS, get_norm, pgd
from certmix.errors import InvalidArgument

DUAL = {"l1": float("inf"), "l2": 2, "linf": 1}


def _seeded(seed):
    return torch.Generator().manual_seed(seed)


@pytest.mark.parametrize("random_start", [True, False])
@pytest.mark.parametrize("norm", NORMS)
def test_linear_objectives_reach_the_dual_norm(norm, random_start):
    slope = torch.randn(12, 3, 5, generator=_seeded(0))
    radius = torch.linspace(0.0, 2.0, 12)
    result = pgd(
        lambda x: (slope * x).flatten(1).sum(dim=1),
        torch.zeros(12, 3, 5),
        norm=norm,
        attack_radius=radius,
        steps=60,
        clip=None,
        random_start=random_start,
        generator=_seeded(1),
    )
    exact = radius * torch.linalg.vector_norm(slope.flatten(1), ord=DUAL[norm], dim=1)
    torch.testing.assert_close(result.objective, exact, rtol=2e-3, atol=1e-6)
    assert (result.objective <= exact * (1 + 1e-5) + 1e-6).all()
    assert (get_norm(norm).length(result.inputs) <= radius * (1 + 1e-5)).all()


def _boxed_l1(slope, start, radius):
    """Greedy: spend the budget on the steepest coordinates first, each up to its face of the box."""
    room = torch.where(slope > 0, 1 - start, start)
    order = slope.abs().argsort(descending=True)
    spent = torch.minimum(room[order], (radius - room[order].cumsum(0) + room[order]).clamp_min(0))
    return float((slope @ start) + (slope.abs()[order] * spent).sum())


def _boxed_l2(slope, start, radius):
    """Lagrange: the step is slope / multiplier, cut at the box; the multiplier by bisection."""
    low, high = 1e-6, 1e6
    for _ in range(200):
        middle = (low * high) ** 0.5
        moved = (start + slope / middle).clamp(0, 1)
        low, high = (middle, high) if (moved - start).norm() > radius else (low, middle)
    return float(slope @ (start + slope / high).clamp(0, 1))


@pytest.mark.parametrize("norm, exact", [("l1", _boxed_l1), ("l2", _boxed_l2)])
def test_linear_objectives_in_a_box(norm, exact):
    slope, start = torch.randn(10, 20, generator=_seeded(2)), torch.rand(10, 20, generator=_seeded(3))
    for radius in (0.3, 1.0, 1.7):
        result = pgd(
            lambda x: (slope * x).sum(dim=1), start, norm=norm, attack_radius=radius, steps=300, generator=_seeded(4)
        )
        truth = torch.tensor([exact(slope[i].double(), start[i].double(), radius) for i in range(10)])
        gain = truth - (slope * start).sum(dim=1)
        assert (result.objective <= truth + 1e-4).all()
        assert (result.objective >= truth - (0.02 if norm == "l1" else 0.001) * gain).all()


def test_boxed_linf_is_exact():
    slope, start = torch.randn(10, 20, generator=_seeded(5)), torch.rand(10, 20, generator=_seeded(6))
    result = pgd(lambda x: (slope * x).sum(dim=1), start, norm="linf", attack_radius=0.4, generator=_seeded(7))
    worst = (slope * (start + 0.4 * slope.sign()).clamp(0, 1)).sum(dim=1)
    torch.testing.assert_close(result.objective, worst)


def test_success_is_kept_and_recomputed():
    start = torch.zeros(3, 2)

    def objective(x):
        return x[:, 0] - 3 * (x[:, 0] > 0.5) * x[:, 0]  # the objective falls where success begins

    def succeeded(x):
        return x[:, 0] > 0.5

    radius = torch.tensor([0.4, 0.6, 1.0])
    result = pgd(
        objective, start, norm="linf", attack_radius=radius, clip=None, restarts=3, generator=_seeded(8),
        succeeded=succeeded,
    )  # fmt: skip
    assert result.succeeded.tolist() == [False, True, True]
    assert torch.equal(result.succeeded, succeeded(result.inputs))
    assert torch.equal(result.objective, objective(result.inputs))


def test_all_succeeded_needs_no_steps():
    calls = []

    def objective(x):
        calls.append(len(x))
        return x.sum(dim=1)

    result = pgd(
        objective, torch.zeros(2, 2), norm="l2", attack_radius=1.0, restarts=5,
        succeeded=lambda x: torch.ones(len(x), dtype=torch.bool),
    )  # fmt: skip
    assert result.succeeded.all()
    assert len(calls) == 2  # at the input, and again on the result


def test_vanishing_gradients_keep_their_direction():
    slope = torch.tensor([[3.0, 4.0]]) * 1e-30
    result = pgd(lambda x: (slope * x).sum(dim=1), torch.zeros(1, 2), norm="l2", attack_radius=1.0, steps=60, clip=None,
                 generator=_seeded(0))  # fmt: skip
    torch.testing.assert_close(result.inputs, torch.tensor([[0.6, 0.8]]), rtol=0, atol=1e-2)


def test_same_generator_same_result():
    def attack(seed):
        return pgd(lambda x: (x**2).sum(dim=1), torch.full((4, 6), 0.5), norm="l1", attack_radius=0.7, steps=3,
                   generator=_seeded(seed)).inputs  # fmt: skip

    assert torch.equal(attack(1), attack(1))
    assert not torch.equal(attack(1), attack(2))


@pytest.mark.parametrize("norm", NORMS)
def test_projection_is_the_nearest_point(norm):
    ball = get_norm(norm)
    moved = 2 * torch.randn(50, 6, generator=_seeded(9))
    radius = torch.rand(50, generator=_seeded(10)) * 2
    near = ball.project(moved, radius)
    assert (ball.length(near) <= radius * (1 + 1e-5)).all()
    inside = ball.length(moved) <= radius
    assert torch.equal(near[inside], moved[inside])
    for seed in range(20):  # (moved - near).(other - near) <= 0 for every other point of the ball
        other = ball.uniform(moved, radius, _seeded(100 + seed))
        assert (ball.length(other) <= radius * (1 + 1e-5)).all()
        assert (((moved - near) * (other - near)).sum(dim=1) <= 1e-4).all()


@pytest.mark.parametrize("norm, mean", [("l1", 6 / 7), ("l2", 6 / 7), ("linf", 6 / 7)])
def test_starts_are_uniform(norm, mean):
    ball = get_norm(norm)
    drawn = ball.uniform(torch.zeros(20_000, 6), torch.ones(20_000), _seeded(11))
    assert float(ball.length(drawn).mean()) == pytest.approx(mean, abs=4 * 0.124 / 20_000**0.5)
    assert float(drawn.mean()) == pytest.approx(0, abs=0.01)


def test_bad_input_is_named():
    inputs = torch.full((2, 3), 0.5)

    def objective(x):
        return x.sum(dim=1)

    good = {"norm": "l2", "attack_radius": 0.5}
    for change, message in [
        ({"norm": "l_2"}, "norm must be one of l2, linf, l1, got 'l_2'; did you mean l2?"),
        ({"attack_radius": -1.0}, "attack_radius must be >= 0 and finite (pixel units), got -1.0."),
        ({"attack_radius": torch.ones(3)}, "attack_radius must be one number or shape (2,), got shape (3,)."),
        ({"step_size": float("nan")}, "step_size must be >= 0 and finite (pixel units), got nan."),
        ({"steps": 0}, "steps must be >= 1, got 0."),
        ({"schedule": "quick"}, "schedule must be one of constant, linear, cosine, got 'quick'."),
        ({"restarts": 0}, "restarts must be >= 1, and 1 without a random start, got 0."),
        ({"restarts": 2, "random_start": False}, "restarts must be >= 1, and 1 without a random start, got 2."),
        ({"clip": (0.6, 1.0)}, "inputs must be inside clip=(0.6, 1.0), got [0.5, 0.5]"),
    ]:
        with pytest.raises(InvalidArgument) as error:
            pgd(objective, inputs, **{**good, **change})
        assert message in str(error.value)
    for bad, message in [
        (lambda x: x.sum(), "objective must have shape (2,), one per input, got ()."),
        (lambda x: x[:, 0] * float("nan"), "objective must not be NaN, but is at row 0"),
        (lambda x: torch.ones(2), "objective must be differentiable in the inputs"),
    ]:
        with pytest.raises(InvalidArgument) as error:
            pgd(bad, inputs, **good)
        assert message in str(error.value)
    with pytest.raises(InvalidArgument, match="inputs must be floating point"):
        pgd(objective, inputs.long(), **good)
