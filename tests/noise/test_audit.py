"""A biased source is stopped, and the error names the test that failed."""

import math

import numpy as np
import pytest
import torch

from certmix.errors import NoiseError
from certmix.noise.audit import NoiseAudit
from certmix.noise.table import probabilities

SOURCES = {
    "variance": lambda g: 1.01**0.5 * g.standard_normal(30_000),
    "mean": lambda g: 0.01 + g.standard_normal(30_000),
    "kurtosis": lambda g: g.uniform(-math.sqrt(3), math.sqrt(3), 30_000),
    "lag-1 correlation": lambda g: np.repeat(g.standard_normal(15_000), 2),
}


def _run(source, audit, seed=0, looks=300):
    generator = np.random.default_rng(seed)
    for _ in range(looks):
        audit(torch.from_numpy(np.asarray(source(generator))))
        audit.check()


@pytest.mark.parametrize("test", SOURCES)
def test_a_biased_source_is_stopped_by_name(test):
    with pytest.raises(NoiseError, match=f"noise audit failed: {test} of the noise"):
        _run(SOURCES[test], NoiseAudit())


def test_a_repeated_block_is_stopped():
    block = np.random.default_rng(0).standard_normal(30_000)
    with pytest.raises(NoiseError, match="repeated noise"):
        _run(lambda _: block, NoiseAudit(), looks=2)


@pytest.mark.parametrize("factor", [1.005, 0.995])
def test_integers_of_another_sigma_are_stopped_by_chi_squared(factor):
    def source(generator):
        return np.rint(generator.standard_normal(30_000) * 0.25 * 255 * factor).astype(np.int16)

    with pytest.raises(NoiseError, match="variance"):
        _run(source, NoiseAudit(probabilities(0.25, 255)), looks=300)


def test_integers_of_the_right_moments_but_another_law_are_stopped_by_chi_squared():
    law = probabilities(0.25, 255)
    values = np.arange(len(law)) - len(law) // 2
    spread = np.sqrt((law * values**2).sum())

    def source(generator):  # a sum of three uniforms: right mean and variance, kurtosis 2.6
        return np.rint((generator.random((3, 30_000)).sum(axis=0) - 1.5) * 2 * spread).astype(np.int16)

    with pytest.raises(NoiseError, match="chi-squared"):
        _run(source, NoiseAudit(law), looks=300)


def test_a_good_source_is_not_stopped():
    _run(lambda g: g.standard_normal(30_000), NoiseAudit(), looks=200)


def test_false_alarms_are_as_rare_as_promised():
    # 400 audits of 20 looks: the stated rate is below 1e-5 per run, so a single alarm would refute it.
    for seed in range(400):
        audit = NoiseAudit()
        generator = np.random.default_rng(seed)
        for _ in range(20):
            audit(torch.from_numpy(generator.standard_normal(512)))
            audit.check()
