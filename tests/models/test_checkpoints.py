"""Weights from files: prefixes, normalisation that must be stated, and files that are refused with nothing executed."""

import ast
import pickle
import zipfile
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

import certmix
from certmix.errors import InvalidArgument
from certmix.models import load_model, make_architecture
from tests.models.files import Hostile, write_cohen

CIFAR10_MEAN, CIFAR10_STD = (0.4914, 0.4822, 0.4465), (0.2023, 0.1994, 0.2010)


def _refused(spec, message, **options):
    with pytest.raises(InvalidArgument, match=message) as caught:
        load_model(str(spec), **options)
    assert "\n" not in str(caught.value)


def _normalised(x, mean, std):
    return (x - torch.tensor(mean).view(1, -1, 1, 1)) / torch.tensor(std).view(1, -1, 1, 1)


@pytest.mark.parametrize("prefix", ["module.1.", "1.", "1.module.", "module.", "", "module.module.1."])
@pytest.mark.parametrize("legacy", [False, True])
def test_published_checkpoints_load_as_they_are(tmp_path, prefix, legacy):
    network = write_cohen(tmp_path / "checkpoint.pth.tar", prefix=prefix, legacy=legacy)
    model = load_model(f"cohen:{tmp_path / 'checkpoint.pth.tar'}")
    x = torch.rand(2, 3, 32, 32)
    assert not model.training
    assert torch.allclose(model(x), network(_normalised(x, CIFAR10_MEAN, CIFAR10_STD)), atol=1e-5)


def test_a_resnet110_checkpoint_loads_with_no_missing_and_no_unexpected_name(tmp_path):
    network = write_cohen(tmp_path / "checkpoint.pth.tar", 110)
    loaded = load_model(f"cohen:{tmp_path / 'checkpoint.pth.tar'}").model
    assert all(torch.equal(value, loaded.state_dict()[name]) for name, value in network.state_dict().items())
    content = torch.load(tmp_path / "checkpoint.pth.tar", weights_only=True)
    name = "module.1.layer3.17.conv2.weight"
    moved = {**content["state_dict"], "module.1.layer3.17.conv9.weight": content["state_dict"][name]}
    for state, message in [
        (moved, r'Unexpected key\(s\) in state_dict: "layer3.17.conv9.weight"'),
        ({key: value for key, value in moved.items() if "conv2" not in key and "conv9" not in key}, "Missing key"),
        ({**content["state_dict"], name: torch.zeros(3, 3)}, "size mismatch for layer3.17.conv2.weight"),
        ({"module.1.conv1.weight": torch.zeros(1)}, r"got no fc\.weight"),
    ]:
        torch.save({**content, "state_dict": state}, tmp_path / "changed.pth.tar")
        _refused(f"cohen:{tmp_path / 'changed.pth.tar'}", message)


def test_the_normalisation_of_a_cohen_checkpoint_is_its_own_or_its_data_sets(tmp_path):
    x, path = torch.rand(1, 3, 32, 32), tmp_path / "c.pth.tar"
    network = write_cohen(path)
    content = torch.load(path, weights_only=True)
    layer = {"module.0.means": torch.tensor([0.1, 0.2, 0.3]), "module.0.sds": torch.tensor([1.0, 2.0, 4.0])}
    torch.save({**content, "state_dict": {**layer, **content["state_dict"]}}, path)
    assert torch.allclose(
        load_model(f"cohen:{path}")(x), network(_normalised(x, (0.1, 0.2, 0.3), (1, 2, 4))), atol=1e-5
    )
    assert torch.allclose(load_model(f"cohen:{path},normalize=none")(x), network(x), atol=1e-5)
    stated = load_model(f"cohen:{path},mean=0.5,std=0.25")
    assert torch.allclose(stated(x), network((x - 0.5) / 0.25), atol=1e-5)
    hundred = write_cohen(path, num_classes=100)
    _refused(f"cohen:{path}", "does not say how its inputs are normalised: add mean=M/M/M,std=S/S/S, normalize=cifar10")
    again = load_model(f"cohen:{path},normalize=cifar10")(x)
    assert torch.allclose(again, hundred(_normalised(x, CIFAR10_MEAN, CIFAR10_STD)), atol=1e-5)


def test_cohen_files_of_another_kind_are_named(tmp_path):
    write_cohen(tmp_path / "arch.tar", arch="wide_resnet")
    _refused(f"cohen:{tmp_path / 'arch.tar'}", "must be cifar_resnet20, cifar_resnet110 or resnet50, got 'wide_resnet'")
    torch.save({"state_dict": {"fc.weight": torch.zeros(2, 2)}}, tmp_path / "bare.tar")
    _refused(f"cohen:{tmp_path / 'bare.tar'}", r"got no arch; use FILE\.pt,arch=")
    write_cohen(tmp_path / "c.tar")
    _refused(f"cohen:{tmp_path / 'c.tar'},width=3", "must be among mean, std, normalize, bounds, got 'width'")


@pytest.mark.usefixtures("torchvision")
def test_an_imagenet_checkpoint_loads_through_torchvision(tmp_path):
    from torchvision.models import resnet50

    network = resnet50(weights=None).eval()
    state = {f"1.module.{name}": value for name, value in network.state_dict().items()}
    torch.save({"epoch": 90, "arch": "resnet50", "state_dict": state}, tmp_path / "c.pth.tar")
    model, x = load_model(f"cohen:{tmp_path / 'c.pth.tar'}"), torch.rand(1, 3, 64, 64)
    expected = network(_normalised(x, (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    with torch.inference_mode():
        assert torch.allclose(model(x), expected, atol=1e-4)


@pytest.mark.parametrize("name", ["w.pt", "w.pth", "w.bin", "w.safetensors"])
@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.model."])
def test_weights_of_any_importable_architecture_load(tmp_path, name, prefix):
    model = make_architecture("mlp", num_classes=3).eval()
    state = {f"{prefix}{key}": value for key, value in model.state_dict().items()}
    if name.endswith("safetensors"):
        save_file(state, tmp_path / name)
    else:
        torch.save(state if prefix else {"model_state_dict": state, "epoch": 3}, tmp_path / name)
    x = torch.rand(2, 1, 8, 8)
    (tmp_path / "net.py").write_text("from certmix.models.architectures import mlp\n")
    for arch, trust in (
        ("mlp", False),
        ("certmix.models.architectures:mlp", True),
        (f"{tmp_path / 'net.py'}:mlp", True),
    ):
        spec = f"{tmp_path / name},arch={arch},num_classes=3"
        assert torch.equal(load_model(f"{spec},normalize=none", trust_model=trust)(x), model(x))
        assert torch.allclose(load_model(f"{spec},normalize=half", trust_model=trust)(x), model(2 * x - 1), atol=1e-5)
        _refused(spec, "does not say how its inputs are normalised", trust_model=trust)
    _refused(
        f"{tmp_path / name},arch=certmix.models.architectures:mlp,num_classes=3,normalize=none", "add --trust-model"
    )
    _refused(f"{tmp_path / name},arch=mlp,num_classes=4,normalize=none", "must fit the architecture, got size mismatch")


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("mean=0.5", "mean and std must be given together"),
        ("mean=0.5/0.5,std=0.5", "mean and std must be as many"),
        ("mean=0.5,std=0", "with std > 0"),
        ("mean=a,std=0.5", "mean must be numbers separated by /"),
        ("normalize=cifar", "normalize must be none, cifar10, cifar10-pixels, imagenet, half"),
        ("normalize=none,mean=0.5,std=0.5", "give mean and std, or normalize, or bounds, not both"),
    ],
)
def test_normalisation_that_makes_no_sense_is_named(tmp_path, options, message):
    torch.save(make_architecture("mlp").state_dict(), tmp_path / "w.pt")
    _refused(f"{tmp_path / 'w.pt'},arch=mlp,{options}", message)


@pytest.mark.parametrize("legacy", [False, True])
@pytest.mark.parametrize("source", ["", "cohen:"])
def test_hostile_pickles_are_refused_by_name_and_nothing_runs(tmp_path, legacy, source):
    path, marker = tmp_path / "model.pt", tmp_path / "ran"
    content = {"arch": "cifar_resnet20", "state_dict": {"fc.weight": Hostile(marker)}}
    torch.save(content, path, _use_new_zipfile_serialization=not legacy)
    _refused(
        f"{source}{path}" + ("" if source else ",arch=mlp"), r"could run code \((_io\.open|builtins\.open|io\.open)\)"
    )
    path.write_bytes(pickle.dumps(Hostile(marker)))
    _refused(f"{source}{path}" + ("" if source else ",arch=mlp"), r"model\.pt (holds objects|must be a)")
    assert not marker.exists()
    pickle.loads(path.read_bytes()).close()  # the test's own file would have run
    assert marker.exists()


def test_whole_pickled_models_and_torchscript_are_refused_with_the_remedy(tmp_path):
    torch.save(make_architecture("mlp"), tmp_path / "whole.pt")
    _refused(
        f"{tmp_path / 'whole.pt'},arch=mlp", r"could run code \(.*torch\.nn\.modules.* save only model\.state_dict\(\)"
    )
    with zipfile.ZipFile(tmp_path / "script.pt", "w") as archive:
        archive.writestr("script/constants.pkl", b"")
        archive.writestr("script/code/__torch__.py", "")
    _refused(f"{tmp_path / 'script.pt'},arch=mlp", "is a TorchScript archive, which holds code")


@pytest.mark.parametrize("name", ["m.pt", "m.pth.tar", "m.safetensors", "m.pt2"])
@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"<!DOCTYPE html><html>404</html>", "got an HTML page"),
        (b"\n <HTML>", "got an HTML page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "got a Git LFS pointer"),
        (b"", "got an empty one"),
        (b"PK\x03\x04 damaged", "m.(pt|pth.tar|safetensors|pt2) (must be|cannot be loaded)"),
    ],
)
def test_files_that_are_no_models_are_named(tmp_path, name, content, message):
    (tmp_path / name).write_bytes(content)
    spec = f"{tmp_path / name}" if name != "m.pt2" else f"pt2:{tmp_path / name}"
    _refused(spec, message, trust_model=True)


def test_checkpoints_without_weights_are_named(tmp_path):
    path = tmp_path / "m.pt"
    for content, message in [
        ([1, 2], "must hold a state dict, got list"),
        ({"epoch": 3}, "must hold a state dict .*, got: epoch"),
        ({}, "got: nothing"),
    ]:
        torch.save(content, path)
        _refused(f"{path},arch=mlp", message)
    _refused(f"{tmp_path / 'absent.pt'},arch=mlp", "model file must exist")
    torch.save(make_architecture("mlp").state_dict(), path)
    _refused(path, "does not name its architecture")
    path.write_bytes(path.read_bytes()[:-200])
    _refused(f"{path},arch=mlp", "must be a whole checkpoint of torch.save")


def test_safetensors_of_others_may_hold_any_metadata(tmp_path):
    state = make_architecture("mlp").state_dict()
    for metadata in ({"certmix": "no json"}, {"certmix": "[1]"}, {"format": "pt"}):
        save_file(state, tmp_path / "w.safetensors", metadata=metadata)
        _refused(tmp_path / "w.safetensors", "does not name its architecture")
    save_file(state, tmp_path / "w.safetensors", metadata={"certmix": '{"architecture": "os:system"}'})
    _refused(tmp_path / "w.safetensors", "arch must be one of", trust_model=True)


def test_unknown_sources_are_refused_with_the_nearest_match():
    for spec, near in [("cohn:x.tar", "cohen"), ("torchvison:resnet50", "torchvision"), ("tim:resnet18", "timm")]:
        _refused(spec, f"did you mean {near}?")


def test_every_torch_load_is_restricted_to_weights():
    found = []
    for path in Path(certmix.__file__).parent.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "load":
                if ast.unparse(node.func) == "torch.load":
                    options = {option.arg: ast.unparse(option.value) for option in node.keywords}
                    found.append((path.name, options.get("weights_only")))
                assert ast.unparse(node.func) not in ("pickle.load", "joblib.load", "torch.jit.load")
    assert found == [("checkpoints.py", "True")]
