"""Training: reproducible, better than chance, and robust training makes a difference under noise."""

import pytest
import torch

import certmix
from certmix.errors import InvalidArgument
from certmix.models import fingerprint
from certmix.training.train import accuracy, train


@pytest.fixture(scope="module")
def digits():
    return certmix.load_dataset("digits", split="train")


def test_the_same_seed_gives_the_same_weights_and_leaves_the_global_one_alone(digits):
    torch.manual_seed(7)
    before = torch.random.get_rng_state()
    one, two, other = (train(digits, epochs=1, seed=seed) for seed in (0, 0, 1))
    assert fingerprint(one) == fingerprint(two) != fingerprint(other)
    assert torch.equal(before, torch.random.get_rng_state())


@pytest.mark.slow
def test_noise_in_training_makes_votes_certifiable(digits):
    test = certmix.load_dataset("digits", max=60)
    certified = {}
    for sigma in (0.0, 0.5):
        model = train(digits, sigma=sigma, epochs=40)
        assert accuracy(model, test) > 0.85
        statistics = certmix.sample(model, test, sigma=0.5, num_estimation=500, seed=0)
        certificates = certmix.certify(statistics)
        certified[sigma] = certmix.certified_accuracy(certificates, test.labels, [0.5]).accuracy[0, 0]
    assert certified[0.5] > certified[0.0] + 0.2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sigma": -1}, "sigma must be >= 0"),
        ({"epochs": 0}, "epochs must be >= 1"),
        ({"batch_size": 0}, "batch_size must be >= 1"),
        ({"learning_rate": 0}, "learning_rate must be > 0"),
        ({"architecture": "resnet"}, "arch must be one of"),
    ],
)
def test_bad_arguments_are_named(digits, options, message):
    with pytest.raises(InvalidArgument, match=message):
        train(digits, **options)
