"""The judge of attacked certificates: exact where votes are known, and never judging by the draws it chose a rival from."""

from statistics import NormalDist

import numpy as np
import pytest
import torch
from torch import nn

from certmix.attacks.judge import CONFIRMATION, Judge, Stakes, worst_stakes
from certmix.errors import InvalidArgument
from certmix.rules import FamilyRule, LinearRule, ThresholdRule

RULES = [LinearRule(1.0), ThresholdRule(0.02)]  # neither is broken where a class in 30 leads by a hair


class Loudest(nn.Module):
    """The class of the largest coordinate: with N(0, 1) noise around 0, every class has the same share of the votes."""

    def forward(self, inputs):
        return inputs


def _judge(base=None, *, votes=200, significance=1e-6, seed=0):
    return Judge(base or Loudest(), 1.0, None, votes, significance, torch.Generator().manual_seed(seed))


def _many_rivals(judge, rule=RULES[0]):
    """Verdicts on 300 points whose certified class leads each of 29 rivals by a hair: nothing is broken."""
    points = torch.zeros(300, 30)
    points[:, 0] = 0.01
    return judge.verdict(points, np.zeros(300, dtype=np.int64), worst_stakes([rule] * 300))


@pytest.mark.parametrize("rule", RULES)
def test_a_rival_is_not_judged_by_the_draws_that_chose_it(rule):
    level = 0.2
    false = int(_many_rivals(_judge(votes=100, significance=level), rule).broken.sum())
    assert false / 300 < 2 * level


@pytest.mark.parametrize("rule", RULES)
def test_the_test_above_can_fail_since_choosing_and_judging_by_the_same_draws_breaks_what_holds(rule):
    class SameBatch(Judge):
        def counts(self, points, draws):
            """All draws of a point at once: the first ones that the judge looks at decide too."""
            if len(points) > 1:
                self.kept[:] = list(super().counts(points, CONFIRMATION * self.votes))
                return np.stack(self.kept) / CONFIRMATION
            return self.kept[self.rows.pop(0)][None]

    judge = SameBatch(Loudest(), 1.0, None, 100, 0.2, torch.Generator().manual_seed(0))
    object.__setattr__(judge, "kept", [])
    object.__setattr__(judge, "rows", [])
    leads = judge.leads

    def remembering(*arguments):
        found = leads(*arguments)
        judge.rows[:] = np.flatnonzero(found.min(axis=1) <= 0).tolist()
        return found

    object.__setattr__(judge, "leads", remembering)
    false = int(_many_rivals(judge, rule).broken.sum())
    assert false / 300 > 2 * 0.2


def test_a_lead_by_hand():
    # h votes for the class of the sign; at distance 0.5 the shares are Phi(+-0.5) = .6915 and .3085.
    class HalfSpace(nn.Module):
        def forward(self, inputs):
            return torch.stack([inputs[:, 0], -inputs[:, 0]], dim=1)

    judge = _judge(HalfSpace(), votes=20_000)
    points, labels = torch.full((2, 1), 0.5), np.array([0, 1])
    leads = judge.leads(
        points, labels, Stakes(np.array([1.0, 0.8]), np.array([[0.0, -1.0], [0.4, 0.0]]), np.array([0.6, -np.inf]))
    )
    assert leads[0] == pytest.approx([np.inf, 0.383, 0.092], abs=0.02)
    assert leads[1] == pytest.approx([0.2 * 0.4 - 0.8 * 0.383, np.inf, np.inf], abs=0.02)


def test_the_worst_accurate_model_of_each_rule_by_hand():
    shares, labels = np.array([[0.7, 0.2, 0.1]]).repeat(3, axis=0), np.zeros(3, dtype=np.int64)
    leads = worst_stakes([LinearRule(0.8), ThresholdRule(0.65), ThresholdRule(0.1)]).leads(shares, labels)
    assert leads[0] == pytest.approx([np.inf, 0.8 * 0.5 - 0.2, 0.8 * 0.6 - 0.2, np.inf])
    assert leads[1] == pytest.approx([np.inf, 0.5, 0.6, 0.05])
    assert leads[2] == pytest.approx([np.inf, 0.5, 0.6, 0.6])
    with pytest.raises(InvalidArgument, match="rule must be a mixing weight or a threshold to be attacked, got"):
        worst_stakes([FamilyRule(0.5, rival_weight=0.5, exponent=1.0)])


@pytest.mark.parametrize("share, broken", [(0.48, True), (0.495, False), (0.505, False)])
def test_a_threshold_breaks_where_the_vote_is_surely_below_it(share, broken):
    # Two classes get votes; 20,000 of them settle 2 points, and not half of one.
    class HalfSpace(nn.Module):
        def forward(self, inputs):
            return torch.stack([inputs[:, 0], torch.full_like(inputs[:, 0], -9.0), torch.zeros(len(inputs))], dim=1)

    points = torch.full((1, 1), NormalDist().inv_cdf(share))
    found = _judge(HalfSpace(), votes=2000).verdict(
        points, np.zeros(1, dtype=np.int64), worst_stakes([ThresholdRule(0.5)])
    )
    assert found.broken.tolist() == [broken]
    assert found.lead[0] == pytest.approx(min(share - 0.5, 2 * share - 1), abs=0.03)


def test_what_is_fooled_is_broken_and_what_holds_is_not():
    points = torch.zeros(2, 3)
    points[0, 1] = points[1, 0] = 2.0
    found = _judge().verdict(points, np.zeros(2, dtype=np.int64), worst_stakes([LinearRule(1.0)] * 2))
    assert found.broken.tolist() == [True, False]
    assert found.lead[0] < 0 < found.lead[1]
    # The worst accurate model takes (1 - a) from the lead: at a = 0.6 the second one is fooled as well.
    found = _judge().verdict(points, np.zeros(2, dtype=np.int64), worst_stakes([LinearRule(0.53)] * 2))
    assert found.broken.tolist() == [True, True]


@pytest.mark.parametrize(
    "change, message",
    [
        ({"votes": 0}, "votes must be >= 1, got 0"),
        ({"significance": 0.0}, r"significance must be in \(0, 1\), got 0.0"),
    ],
)
def test_bad_numbers_are_named(change, message):
    with pytest.raises(InvalidArgument, match=message):
        _judge(**change)
