"""Certificates that break in floating point: the published counter-example, with float noise and with integer noise."""

import numpy as np
import pytest
import torch
from scipy import special

import certmix
from certmix.datasets import ArrayDataset
from certmix.noise.table import probabilities

ANCHOR = np.float32(200 / 255)
SIGMA = 0.5

CPU = certmix.Execution("cpu")


class RoundingDetector(torch.nn.Module):
    """Class 1 where (y - A) + A == y in float32: true of nearly every float reached from A, of few reached from afar.

    Source: Voracek and Hein 2023, arXiv:2207.07209.
    """

    def forward(self, inputs):
        y = inputs.flatten(1)[:, 0]
        hit = ((y - float(ANCHOR)) + float(ANCHOR) == y).float()
        return torch.stack([1 - hit, hit], dim=1)


def _certify(noise, value):
    data = ArrayDataset(np.array([[value]], dtype=np.float32), [1], num_classes=2, grid_levels=255)
    options = {"sigma": SIGMA, "num_estimation": 100_000, "seed": 1, "execution": CPU, "noise": noise}
    statistics = certmix.sample(RoundingDetector(), data, **options)
    return statistics, certmix.certify(statistics, interval="cohen")


def test_float_noise_certifies_what_is_false():
    # This is why float noise is documented to hold "up to float rounding", and is not the default on a grid.
    statistics, certificate = _certify("float", ANCHOR)
    assert statistics.estimation_counts.tolist() == [[0, 100_000]]
    assert round(float(certificate.radius[0, 0]), 3) == 1.906
    near = np.float32(7 / 255)  # at distance 0.757, well inside the radius, the smoothed class is another
    _, flipped = _certify("float", near)
    assert float(ANCHOR - near) == pytest.approx(0.757, abs=1e-3)
    assert float(ANCHOR - near) < float(certificate.radius[0, 0])
    assert flipped.prediction[0] == 0
    assert flipped.radius[0, 0] > 0


def test_the_certificate_of_integer_noise_holds_at_every_grid_point_inside():
    _, certificate = _certify("integer", ANCHOR)
    radius = float(certificate.radius[0, 0])
    assert certificate.prediction[0] == 1
    assert 0.3 < radius < 1.0
    law = probabilities(SIGMA, 255)
    reach = len(law) // 2
    values = torch.arange(-reach - 300, reach + 600).float().div(255).unsqueeze(1)
    votes = RoundingDetector()(values).argmax(dim=1).numpy()  # the base classifier at every integer that matters
    smoothed = np.correlate(votes.astype(float), law, mode="valid")  # its exact smoothed probability of class 1
    offset = -300  # of the first entry
    for step in range(-255, 511):
        if abs(step - 200) / 255 < radius:
            assert smoothed[step - offset] > 0.5, step
    # And it is not vacuous: further away, within float noise's claim, the class does change on the grid.
    assert smoothed[7 - offset] < 0.5


class FurtherThanReach(torch.nn.Module):
    """Class 1 where some value is further than the noise reaches: at x = 0 no draw gets there."""

    def forward(self, inputs):
        far = (inputs.flatten(1) > 2.0).any(dim=1).float()  # K + 1 at sigma 0.333
        return torch.stack([1 - far, far], dim=1)


def test_no_votes_come_from_beyond_the_clip():
    # The noise ends at +-2. Without the clip 98 % of the draws at x = 1 pass 2 and none at x = 0 does, which no function
    # of x + Gaussian noise can do; such runs certified class 1 here.
    images = np.stack([np.zeros((3, 32, 32)), np.ones((3, 32, 32))]).astype(np.float32)
    data = ArrayDataset(images, [0, 1], num_classes=2, grid_levels=255)
    statistics = certmix.sample(
        FurtherThanReach(), data, sigma=0.333, num_estimation=2000, seed=1, execution=certmix.Execution("cpu")
    )
    assert statistics.estimation_counts.tolist() == [[2000, 0], [2000, 0]]
    assert statistics.draws.total_variation < 1e-12


@pytest.mark.parametrize("value", [0.0, 1.0])
def test_votes_of_the_clipped_base_have_its_true_probability(value):
    # Class 1 where some value is at an end of [-1, 2]: true probabilities by the normal law, at both sides of the box.
    class AtTheEnds(torch.nn.Module):
        def forward(self, inputs):
            y = inputs.flatten(1)
            hit = ((y <= -1.0) | (y >= 2.0)).any(dim=1).float()
            return torch.stack([1 - hit, hit], dim=1)

    size, draws = 64, 20_000
    data = ArrayDataset(np.full((1, 1, 8, 8), value, dtype=np.float32), [0], num_classes=2, grid_levels=255)
    statistics = certmix.sample(
        AtTheEnds(), data, sigma=0.333, num_estimation=draws, seed=2, execution=certmix.Execution("cpu")
    )
    one = special.ndtr(-(1 - 0.5 / 255) / 0.333) + special.ndtr(-(2 - 0.5 / 255) / 0.333)
    true = 1 - (1 - one) ** size
    assert special.bdtr(statistics.estimation_counts[0, 1], draws, true) > 1e-4
    assert special.bdtrc(statistics.estimation_counts[0, 1] - 1, draws, true) > 1e-4
