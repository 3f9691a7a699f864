"""The Lipschitz-aware certificate of a run: recorded in the promise, refused where it cannot hold, verified at 50 digits."""

from dataclasses import replace

import numpy as np
import pytest
import torch

import certmix
from certmix.certification.certify import certify
from certmix.certifiers import softmax_lipschitz_constant
from certmix.errors import InvalidArgument
from certmix.formats.certificates import read_certificates, write_certificates
from certmix.rules import LinearRule, ThresholdRule
from certmix.verification.recompute import check_certificates
from certmix.verification.redraw import Verification

RULES = (LinearRule(0.6), LinearRule(1.0), ThresholdRule(0.4))
CONSTANT = softmax_lipschitz_constant(1.0001, temperature=0.5)


@pytest.fixture(scope="module")
def drawn():
    """Votes of a linear network with orthonormal rows, whose logits are twice the projections."""
    torch.manual_seed(0)
    network = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10, bias=False))
    torch.nn.init.orthogonal_(network[1].weight)
    network[1].weight.data *= 2.0
    data = certmix.load_dataset("digits", max=6)

    def sample(noise, votes):
        return certmix.sample(network, data, sigma=0.5, num_estimation=300, seed=3, votes=votes, noise=noise)

    return {"float": sample("float", "both"), "integer": sample("integer", "soft"), "hard": sample("float", "hard")}


@pytest.fixture(scope="module")
def made(drawn):
    return certify(drawn["float"], rules=RULES, certifier="lipschitz-smoothed", lipschitz=CONSTANT)


def _differences(statistics, certificates):
    result = Verification()
    check_certificates(statistics, certificates, result)
    assert result.certificates_checked == certificates.radius.size
    return result.differences


def test_it_certifies_more_than_the_exact_certificate_and_is_verified(drawn, made):
    exact = certify(drawn["float"], rules=RULES, votes="soft")
    assert (made.radius >= exact.radius).all()
    assert (made.radius > 1.05 * exact.radius).sum() >= 4
    assert _differences(drawn["float"], made) == []
    assert _differences(drawn["float"], exact) == []
    for change, message in ((1 + 1e-6, "above what the votes support"), (0.99, "below the recomputed")):
        forged = replace(made, radius=made.radius * change)
        assert len(_differences(drawn["float"], forged)) == (made.radius > 0).sum()
        assert message in _differences(drawn["float"], forged)[0]


def test_the_supposition_is_written_and_cannot_be_left_out(drawn, made, tmp_path):
    write_certificates(tmp_path, [made])
    (read,) = read_certificates(tmp_path)
    assert read.promise == made.promise
    assert read.promise.lipschitz == CONSTANT
    assert "SUPPOSE" in read.promise.text
    assert np.array_equal(read.radius, made.radius)
    silent = Verification()
    check_certificates(drawn["float"], replace(made, promise=replace(made.promise, lipschitz=None)), silent)
    assert "states no Lipschitz constant" in silent.differences[0]
    smaller = replace(made, promise=replace(made.promise, lipschitz=2 * CONSTANT))
    assert any("above what the votes support" in line for line in _differences(drawn["float"], smaller))


def test_what_it_cannot_promise_is_refused(drawn):
    how = {"certifier": "lipschitz-smoothed", "lipschitz": CONSTANT}
    for run, asked, message in (
        ("float", how | {"lipschitz": None}, "certifier 'lipschitz-smoothed' needs lipschitz"),
        (
            "float",
            how | {"certifier": "exact"},
            "lipschitz is for certifier 'lipschitz-smoothed' alone, got",
        ),
        ("float", how | {"lipschitz": -1.0}, "lipschitz must be > 0 and finite"),
        ("float", how | {"votes": "hard"}, "certifier 'lipschitz-smoothed' needs soft votes, got votes 'hard'"),
        ("integer", how, "lipschitz needs float noise, got integer"),
        ("hard", how, "votes 'soft' need a run that holds soft ones"),
    ):
        with pytest.raises(InvalidArgument, match=message) as error:
            certify(drawn[run], **asked)
        assert "\n" not in str(error.value)
