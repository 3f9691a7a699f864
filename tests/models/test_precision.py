"""A model in another precision: cast weights and inputs, float32 logits, another fingerprint."""

import pytest
import torch

from certmix.errors import InvalidArgument
from certmix.models import fingerprint, make_architecture
from certmix.models.architectures import Normalized
from certmix.models.cifar_resnet import CifarResNet
from certmix.models.precision import PRECISIONS, to_precision


@pytest.mark.parametrize(("precision", "close"), [("bf16", 0.1), ("fp16", 0.02)])
def test_outputs_are_float32_and_near_those_of_float32(precision, close):
    torch.manual_seed(0)
    model = Normalized(CifarResNet(8), [0.5, 0.4, 0.3], [0.2, 0.2, 0.2]).eval()
    before, x = fingerprint(model), torch.rand(4, 3, 32, 32)
    cast, exact = to_precision(model, precision), model(x)
    outputs = cast(x)
    assert outputs.dtype == torch.float32
    assert not torch.equal(outputs, exact)
    assert (outputs - exact).abs().max() < close * exact.abs().max()
    assert torch.equal(outputs, outputs.to(PRECISIONS[precision]).float())  # computed there, not only cast here
    assert not cast.training
    assert fingerprint(model) == before
    assert all(parameter.dtype == torch.float32 for parameter in model.parameters())


def test_the_casts_are_those_of_weights_and_inputs():
    model = make_architecture("mlp", input_size=4, num_classes=3).eval()
    x = torch.rand(5, 1, 2, 2)
    layers = [layer for layer in model if isinstance(layer, torch.nn.Linear)]
    hidden = x.flatten(1).bfloat16() @ layers[0].weight.bfloat16().T + layers[0].bias.bfloat16()
    expected = (hidden.relu() @ layers[1].weight.bfloat16().T + layers[1].bias.bfloat16()).float()
    assert torch.allclose(to_precision(model, "bf16")(x), expected, atol=2e-2)


def test_each_precision_is_another_classifier_and_float32_is_the_model_itself():
    model = make_architecture("mlp")
    assert to_precision(model, "fp32") is model
    assert len({fingerprint(to_precision(model, name)) for name in PRECISIONS}) == 3
    with pytest.raises(InvalidArgument, match="precision must be one of fp32, bf16, fp16, got 'fp8'"):
        to_precision(model, "fp8")
