"""Models of other libraries, where they import: outputs, normalisation, and what is refused."""

import json
import sys
import zipfile

import pytest
import torch

from certmix.errors import InvalidArgument
from certmix.models import fingerprint, load_model
from tests.models.files import Hostile

IMAGENET_MEAN, IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def _normalised(x, mean, std):
    return (x - torch.tensor(mean).view(1, -1, 1, 1)) / torch.tensor(std).view(1, -1, 1, 1)


def _refused(spec, message, **options):
    with pytest.raises(InvalidArgument, match=message) as caught:
        load_model(spec, **options)
    assert "\n" not in str(caught.value)


class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = torch.nn.Linear(12, 5)

    def forward(self, inputs):
        return self.layer(inputs.flatten(1)).relu()


@pytest.fixture
def exported(tmp_path):
    torch.manual_seed(0)
    model = Net().eval()
    dynamic = {"inputs": {0: torch.export.Dim("batch")}}
    program = torch.export.export(model, (torch.rand(2, 3, 2, 2),), dynamic_shapes=dynamic)
    torch.export.save(program, tmp_path / "net.pt2")
    return tmp_path / "net.pt2", model


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
def test_exported_programs_need_trust_and_a_normalisation(exported):
    path, original = exported
    _refused(f"pt2:{path}", "runs code when loaded; add --trust-model")
    _refused(str(path), "runs code when loaded; add --trust-model")
    _refused(f"pt2:{path}", "does not say how its inputs are normalised", trust_model=True)
    model, x = load_model(f"pt2:{path},normalize=none", trust_model=True), torch.rand(7, 3, 2, 2)
    assert torch.allclose(model.eval().to("cpu")(x), original(x))
    stated = load_model(f"{path},mean=0.5,std=0.5", trust_model=True)
    assert torch.allclose(stated(x), original(2 * x - 1), atol=1e-6)
    assert fingerprint(model) != fingerprint(stated)
    _refused(f"pt2:{path},width=3", "must be among mean, std, normalize", trust_model=True)


def test_a_hostile_exported_program_is_not_opened_without_trust(tmp_path, monkeypatch):
    path = tmp_path / "net.pt2"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("net/data/weights/code.py", "raise SystemExit")
    opened = []
    monkeypatch.setattr(torch.export, "load", lambda *arguments: opened.append(arguments))
    for spec in (f"pt2:{path}", str(path)):
        _refused(spec, "runs code when loaded; add --trust-model")
    assert opened == []


@pytest.mark.parametrize(
    ("spec", "library", "extra"),
    [
        ("timm:resnet18", "timm", "timm"),
        ("torchvision:resnet50,weights=none", "torchvision", "vision"),
        ("hf:org/name", "transformers", "hf"),
    ],
)
def test_a_library_that_is_absent_is_named_with_its_extra(monkeypatch, spec, library, extra):
    for name in (library, f"{library}.models"):
        monkeypatch.setitem(sys.modules, name, None)
    _refused(spec, rf"{library} must be importable, .* 'certmix\[{extra}\]'")


@pytest.mark.usefixtures("torchvision")
def test_torchvision_models(tmp_path):
    from torchvision.models import resnet18

    torch.manual_seed(0)
    network, x = resnet18(num_classes=7).eval(), torch.rand(1, 3, 32, 32)
    torch.save(network.state_dict(), tmp_path / "w.pth")
    spec = f"torchvision:resnet18,num_classes=7,weights={tmp_path / 'w.pth'}"
    _refused(spec, "does not say how its inputs are normalised")
    model = load_model(f"{spec},normalize=imagenet")
    assert torch.allclose(model(x), network(_normalised(x, IMAGENET_MEAN, IMAGENET_STD)), atol=1e-5)
    assert load_model("torchvision:resnet18,weights=none,normalize=none")(x).shape == (1, 1000)
    _refused("torchvision:resnet18", "must state its weights: weights=DEFAULT")
    _refused("torchvision:resnet18,weights=NEWEST", "cannot be loaded: KeyError")
    _refused("torchvision:resnet19,weights=none", "cannot be loaded: ValueError: Unknown model resnet19")


@pytest.mark.usefixtures("torchvision")
def test_pretrained_torchvision_weights_bring_their_normalisation_and_run_nothing(tmp_path, monkeypatch):
    from torchvision.models import ResNet18_Weights, resnet18

    torch.manual_seed(0)
    network, x = resnet18().eval(), torch.rand(1, 3, 32, 32)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    cached = tmp_path / "hub" / "checkpoints" / ResNet18_Weights.IMAGENET1K_V1.url.rpartition("/")[2]
    cached.parent.mkdir(parents=True)
    torch.save(network.state_dict(), cached)
    model = load_model("torchvision:resnet18,weights=IMAGENET1K_V1")
    assert torch.allclose(model(x), network(_normalised(x, IMAGENET_MEAN, IMAGENET_STD)), atol=1e-5)
    torch.save({"fc.weight": Hostile(tmp_path / "ran")}, cached)
    _refused("torchvision:resnet18,weights=IMAGENET1K_V1", "cannot be loaded: UnpicklingError")
    assert not (tmp_path / "ran").exists()


@pytest.mark.usefixtures("torchvision")
def test_timm_models(tmp_path):
    timm = pytest.importorskip("timm")
    torch.manual_seed(0)
    network, x = timm.create_model("resnet18", num_classes=7).eval(), torch.rand(1, 3, 32, 32)
    torch.save({"state_dict": {f"module.{k}": v for k, v in network.state_dict().items()}}, tmp_path / "w.pth")
    spec = f"timm:resnet18,num_classes=7,weights={tmp_path / 'w.pth'}"
    _refused(spec, "does not say how its inputs are normalised")
    model = load_model(f"{spec},mean=0.5,std=0.5")
    assert torch.allclose(model(x), network(2 * x - 1), atol=1e-5)
    untrained = load_model("timm:resnet18,weights=none")
    assert untrained(x).shape == (1, 1000)
    assert untrained.mean.flatten().tolist() == pytest.approx(IMAGENET_MEAN)
    _refused("timm:resnet18_of_nobody,weights=none", "cannot be loaded: RuntimeError: Unknown model")


@pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::FutureWarning", "ignore::UserWarning")
def test_transformers_models(tmp_path):
    transformers = pytest.importorskip("transformers")
    sizes = {"embedding_size": 8, "hidden_sizes": [8, 16], "depths": [1, 1], "num_labels": 4}
    network = transformers.ResNetForImageClassification(transformers.ResNetConfig(**sizes, layer_type="basic")).eval()
    network.save_pretrained(tmp_path / "net")
    x = torch.rand(2, 3, 32, 32)
    _refused(f"hf:{tmp_path / 'net'}", "does not say how its inputs are normalised")
    stated = {"do_normalize": True, "image_mean": IMAGENET_MEAN, "image_std": IMAGENET_STD, "rescale_factor": 1 / 255}
    config = tmp_path / "net" / "preprocessor_config.json"
    config.write_text(json.dumps(stated))
    expected = network(_normalised(x, IMAGENET_MEAN, IMAGENET_STD)).logits
    assert torch.allclose(load_model(f"hf:{tmp_path / 'net'}")(x), expected, atol=1e-5)
    config.write_text(json.dumps({**stated, "do_normalize": False}))
    assert torch.allclose(load_model(f"hf:{tmp_path / 'net'}")(x), network(x).logits, atol=1e-5)
    config.write_text(json.dumps({**stated, "rescale_factor": 1 / 127.5}))
    _refused(f"hf:{tmp_path / 'net'}", "does not say how its inputs are normalised")
    _refused(f"hf:{tmp_path / 'net'},size=3", "must be mean, std, normalize or bounds, got 'size'")
    _refused(f"hf:{tmp_path / 'absent'}", "cannot be loaded")
