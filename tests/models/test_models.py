"""Loading models by spec, the mixture of Eq. 5, fingerprints."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file

from certmix.errors import InvalidArgument
from certmix.models import MixedClassifier, fingerprint, load_model, make_architecture
from certmix.training.train import save_model


class Fixed(torch.nn.Module):
    """Returns the logits it was given."""

    def __init__(self, logits):
        super().__init__()
        self.logits = torch.nn.Parameter(torch.as_tensor(logits, dtype=torch.float64))

    def forward(self, inputs):
        return self.logits


INPUT = torch.zeros(1, 1)


def _mix(g, h, weight, hard=False):
    return MixedClassifier(Fixed(g), Fixed(h), weight, hard_accurate=hard)(INPUT)


logits = st.lists(st.floats(-30, 30), min_size=3, max_size=3).map(lambda row: [row])


@given(logits, logits, st.floats(0, 1), st.booleans())
def test_the_mixture_is_equation_five(g, h, weight, hard):
    g_probabilities = torch.softmax(torch.tensor(g, dtype=torch.float64), 1)
    if hard:
        g_probabilities = torch.nn.functional.one_hot(torch.tensor(g).argmax(1), 3).double()
    expected = (1 - weight) * g_probabilities + weight * torch.softmax(torch.tensor(h, dtype=torch.float64), 1)
    assert torch.allclose(_mix(g, h, weight, hard).exp(), expected, atol=1e-12)


@pytest.mark.parametrize("weight", [0.0, 1e-300, 0.3, 0.5, 1.0])
@pytest.mark.parametrize("hard", [False, True])
def test_outputs_and_gradients_are_finite_for_huge_logits(weight, hard):
    mixture = MixedClassifier(Fixed([[1e4, -1e4, 0.0]]), Fixed([[-1e4, 0.0, 1e4]]), weight, hard_accurate=hard)
    outputs = mixture(INPUT)
    assert torch.isfinite(outputs).all()
    torch.nn.functional.nll_loss(outputs, torch.tensor([1])).backward()
    gradients = [p.grad for p in mixture.parameters() if p.grad is not None]
    assert gradients or (hard and weight == 0)
    assert all(torch.isfinite(g).all() for g in gradients)


def test_gradients_flow_into_both_models():
    mixture = MixedClassifier(Fixed([[0.3, 0.1, 0.0]]), Fixed([[0.0, 0.2, 0.1]]), 0.6)
    mixture(INPUT)[0, 1].backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in mixture.parameters())


def test_a_mixture_checks_its_weight_and_its_shapes():
    with pytest.raises(InvalidArgument, match=r"mixing_weight must be in \[0, 1\]"):
        MixedClassifier(Fixed([[0.0]]), Fixed([[0.0]]), 1.5)
    with pytest.raises(InvalidArgument, match="outputs of one shape"):
        _mix([[0.0, 1.0]], [[0.0, 1.0, 2.0]], 0.5)
    assert math.isclose(float(_mix([[0.0, 0.0]], [[0.0, 0.0]], 0.5).detach().exp().sum()), 1.0)


def test_a_saved_model_is_loaded_bit_for_bit_and_names_its_architecture(tmp_path):
    model = make_architecture("digits-cnn", num_classes=7)
    save_model(model, tmp_path / "h.safetensors", architecture="digits-cnn", settings={"num_classes": 7, "sigma": 0.5})
    loaded = load_model(str(tmp_path / "h.safetensors"))
    assert not loaded.training
    assert fingerprint(loaded) == fingerprint(model.eval())
    with pytest.raises(InvalidArgument, match="must not exist, but does"):
        save_model(model, tmp_path / "h.safetensors", architecture="digits-cnn", settings={})


def test_fingerprints_tell_weights_and_architectures_apart():
    torch.manual_seed(0)
    one, two = make_architecture("mlp"), make_architecture("mlp")
    assert fingerprint(one) != fingerprint(two)
    two.load_state_dict(one.state_dict())
    assert fingerprint(one) == fingerprint(two)
    assert fingerprint(torch.nn.ReLU()) != fingerprint(torch.nn.GELU())


def test_normalisation_goes_inside_the_model(tmp_path):
    model = make_architecture("mlp").eval()
    save_model(model, tmp_path / "m.safetensors", architecture="mlp", settings={"num_classes": 10})
    inside = load_model(f"{tmp_path / 'm.safetensors'},mean=0.5,std=0.25")
    x = torch.rand(3, 1, 8, 8)
    assert torch.allclose(inside(x), model((x - 0.5) / 0.25))


def test_python_models_need_trust(tmp_path):
    marker = tmp_path / "ran"
    (tmp_path / "own.py").write_text(
        f"import pathlib, torch\npathlib.Path({str(marker)!r}).touch()\n"
        "def build(classes=3):\n    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4, classes))\n"
        "def wrong():\n    return 3\n"
    )
    spec = f"py:{tmp_path / 'own.py'}:build"
    with pytest.raises(InvalidArgument, match="runs code when loaded; add --trust-model"):
        load_model(spec)
    assert not marker.exists()
    assert load_model(f"{spec},classes=5", trust_model=True)(torch.zeros(2, 1, 2, 2)).shape == (2, 5)
    (tmp_path / "same.py").write_text("import torch\n" + (tmp_path / "own.py").read_text())
    torch.manual_seed(0)
    one = load_model(spec, trust_model=True)
    two = load_model(spec.replace("own.py", "same.py"), trust_model=True)
    two.load_state_dict(one.state_dict())
    assert fingerprint(one) != fingerprint(two)  # the code differs, and no repr shows code
    for bad, message in [
        (f"py:{tmp_path / 'own.py'}:wrong", "must return a torch.nn.Module, got int"),
        (f"py:{tmp_path / 'own.py'}:absent", "found no callable 'absent'"),
        (f"py:{tmp_path / 'absent.py'}:build", "existing file"),
        (f"{spec},size=5", "must be what its factory takes"),
    ]:
        with pytest.raises(InvalidArgument, match=message):
            load_model(bad, trust_model=True)


def test_files_that_are_no_models_are_named(tmp_path):
    html, plain, foreign = (tmp_path / f"{name}.safetensors" for name in ("html", "plain", "foreign"))
    html.write_text("<!DOCTYPE html><html>404</html>")
    plain.write_text("hello")
    save_file({"weight": torch.zeros(2, 2)}, foreign)
    for spec, message in [
        (str(tmp_path / "absent.safetensors"), "model file must exist"),
        (str(html), "an HTML page"),
        (str(plain), "must be a safetensors file"),
        (str(foreign), "does not name its architecture"),
        (f"{foreign},arch=mlp", "must fit the architecture"),
        (f"{foreign},arch=resnet", "arch must be one of digits-cnn, mlp"),
        (f"{foreign},arch=os:system", "runs code when loaded"),
        (f"{foreign},arch=mlp,mean=0.5", "mean and std must be given together"),
        ("unknown:model", "model spec must start with one of"),
    ]:
        with pytest.raises(InvalidArgument, match=message) as caught:
            load_model(spec)
        assert "\n" not in str(caught.value)
