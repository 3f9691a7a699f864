"""Small certificates, bounds and sweeps to draw, and what every figure must obey."""

import numpy as np

from certmix.certification.certify import Certificates, certify
from certmix.intervals import ProbabilityBounds
from certmix.pareto import Candidate, pareto_frontier


def bounds(sigma, top, wrong=0):
    """Bounds of inputs of class 0 of 2; the last `wrong` ones are predicted as class 1."""
    top = np.asarray(top, dtype=np.float64)
    prediction = np.where(np.arange(len(top)) < len(top) - wrong, 0, 1)
    labels = np.zeros(len(top), dtype=np.int64)
    return ProbabilityBounds(prediction, top, 1 - top, sigma, labels=labels, indices=np.arange(len(top)))


def certificates(sigma=0.5, top=(0.6, 0.7, 0.8, 0.9, 0.99), weights=(1.0,), certifier="exact", wrong=1) -> Certificates:
    return certify(bounds(sigma, top, wrong), mixing_weight=list(weights), certifier=certifier)


def crossing_sweep(certifier="exact", split=None):
    """Two sigmas of which one certifies more inputs and the other larger radii, and the frontier over both."""
    inputs = 40
    sure = np.linspace(0.52, 0.99, inputs), np.linspace(0.3, 0.97, inputs)
    g = np.tile([0.99, 0.01], (inputs, 1))
    family = [
        Candidate(bounds(sigma, top), g, 1000 * np.stack([top, 1 - top], axis=1))
        for sigma, top in zip((0.25, 1.0), sure, strict=True)
    ]
    return pareto_frontier(family, target=0.9, certifier=certifier, split=split)


def line_named(axes, name):
    """The one line of that name."""
    (found,) = [line for line in axes.get_lines() if line.get_label() == name]
    return found


def assert_tidy(figure):
    """The legend covers no axes, nothing leaves the figure, and no panel's labels touch another's."""
    figure.draw_without_rendering()
    boxes = [axes.get_tightbbox() for axes in figure.axes]
    (legend,) = figure.legends
    everything = [*boxes, legend.get_window_extent()]
    for number, box in enumerate(everything):
        assert box.x0 >= -0.5
        assert box.y0 >= -0.5
        assert box.x1 <= figure.bbox.width + 0.5
        assert box.y1 <= figure.bbox.height + 0.5
        for other in everything[:number]:
            assert not box.shrunk(0.999, 0.999).overlaps(other), "labels or legend overlap"
