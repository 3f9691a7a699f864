"""ResNet-9: the names of its weights, and a file with its normalisation inside."""

import torch

import certmix
from certmix.models import fingerprint, make_architecture
from certmix.training.train import save_model


def test_weights_of_a_plain_state_dict_load_by_name(tmp_path):
    model = make_architecture("cifar_resnet9").eval()
    assert {name.partition(".")[0] for name in model.state_dict()} == {
        *("prep", "layer1", "residual1", "layer2", "layer3", "residual3", "fc")
    }
    torch.save(model.state_dict(), tmp_path / "g.pt")
    loaded = certmix.load_model(f"{tmp_path / 'g.pt'},arch=cifar_resnet9,normalize=cifar10-pixels")
    inputs = torch.rand(2, 3, 32, 32)
    mean, std = torch.tensor([0.4914, 0.4822, 0.4465]), torch.tensor([0.2470, 0.2435, 0.2616])
    assert torch.equal(loaded(inputs), model((inputs - mean.view(3, 1, 1)) / std.view(3, 1, 1)))


def test_a_file_brings_its_normalisation(tmp_path):
    build = {"num_classes": 4, "mean": [0.5, 0.4, 0.3], "std": [0.2, 0.2, 0.1]}
    model, path = make_architecture("cifar_resnet9", **build), tmp_path / "h.safetensors"
    save_model(model, path, architecture="cifar_resnet9", settings={}, build=build)
    loaded = certmix.load_model(str(path))
    assert fingerprint(loaded) == fingerprint(model)
    assert loaded(torch.rand(1, 3, 8, 8)).shape == (1, 4)
