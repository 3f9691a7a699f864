"""MixturePredictor: never wrong more often than stated, against mixtures whose class is known exactly."""

import numpy as np
import pytest
import torch
from scipy import special, stats

import certmix
from certmix import ABSTAIN, MixturePredictor
from certmix.certifiers import exact_radius
from certmix.datasets import ArrayDataset
from certmix.errors import InvalidArgument
from certmix.prediction import ChainNode, ChainPredictor, predictor
from certmix.rules import LinearRule, ThresholdRule, threshold_radius
from certmix.rules.chain import chain_radius, firing_node


class HalfSpace(torch.nn.Module):
    """Class 0 where the first pixel is below its middle by `offset`: h_0 = Phi((offset - (x - 0.5)) / sigma)."""

    def __init__(self, offset):
        super().__init__()
        self.offset = torch.nn.Parameter(torch.tensor(float(offset)))

    def forward(self, inputs):
        score = self.offset - (inputs.flatten(1)[:, 0] - 0.5)
        return torch.stack([score, -score], dim=1)


class Constant(torch.nn.Module):
    """g with fixed probabilities."""

    def __init__(self, probabilities):
        super().__init__()
        self.logits = torch.nn.Parameter(torch.log(torch.tensor(probabilities)))

    def forward(self, inputs):
        return self.logits.expand(len(inputs), -1)


def _mixture(offset, g, rule, **options):
    defaults = {"sigma": 0.5, "num_classes": 2, "num_estimation": 900, "failure_probability": 0.05, "seed": 1}
    rule = rule if isinstance(rule, ThresholdRule) else LinearRule(rule, "softmax")
    return MixturePredictor(robust=HalfSpace(offset), accurate=Constant(g), rule=rule, **{**defaults, **options})


@pytest.mark.slow
@pytest.mark.parametrize("err", [0.05, 0.01])
@pytest.mark.parametrize(
    ("lead", "weight"), [(0.001, 0.8), (0.02, 0.8), (-0.01, 0.55), (0.05, 0.3), (0.0, 1.0), (0.003, 1.0)]
)
def test_a_wrong_class_is_no_more_frequent_than_stated(lead, weight, err):
    # g favours class 1; h is chosen so that the exact mixture leads by `lead` for class 0 (a tie has no right class).
    g = np.array([0.4, 0.6])
    share = 0.5 + (lead - (1 - weight) * (g[0] - g[1])) / (2 * weight)
    mixture = _mixture(0.5 * special.ndtri(share), g.tolist(), weight, failure_probability=err)
    images = torch.full((700, 1, 1, 1), 0.5)
    made = mixture.predict(images)
    wrong = {0.0: (made.classes != ABSTAIN)}.get(lead, made.classes == (1 if lead > 0 else 0))
    assert stats.binomtest(int(wrong.sum()), len(images), err, alternative="greater").pvalue > 1e-5
    truth = float(exact_radius(share, 1 - share, weight, 0.5)) if share > 0.5 else 0.0
    assert (
        stats.binomtest(
            int((made.radius > truth + 1e-9).sum() if lead > 0 else 0), len(images), err, alternative="greater"
        ).pvalue
        > 1e-5
    )


def test_clear_cases_are_decided_early_and_the_certificate_comes_along():
    mixture = _mixture(1.0, [0.1, 0.9], 0.8, num_estimation=10_000, failure_probability=1e-3)
    made = mixture.predict(torch.full((20, 1, 1, 1), 0.5))
    assert (made.classes == 0).all()
    assert (made.draws < 1000).all()
    assert (made.radius > 0).all()
    other = _mixture(1.0, [0.01, 0.99], 0.3).predict(torch.full((3, 1, 1, 1), 0.5))
    assert (other.classes == 1).all()  # g decides at this weight
    assert (other.radius == 0).all()


@pytest.mark.parametrize(("asked", "calibrated", "rows"), [(None, 64, 64), (None, 5000, 200), (30, 5000, 30)])
def test_passes_are_as_calibrated_and_no_larger_than_first_looks_need(asked, calibrated, rows, monkeypatch):
    seen = set()
    monkeypatch.setattr(predictor, "calibrate_batch_size", lambda *arguments, key: calibrated)
    mixture = _mixture(1.0, [0.1, 0.9], 0.8, num_estimation=10_000, batch_size=asked)
    mixture.robust.register_forward_hook(lambda _, inputs, output: seen.add(len(output)))
    mixture.predict(torch.full((1, 1, 1, 1), 0.5))
    assert seen == {rows}


def test_ties_abstain_and_fresh_noise_is_drawn_for_every_call():
    tie = _mixture(0.0, [0.5, 0.5], 0.9)
    assert (tie.predict(torch.full((5, 1, 1, 1), 0.5)).classes == ABSTAIN).all()
    mixture = _mixture(0.2, [0.5, 0.5], 0.9)
    first, second = (mixture.predict(torch.full((30, 1, 1, 1), 0.5)) for _ in range(2))
    assert not np.array_equal(first.radius, second.radius)


@pytest.mark.slow
@pytest.mark.parametrize("err", [0.05, 0.01])
@pytest.mark.parametrize(
    ("share", "c", "g"), [(0.62, 0.6, 1), (0.58, 0.6, 1), (0.6, 0.6, 1), (0.52, 0.4, 1), (0.55, 0.6, 0)]
)
def test_a_threshold_answers_wrongly_no_more_often_than_stated(share, c, g, err):
    # h's class is 0 with probability `share`: the exact rule says 0 where share > c, else g's class.
    rule, images = ThresholdRule(c), torch.full((700, 1, 1, 1), 0.5)
    made = _mixture(0.5 * special.ndtri(share), np.eye(2)[g] * 0.8 + 0.1, rule, failure_probability=err).predict(images)
    truth = 0 if share > c else g
    wrong = (made.classes != ABSTAIN) & (made.classes != truth)
    assert stats.binomtest(int(wrong.sum()), len(images), err, alternative="greater").pvalue > 1e-5
    radius = float(threshold_radius(share, 1 - share, c, 0.5))
    overstated = int((made.radius > radius + 1e-9).sum())
    assert stats.binomtest(overstated, len(images), err, alternative="greater").pvalue > 1e-5


def test_a_threshold_is_decided_on_either_side_and_abstains_at_it():
    images, rule = torch.full((20, 1, 1, 1), 0.5), ThresholdRule(0.7)
    options = {"num_estimation": 10_000, "failure_probability": 1e-3}
    sure, unsure, at = (
        _mixture(0.5 * special.ndtri(share), [0.1, 0.9], rule, **options).predict(images) for share in (0.95, 0.5, 0.7)
    )
    assert (sure.classes == 0).all()
    assert (sure.radius > 0).all()
    assert (unsure.classes == 1).all()  # no class of h exceeds the threshold: g decides
    assert (unsure.radius == 0).all()
    assert (at.classes == ABSTAIN).mean() > 0.9
    assert (sure.draws < 1000).all()


class Recorder(torch.nn.Module):
    """A constant classifier that keeps every row it was given."""

    def __init__(self):
        super().__init__()
        self.bias, self.rows = torch.nn.Parameter(torch.tensor([1.0, 0.0])), []

    def forward(self, inputs):
        self.rows += [tuple(row) for row in inputs.flatten(1).tolist()]
        return self.bias.expand(len(inputs), -1)


@pytest.mark.parametrize("grid_levels", [None, 255])
def test_no_draw_of_a_certificate_is_drawn_again_to_predict(grid_levels):
    image, options = (
        np.full((1, 1, 4, 4), 128 / 255, dtype=np.float32),
        {"sigma": 0.5, "num_estimation": 300, "seed": 7},
    )
    data = ArrayDataset(image, [0], num_classes=2, grid_levels=grid_levels)
    drawn, predicted = Recorder(), Recorder()
    certmix.sample(drawn, data, **options)
    predictor = MixturePredictor(robust=predicted, num_classes=2, grid_levels=grid_levels, **options)
    assert predictor.predict(image).classes.tolist() == [0]
    noisy = [row for row in predicted.rows if len(set(row)) > 1]  # a pass may be padded with the clean input
    assert not set(noisy) & set(drawn.rows)
    assert len(set(noisy)) >= 200  # nor are selection draws drawn again for the estimate


def test_without_an_accurate_model_it_is_cohens_predictor_on_a_grid_too():
    alone = {"robust": HalfSpace(0.6), "sigma": 0.5, "num_classes": 2}
    mixture = MixturePredictor(**alone, grid_levels=255, num_estimation=500)
    assert mixture.predict(np.full((4, 1, 1, 1), 128 / 255, dtype=np.float32)).classes.tolist() == [0] * 4
    with pytest.raises(InvalidArgument, match="rule must be weight 1 without an accurate model, got weight 0.8"):
        MixturePredictor(**alone, rule=LinearRule(0.8))
    with pytest.raises(InvalidArgument, match="num_estimation must be at least"):
        MixturePredictor(**alone, num_estimation=5)
    with pytest.raises(InvalidArgument, match=r"inputs must be in \[0, 1\]"):
        mixture.predict(np.full((1, 1, 1, 1), 2.0))


class Sure(torch.nn.Module):
    """Confident in class 0 where the first pixel is below its middle by `offset`, undecided between 1 and 2 elsewhere."""

    def __init__(self, offset):
        super().__init__()
        self.offset = torch.nn.Parameter(torch.tensor(float(offset)))

    def forward(self, inputs):
        inside = self.offset - (inputs.flatten(1)[:, 0] - 0.5) > 0
        return torch.where(inside[:, None], torch.tensor([9.0, 0.0, 0.0]), torch.tensor([0.0, 1.0, 1.0]))


@pytest.mark.slow
@pytest.mark.parametrize("err", [0.05, 0.01])
@pytest.mark.parametrize(("share", "c"), [(0.42, 0.4), (0.38, 0.4), (0.6, 0.5)])
def test_confident_votes_answer_wrongly_no_more_often_than_stated(share, c, err):
    """Half of the draws are nobody's: the class that they would vote for is no rival, and the threshold counts them."""
    images = torch.full((700, 1, 1, 1), 0.5)
    mixture = MixturePredictor(
        robust=Sure(0.5 * special.ndtri(share)), accurate=Constant([0.1, 0.1, 0.8]), rule=ThresholdRule(c), sigma=0.5,
        num_classes=3, num_estimation=900, failure_probability=err, seed=1, confidence=0.75,
    )  # fmt: skip
    made = mixture.predict(images)
    wrong = (made.classes != ABSTAIN) & (made.classes != (0 if share > c else 2))
    assert stats.binomtest(int(wrong.sum()), len(images), err, alternative="greater").pvalue > 1e-5
    radius = float(threshold_radius(share, 1e-300, c, 0.5))
    overstated = int((made.radius > radius + 1e-9).sum())
    assert stats.binomtest(overstated, len(images), err, alternative="greater").pvalue > 1e-5
    assert (made.draws > 0).all()


def _chain(shares, thresholds, g, **options):
    nodes = [
        ChainNode(HalfSpace(sigma * special.ndtri(share)), sigma, c)
        for share, c, sigma in zip(shares, thresholds, (0.25, 0.5), strict=True)
    ]
    defaults = {"num_classes": 2, "num_estimation": 900, "failure_probability": 0.05, "seed": 1}
    return ChainPredictor(nodes=nodes, accurate=Constant(np.eye(2)[g] * 0.8 + 0.1), **{**defaults, **options})


@pytest.mark.slow
@pytest.mark.parametrize("err", [0.05, 0.01])
@pytest.mark.parametrize(
    ("shares", "c", "g"),
    [
        ((0.71, 0.3), (0.7, 0.6), 1),  # node 1 just answers 0, the rest would say 1
        ((0.69, 0.3), (0.7, 0.6), 0),  # node 1 just does not
        ((0.6, 0.58), (0.7, 0.6), 1),  # neither: g
        ((0.6, 0.62), (0.75, 0.6), 1),
    ],
)
def test_a_chain_answers_wrongly_no_more_often_than_stated(shares, c, g, err):
    made = _chain(shares, c, g, failure_probability=err).predict(torch.full((700, 1, 1, 1), 0.5))
    h = np.array([[share, 1 - share] for share in shares])
    node = int(firing_node(h.max(axis=1), c))
    truth = g if node == 2 else int(h[node].argmax())
    wrong = (made.classes != ABSTAIN) & (made.classes != truth)
    assert stats.binomtest(int(wrong.sum()), len(wrong), err, alternative="greater").pvalue > 1e-5
    radius = float(chain_radius(h[:, truth], h[:, 1 - truth], c, (0.25, 0.5)))
    overstated = (made.classes == truth) & (made.radius > radius + 1e-9)
    assert stats.binomtest(int(overstated.sum()), len(wrong), err, alternative="greater").pvalue > 1e-5


def test_a_chain_asks_no_more_nodes_than_it_needs():
    images = torch.full((5, 1, 1, 1), 0.5)
    options = {"num_estimation": 10_000, "failure_probability": 1e-3}
    first = _chain((0.99, 0.01), (0.7, 0.6), 1, **options).predict(images)
    assert (first.classes == 0).all()
    assert (first.draws <= 300).all()
    assert (first.radius > 0).all()
    second = _chain((0.5, 0.99), (0.9, 0.6), 1, **options).predict(images)
    assert (second.classes == 0).all()
    assert (second.radius > 0).all()
    last = _chain((0.5, 0.5), (0.9, 0.9), 1, **options).predict(images)
    assert (last.classes == 1).all()
    assert (last.radius == 0).all()


def test_an_undecided_node_is_passed_where_only_the_answer_of_the_rest_could_be_its_own():
    images = torch.full((10, 1, 1, 1), 0.5)
    options = {"num_estimation": 3_000, "failure_probability": 1e-3}
    agreeing = _chain((0.8, 0.99), (0.8, 0.6), 1, **options).predict(images)  # node 1 is at its threshold, for 0
    assert (agreeing.classes == 0).all()
    other = _chain((0.8, 0.01), (0.8, 0.6), 1, **options).predict(images)
    assert (other.classes == ABSTAIN).mean() > 0.9
    with pytest.raises(InvalidArgument, match="a chain needs at least one node"):
        ChainPredictor(nodes=[], accurate=Constant([0.5, 0.5]), num_classes=2)
