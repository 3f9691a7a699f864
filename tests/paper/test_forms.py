"""Eqs. 1 to 4 against direct formulas, their limits, and finite differences of their gradients."""

import itertools

import pytest
import torch
from torch import nn

from certmix.errors import InvalidArgument
from certmix.models import MixedClassifier
from certmix.paper.forms import FACTORS, SCALES, LocallyBiasedBinary, MixingForm, gradient_norms

FORMS = list(itertools.product(FACTORS, SCALES))
ORDER = {"linf": 1, "l2": 2, "l1": float("inf")}


def _smooth(seed, classes=4):
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(6, 12), nn.Tanh(), nn.Linear(12, classes)).double()


G, H = _smooth(0), _smooth(1)
INPUTS = torch.rand(5, 6, generator=torch.Generator().manual_seed(2)).double()


def _jacobian(model, on, x):
    function = (lambda z: model(z[None])[0].softmax(dim=0)) if on == "probabilities" else (lambda z: model(z[None])[0])
    return torch.autograd.functional.jacobian(function, x)


@pytest.mark.parametrize("norm", ORDER)
@pytest.mark.parametrize("factor, on", FORMS)
def test_equation_4_row_by_row(factor, on, norm):
    form = MixingForm(accurate=G, robust=H, gamma=0.7, factor=factor, on=on, norm=norm)
    for x, mixed in zip(INPUTS, form(INPUTS), strict=True):
        g, h = (m(x[None])[0].softmax(dim=0) if on == "probabilities" else m(x[None])[0] for m in (G, H))
        slopes = [torch.linalg.vector_norm(_jacobian(m, on, x), ord=ORDER[norm], dim=1) for m in (G, H)]
        ratio = {
            "one": torch.ones(4).double(),
            "own-gradient": slopes[0],
            "top-gradient": slopes[0][g.argmax()].expand(4),
            "gradient-ratio": slopes[0] / slopes[1],
        }[factor]
        expected = (g + 0.7 * ratio * h) / (1 + 0.7 * ratio)
        torch.testing.assert_close(mixed, expected.log() if on == "probabilities" else expected)


@pytest.mark.parametrize("factor, on", FORMS)
def test_gradients_are_exact(factor, on):
    form = MixingForm(accurate=G, robust=H, gamma=1.3, factor=factor, on=on, norm="l2")
    assert torch.autograd.gradcheck(form, INPUTS[:2].clone().requires_grad_(True), eps=1e-6, atol=1e-5)


@pytest.mark.parametrize("factor, on", FORMS)
def test_the_ends_are_the_two_models(factor, on):
    for gamma, model in ((0.0, G), (float("inf"), H)):
        mixed = MixingForm(accurate=G, robust=H, gamma=gamma, factor=factor, on=on)(INPUTS)
        assert torch.equal(mixed.argmax(dim=1), model(INPUTS).argmax(dim=1))


def test_factor_one_on_probabilities_is_equation_5():
    mixed = MixingForm(accurate=G, robust=H, gamma=0.8 / 0.2)(INPUTS)
    torch.testing.assert_close(
        mixed, MixedClassifier(accurate=G, robust=H, mixing_weight=0.8, accurate_vote="softmax")(INPUTS)
    )


def test_equations_2_and_3():
    plain = MixingForm(
        accurate=G, robust=H, gamma=0.7, factor="own-gradient", on="logits", norm="l2", normalized=False
    )(INPUTS)
    slope = gradient_norms(G, INPUTS, 2)
    torch.testing.assert_close(plain, G(INPUTS) + 0.7 * slope * H(INPUTS))
    third = MixingForm(accurate=G, robust=H, gamma=0.7, factor="own-gradient", on="logits", norm="l2")(INPUTS)
    torch.testing.assert_close(third, plain / (1 + 0.7 * slope))


def test_equation_1_moves_the_sign():
    g, h = _smooth(3, classes=2), _smooth(4, classes=2)
    with torch.no_grad():
        score = g(INPUTS)[:, 1] - g(INPUTS)[:, 0]
        side = torch.sign(h(INPUTS)[:, 1] - h(INPUTS)[:, 0])
    slope = gradient_norms(lambda x: g(x)[:, 1:] - g(x)[:, :1], INPUTS, 1)[:, 0]
    for gamma in (0.0, 0.2, 5.0):
        logits = LocallyBiasedBinary(accurate=g, robust=h, gamma=gamma)(INPUTS)
        torch.testing.assert_close(logits[:, 1] - logits[:, 0], score + gamma * side * slope)
    assert torch.equal(
        LocallyBiasedBinary(accurate=g, robust=h, gamma=1e6)(INPUTS).argmax(dim=1), h(INPUTS).argmax(dim=1)
    )


def test_factors_without_gradient_mode():
    form = MixingForm(accurate=G, robust=H, gamma=1.0, factor="own-gradient")
    with torch.no_grad():
        quiet = form(INPUTS)
    torch.testing.assert_close(quiet, form(INPUTS.clone().requires_grad_(True)).detach())


def test_bad_input_is_named():
    for change, message in [
        ({"factor": "two"}, "factor must be one of one, own-gradient, top-gradient, gradient-ratio, got 'two'."),
        ({"on": "scores"}, "on must be one of probabilities, logits, got 'scores'."),
        ({"norm": "l0"}, "norm must be one of linf, l2, l1, got 'l0'."),
        ({"gamma": -1.0}, "gamma must be >= 0 (and finite without the denominator), got -1.0."),
    ]:
        with pytest.raises(InvalidArgument) as error:
            MixingForm(accurate=G, robust=H, **{"gamma": 1.0, **change})
        assert message in str(error.value)
    with pytest.raises(InvalidArgument, match="gamma must be >= 0 and finite"):
        LocallyBiasedBinary(accurate=G, robust=H, gamma=float("inf"))
    with pytest.raises(InvalidArgument, match="Eq. 1 is for two classes, got 4; use MixingForm"):
        LocallyBiasedBinary(accurate=G, robust=H, gamma=1.0)(INPUTS)
