"""An accurate and an adversarially trained digits network, and digits to attack."""

import pytest

import certmix
from certmix.attacks import adversarial_examples
from certmix.datasets.batches import stack
from certmix.training.train import train


@pytest.fixture(scope="session")
def digits():
    return stack(certmix.load_dataset("digits", split="test", max=200))


@pytest.fixture(scope="session")
def accurate():
    return train(certmix.load_dataset("digits", split="train"), epochs=15)


@pytest.fixture(scope="session")
def robust():
    perturb = adversarial_examples(norm="linf", attack_radius=0.2, steps=5)
    return train(certmix.load_dataset("digits", split="train"), epochs=20, perturb=perturb)


@pytest.fixture(scope="session")
def noisy():
    """A base classifier worth smoothing at sigma 0.5."""
    return train(certmix.load_dataset("digits", split="train"), sigma=0.5, epochs=10)
