"""Certificates that break in floating point: the published counter-example, with float noise and with integer noise."""

import numpy as np
import pytest
import torch

import certmix
from certmix.datasets import ArrayDataset
from certmix.noise.integer import probabilities

ANCHOR = np.float32(200 / 255)
SIGMA = 0.5


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
    options = {"sigma": SIGMA, "num_estimation": 100_000, "seed": 1, "device": "cpu", "noise": noise}
    statistics = certmix.sample(RoundingDetector(), data, **options)
    return statistics, certmix.certify(statistics, rule="cohen")


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
