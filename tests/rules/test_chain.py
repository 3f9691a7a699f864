"""Chains: brute force over half-spaces on a line, the recursion itself, and the rule that a chain contains."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special

from certmix.certifiers.envelope import EXACT, THEOREM_3_5
from certmix.errors import InvalidArgument
from certmix.rules.chain import chain_radius, chain_right, combine_nodes, firing_node, node_radii
from certmix.rules.threshold import threshold_radius
from tests.rules.scenes import along, random_bounds
from tests.strategies import rival_uppers, seeded, top_lowers

_nodes = st.lists(st.tuples(top_lowers, rival_uppers, top_lowers, st.floats(0.05, 2.0)), min_size=1, max_size=4)


def _chains(rng, nodes, count):
    """Nodes that are often another class's (p_A = 0), and thresholds near what they have to tell apart."""
    top, rival = random_bounds(rng, (nodes, count))
    top[0] = np.where(rng.random(count) < 0.5, rng.uniform(0.3, 0.7, count), top[0])
    rival = np.minimum(rival, 1 - top)
    other = rng.random((nodes, count)) < 0.25
    return np.where(other, 0.0, top), rival, rng.uniform(0.02, 0.98, nodes), rng.uniform(0.1, 1.5, nodes)


def _answers(top, rival, threshold, sigma, distance):
    """Whether the chain of half-spaces says y at the input moved by `distance`; ties and g are the adversary's."""
    says_y, open_ = np.zeros(distance.shape, dtype=bool), np.ones(distance.shape, dtype=bool)
    for p_a, p_b, c, s in zip(top, rival, threshold, sigma, strict=True):
        h_y, h_i = along(p_a, p_b, distance / s)
        fires = np.maximum(h_y, h_i) > c
        says_y |= open_ & fires & (h_y > h_i)
        open_ &= ~fires
    return says_y


@pytest.mark.parametrize("nodes", [1, 2, 3, 5])
def test_brute_force_over_half_spaces_on_a_line(nodes):
    """All nodes lean one way: the chain says y at every point inside the radius and not just outside."""
    rng = np.random.default_rng(nodes)
    positive = later = 0
    for _ in range(60):
        top, rival, threshold, sigma = _chains(rng, nodes, 100)
        radius = chain_radius(top, rival, threshold, sigma)
        for share in (-1, -0.4, 0, 0.2, 0.7, 0.97, 1 - 1e-9):
            inside = _answers(top, rival, threshold, sigma, share * radius)
            assert inside[radius > 0].all()
        assert not _answers(top, rival, threshold, sigma, radius * (1 + 1e-9) + 1e-9).any()
        first = threshold_radius(top[0], rival[0], threshold[0], sigma[0])
        positive, later = positive + (radius > 0).sum(), later + (radius > first).sum()
    assert positive > 500
    assert nodes == 1 or later > 300


def test_nodes_that_lean_different_ways_never_flip_inside():
    rng = np.random.default_rng(11)
    for _ in range(100):
        top, rival, threshold, sigma = _chains(rng, 3, 50)
        radius = chain_radius(top, rival, threshold, sigma)
        signed = sigma * rng.choice([-1, 1], 3)
        for share in np.linspace(-1, 1, 41) * (1 - 1e-9):
            assert _answers(top, rival, threshold, signed, share * radius)[radius > 0].all()


@seeded
@given(_nodes, st.floats(0, 6))
def test_the_certified_set_is_the_interval_from_0_to_the_radius(nodes, at):
    """The recursion, read literally at one radius, against the closed form."""

    def certified(nodes, r):
        if not nodes:
            return False
        p_a, p_b, c, s = nodes[0]
        low, high = float(EXACT.top(p_a, r, s)), float(EXACT.rival(min(p_b, 1 - p_a), r, s))
        return (low > c and low > high) or (high <= c and certified(nodes[1:], r))

    radius = float(chain_radius(*map(list, zip(*nodes, strict=True))))
    assert 0 <= radius < np.inf
    if certified(nodes, at):
        assert at <= radius * (1 + 1e-9) + 1e-9
        assert all(certified(nodes, share * at) for share in (0, 0.1, 0.5, 0.99))


@seeded
@given(_nodes)
def test_it_contains_the_constant_route_rule(nodes):
    """min(R_route, R_expert): up to R_route no node before j fires for any class; R_expert is node j's own radius."""
    top, rival, threshold, sigma = (np.array(values) for values in zip(*nodes, strict=True))
    own = threshold_radius(top, rival, threshold, sigma)
    # Upper bounds on y itself are at least p_A; the rule is at its best where they equal it.
    largest = np.maximum(np.maximum(top, np.minimum(rival, 1 - top)), 5e-324)
    quiet = EXACT.rival_radius(largest, threshold, sigma)
    for j in range(len(nodes)):
        route = min([np.inf, *quiet[:j].tolist()])
        assert chain_radius(top, rival, threshold, sigma) >= min(route, own[j]) * (1 - 1e-9)


@seeded
@given(_nodes, st.integers(0, 3), st.floats(0, 1))
def test_radii_increase_in_top_and_decrease_in_rival(nodes, which, share):
    top, rival, threshold, sigma = (np.array(values) for values in zip(*nodes, strict=True))
    which = min(which, len(nodes) - 1)
    here = float(chain_radius(top, rival, threshold, sigma))
    more, less = top.copy(), rival.copy()
    more[which] += (1 - 2**-53 - more[which]) * share
    less[which] = max(less[which] * share, 5e-324)
    assert here <= float(chain_radius(more, rival, threshold, sigma)) * (1 + 1e-9) + 1e-9
    assert here <= float(chain_radius(top, less, threshold, sigma)) * (1 + 1e-9) + 1e-9


def test_one_node_is_the_threshold_and_a_silent_first_node_costs_nothing():
    top, rival = random_bounds(np.random.default_rng(2), (1, 500))
    assert (chain_radius(top, rival, [0.4], [0.5]) == threshold_radius(top[0], rival[0], 0.4, 0.5)).all()
    # No class of the first node can reach .999 within 3 sigmas of .1; its own class does not matter.
    both = chain_radius([[0.0] * 500, top[0]], [[0.1] * 500, rival[0]], [0.999, 0.4], [1.0, 0.5])
    assert (both == chain_radius(top, rival, [0.4], [0.5])).all()


def test_a_chain_worked_by_hand():
    """Node 1 (sigma .25) is y's with .55, too little for c = .7; a rival with .4 stays below .7 up to .25 (z(.7) - z(.4))."""
    fires, silent = node_radii([0.55, 0.95], [0.4, 0.03], [0.7, 0.5], [0.25, 1.0])
    assert fires == pytest.approx([0.0, 1.64485], abs=1e-5)
    assert silent == pytest.approx([0.19444, 1.88079], abs=1e-5)
    assert float(chain_radius([0.55, 0.95], [0.4, 0.03], [0.7, 0.5], [0.25, 1.0])) == pytest.approx(0.19444, abs=1e-5)
    # The same with another class chosen by node 1: only its upper bound counts.
    assert float(chain_radius([0.0, 0.95], [0.4, 0.03], [0.7, 0.5], [0.25, 1.0])) == pytest.approx(0.19444, abs=1e-5)
    # At c = .3 that class fires at the input itself, and nothing is certified.
    assert float(chain_radius([0.0, 0.95], [0.4, 0.03], [0.3, 0.5], [0.25, 1.0])) == 0.0
    assert combine_nodes([0.0, 0.3, 2.0], [1.5, 0.2, 9.0]).tolist() == 0.3


def test_theorem_3_5_and_several_classes_at_once():
    top, rival = np.array([[[0.55], [0.0]], [[0.95], [0.0]]]), np.array([[[0.4], [0.6]], [[0.03], [0.97]]])
    found = chain_radius(top, rival, [0.7, 0.5], [0.25, 1.0])
    assert found.shape == (2, 1)
    assert found[:, 0] == pytest.approx([0.19444, 0.0], abs=1e-5)
    line = float(chain_radius([0.55, 0.95], [0.4, 0.03], [0.7, 0.5], [0.25, 1.0], envelope=THEOREM_3_5))
    assert line == pytest.approx(0.3 * 0.25 * np.sqrt(2 * np.pi), abs=1e-9)


def test_no_two_classes_are_certified_by_bounds_that_hold_together():
    """Shares of five classes at three nodes: of all classes, only the chain's own answer has a radius."""
    rng = np.random.default_rng(9)
    certified = 0
    for _ in range(300):
        h = rng.dirichlet(np.full(5, 0.4), 3).clip(1e-9)
        threshold, sigma = rng.uniform(0.1, 0.9, 3), np.array([0.25, 0.5, 1.0])
        classes = np.arange(5)
        best = h.argmax(axis=1)
        top = np.where(best[:, None] == classes, h - 1e-9, 0.0)
        rival = np.stack([np.delete(h, y, axis=1).max(axis=1) for y in classes], axis=1)
        radius = chain_radius(top, rival, threshold, sigma)
        node = int(firing_node(h.max(axis=1), threshold))
        answer = best[node] if node < 3 else -1
        assert set(np.flatnonzero(radius > 0)) <= {answer}
        certified += int((radius > 0).any())
    assert certified > 150


def test_right_answers_of_a_chain_equal_direct_evaluation():
    rng = np.random.default_rng(10)
    votes, labels = rng.multinomial(10, [0.5, 0.3, 0.2], (3, 200)), rng.integers(0, 3, 200)
    g = np.eye(3)[rng.integers(0, 3, 200)]
    seen = set()
    for threshold in rng.choice([0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.95], (30, 3)):
        found = chain_right(g, votes, labels, threshold)
        for row in range(200):
            node = next((k for k in range(3) if votes[k, row].max() / 10 > threshold[k]), 3)
            values = g[row] if node == 3 else votes[node, row]
            expected = values[labels[row]] == values.max() and (values == values.max()).sum() == 1
            assert found[row] == expected
            seen.add(node)
    assert seen == {0, 1, 2, 3}
    # Deferred draws count: 5 of 20 votes are a share of a quarter.
    assert chain_right([[0, 1]], [[[5, 0]]], [1], [0.25], draws=[[20]]).tolist() == [True]
    assert chain_right([[0, 1]], [[[5, 0]]], [1], [0.24], draws=[[20]]).tolist() == [False]


def test_bad_values_and_shapes_are_named():
    with pytest.raises(
        InvalidArgument, match=r"^threshold and sigma must have one value per node, bounds \(2,\), got "
    ):
        chain_radius([0.9, 0.8], [0.05, 0.1], [0.5], [0.25, 0.5])
    with pytest.raises(InvalidArgument, match=r"one value per node"):
        chain_radius(0.9, 0.05, 0.5, 0.25)
    with pytest.raises(InvalidArgument, match=r"^threshold must be in \[0, 1\)"):
        chain_radius([0.9], [0.05], [1.0], [0.25])
    with pytest.raises(InvalidArgument, match=r"^top_lower must be "):
        chain_radius([1.0], [0.05], [0.5], [0.25])


def test_random_chains_are_near_what_a_long_search_finds():
    """The closed form against a bisection on the recursion with SciPy's own quantiles, at true values."""
    rng = np.random.default_rng(12)
    top, rival, threshold, sigma = _chains(rng, 3, 2_000)
    radius = chain_radius(top, rival, threshold, sigma)

    def certified(r):
        done = np.zeros(r.shape, dtype=bool)
        for p_a, p_b, c, s in reversed(list(zip(top, rival, threshold, sigma, strict=True))):
            low = special.ndtr(special.ndtri(p_a) - r / s)
            high = special.ndtr(special.ndtri(p_b) + r / s)
            done = ((low > c) & (low > high)) | ((high <= c) & done)
        return done

    low, high = np.zeros(2_000), np.full(2_000, 30.0)
    for _ in range(60):
        middle = (low + high) / 2
        holds = certified(middle)
        low, high = np.where(holds, middle, low), np.where(holds, high, middle)
    assert radius == pytest.approx(low, abs=1e-4)
    assert np.median(np.abs(radius - low)) < 1e-10
