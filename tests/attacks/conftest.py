"""An accurate, an adversarially trained and a noise-trained digits network, and digits to attack."""

import pytest

import certmix
from certmix.datasets.batches import stack
from tests import digits_models


@pytest.fixture(scope="session")
def dataset():
    return certmix.load_dataset("digits", split="test", max=200)


@pytest.fixture(scope="session")
def digits(dataset):
    return stack(dataset)


@pytest.fixture(scope="session")
def accurate():
    return digits_models.accurate()


@pytest.fixture(scope="session")
def robust():
    return digits_models.robust()


@pytest.fixture(scope="session")
def noisy():
    """A base classifier worth smoothing at sigma 0.5."""
    return digits_models.noisy()
