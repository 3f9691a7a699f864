"""`cohen:FILE`: checkpoints of locuslab/smoothing and the work that builds on it, as they were saved.

The file is {"epoch", "arch", "state_dict", ...}; the model was Sequential(normalisation, network), with "module." before
or inside the names where it was trained in parallel. Source: Cohen et al. 2019, github.com/locuslab/smoothing.
"""

import torch

from certmix.errors import InvalidArgument
from certmix.models.checkpoints import State, fit_state, read_state
from certmix.models.cifar_resnet import CifarResNet
from certmix.models.normalisation import KNOWN, Loaded, Normalisation
from certmix.specs import import_extra

# Architecture -> depth, number of classes of its data set, and that data set's normalisation in the original code.
_CIFAR = {"cifar_resnet20": 20, "cifar_resnet110": 110}
_MEANS, _STDS = ("means", "mean"), ("sds", "stds", "std")


def load_cohen(path: str) -> Loaded:
    """The network of a checkpoint with its normalisation: CIFAR-10's for 10 classes, ImageNet's for ResNet-50.

    Args:
        path: e.g. models/cifar10/resnet110/noise_0.25/checkpoint.pth.tar.
    Returns: the network, of inputs that are normalised as the original code does for its data set; another number of
        classes leaves that open.
    Raises: InvalidArgument: a file without `arch`, another architecture, or weights that do not fit.
    """
    state, others = read_state(path)
    arch = others.get("arch")
    if not isinstance(arch, str):
        raise InvalidArgument(
            f"{path} must be a checkpoint with arch and state_dict, got no arch; use FILE.pt,arch=... for bare weights."
        )
    state = {".".join(part for part in name.split(".") if part != "module"): value for name, value in state.items()}
    layer, network = _split(state)
    if "fc.weight" not in network or network["fc.weight"].ndim != 2:
        raise InvalidArgument(f"weights of {path} must fit {arch}, got no fc.weight; is the file whole?")
    classes = len(network["fc.weight"])
    model = _architecture(arch, classes, path)
    fit_state(model, network, path)
    if layer is not None:
        return Loaded(model, layer)
    usual = {"resnet50": (1000, "imagenet")}.get(arch, (10, "cifar10"))
    return Loaded(model, KNOWN[usual[1]] if classes == usual[0] else "unknown")


def _architecture(arch: str, num_classes: int, path: str) -> torch.nn.Module:
    if arch in _CIFAR:
        return CifarResNet(_CIFAR[arch], num_classes)
    if arch == "resnet50":
        model: torch.nn.Module = import_extra("torchvision.models", "vision").resnet50(
            weights=None, num_classes=num_classes
        )
        return model
    raise InvalidArgument(
        f"arch of {path} must be {', '.join(_CIFAR)} or resnet50, got {arch!r}; use FILE.pt,arch=pkg.module:factory."
    )


def _split(state: State) -> tuple[Normalisation | None, State]:
    """The normalisation layer's numbers, where the checkpoint has them, and the network's weights."""
    if not any(name.startswith("1.") for name in state):
        return None, state
    layer = {name[2:]: value for name, value in state.items() if name.startswith("0.")}
    network = {name[2:]: value for name, value in state.items() if name.startswith("1.")}
    numbers = [next((layer[name] for name in names if name in layer), None) for names in (_MEANS, _STDS)]
    if numbers[0] is None or numbers[1] is None:
        return None, network
    mean, std = (tuple(float(value) for value in found.flatten()) for found in numbers if found is not None)
    return Normalisation(mean, std), network
