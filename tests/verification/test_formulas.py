"""Radii of every rule that needs an envelope against 50 digits: none is above the truth, none is far below it.

A new sample each day: what fails is named with its seed. CERTMIX_POINTS sets how many points.
"""

import datetime
import os

import mpmath
import numpy as np
import pytest

from certmix.certifiers.envelope import EXACT, THEOREM_3_5, THEOREM_3_5_L1, THEOREM_3_5_PAPER
from certmix.errors import InvalidArgument
from certmix.rules.chain import chain_radius
from certmix.rules.family import family_radius, family_score
from certmix.rules.threshold import threshold_radius
from certmix.verification.formulas import (
    Node,
    certifies,
    certifies_chain,
    certifies_family,
    certifies_threshold,
    number,
)
from tests.rules.scenes import random_bounds

SEED = datetime.date.today().toordinal()
POINTS = int(os.environ.get("CERTMIX_POINTS", "240"))
ENVELOPES = {
    "exact": EXACT,
    "theorem-3.5": THEOREM_3_5,
    "theorem-3.5-paper": THEOREM_3_5_PAPER,
    "theorem-3.5-l1": THEOREM_3_5_L1,
}


def _numbers(*values):
    return [number(float(value)) for value in values]


@pytest.mark.parametrize("name", ENVELOPES)
def test_threshold(name):
    rng = np.random.default_rng(SEED)
    top, rival = random_bounds(rng, POINTS)
    c = np.where(rng.random(POINTS) < 0.8, top, 1 - 1e-16) * (1 - 10 ** rng.uniform(-9, 0, POINTS))
    radius = threshold_radius(top, rival, c, 1.0, envelope=ENVELOPES[name])
    for i in range(POINTS):
        p_a, p_b, threshold, r = _numbers(top[i], rival[i], c[i], radius[i])
        where = f"seed {SEED}, point {i}: {top[i]!r}, {rival[i]!r}, {c[i]!r}, radius {radius[i]!r}"
        if radius[i] > 0:
            assert certifies_threshold(name, (p_a, p_b), threshold, r), where
        assert not certifies_threshold(name, (p_a, p_b), threshold, r * (1 + 1e-9) + 1e-9), where
    assert (radius > 0).mean() > 0.4


@pytest.mark.parametrize("exponent", [0.5, 1.0, 3.0, None])
def test_family(exponent):
    rng = np.random.default_rng(SEED)
    top, rival = random_bounds(rng, POINTS)
    weight = np.where(rng.random(POINTS) < 0.3, rng.integers(0, 2, POINTS), rng.random(POINTS))
    with np.errstate(divide="ignore", invalid="ignore"):
        score = family_score(top, rival, rival_weight=weight, exponent=exponent)
    tau = score - 4 * rng.random(POINTS) ** 2
    if exponent is not None:
        tau = np.clip(score * rng.uniform(0, 1.05, POINTS), 0, 0.999999)
    radius = family_radius(top, rival, tau, 1.0, rival_weight=weight, exponent=exponent)
    for i in range(POINTS):
        p_a, p_b, threshold, w, r = _numbers(top[i], rival[i], tau[i], weight[i], radius[i])
        how = {"rival_weight": w, "exponent": None if exponent is None else number(exponent)}
        where = f"seed {SEED}, point {i}: {top[i]!r}, {rival[i]!r}, {tau[i]!r}, {weight[i]!r}, radius {radius[i]!r}"
        if radius[i] > 0:
            assert certifies_family("exact", (p_a, p_b), threshold, r, **how), where
        if top[i] < 1 - 1e-7:  # nearer to 1, a bisection on curves rounded to 1e-15 stops earlier
            assert not certifies_family("exact", (p_a, p_b), threshold, r * (1 + 1e-6) + 1e-6, **how), where
    assert (radius > 0).mean() > 0.4


def test_chain():
    rng = np.random.default_rng(SEED)
    positive = 0
    for i in range(POINTS // 2):
        nodes = int(rng.integers(1, 5))
        top, rival = random_bounds(rng, nodes)
        top = np.where(rng.random(nodes) < 0.3, 0.0, top)
        c, sigma = rng.uniform(0.05, 0.95, nodes), rng.uniform(0.1, 2, nodes)
        radius = float(chain_radius(top, rival, c, sigma))
        chain = [
            Node((number(a), number(b)), number(t), number(s))
            for a, b, t, s in zip(*(v.tolist() for v in (top, rival, c, sigma)), strict=True)
        ]
        where = f"seed {SEED}, point {i}: {top}, {rival}, {c}, {sigma}, radius {radius!r}"
        if radius > 0:
            positive += 1
            assert certifies_chain("exact", chain, number(radius)), where
        assert not certifies_chain("exact", chain, number(radius * (1 + 1e-9) + 1e-9)), where
    assert positive > POINTS // 8


def test_formulas_at_known_numbers():
    """Two routes to one number: Eq. 5 at q = lambda = 1, the threshold at lambda = 0, both against closed forms."""
    bounds = tuple(_numbers(0.9, 0.05))
    for radius, weight, holds in ((1.139, 0.8, True), (1.140, 0.8, False)):
        one, tau = number(1), (1 - number(weight)) / number(weight)
        assert certifies("exact", bounds, number(weight), number(radius)) == holds
        how = {"rival_weight": one, "exponent": one}
        assert certifies_family("exact", bounds, tau, number(radius), **how) == holds
    context = mpmath.MPContext()
    context.dps = 30
    limit = context.sqrt(2) * (context.erfinv(2 * 0.9 - 1) - context.erfinv(2 * 0.6 - 1))  # z(.9) - z(.6)
    for shift, holds in ((-1e-12, True), (1e-12, False)):
        radius = number(limit) + number(shift)
        assert certifies_threshold("exact", bounds, number(0.6), radius) == holds
        how = {"rival_weight": number(0), "exponent": number(1)}
        assert certifies_family("exact", bounds, number(0.6), radius, **how) == holds
        assert certifies_chain("exact", [Node(bounds, number(0.6), number(1))], radius) == holds
    assert not certifies_threshold("exact", bounds, number(0.9), number(0))
    assert not certifies_chain("exact", [], number(0))
    with pytest.raises(InvalidArgument, match="certifier to check must be one with a formula here, got 'theorem-a1'"):
        certifies_threshold("theorem-a1", bounds, number(0.5), number(0))
