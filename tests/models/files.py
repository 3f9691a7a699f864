"""Checkpoints as the field saves them, with random weights."""

from pathlib import Path

import torch

from certmix.models.cifar_resnet import CifarResNet


def write_cohen(
    path: Path, depth: int = 20, *, prefix: str = "module.1.", legacy: bool = False, **changes
) -> CifarResNet:
    """A checkpoint of locuslab/smoothing's train.py; returns the network in it."""
    torch.manual_seed(depth)
    model = CifarResNet(depth, changes.pop("num_classes", 10)).eval()
    for module in model.modules():  # batch norms that do something
        if isinstance(module, torch.nn.BatchNorm2d):
            module.running_mean.normal_(0, 0.1)
            module.running_var.uniform_(0.5, 1.5)
    state = {f"{prefix}{name}": value for name, value in model.state_dict().items()}
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    content = {"epoch": 90, "arch": f"cifar_resnet{depth}", "state_dict": state, "optimizer": optimizer.state_dict()}
    torch.save({**content, **changes}, path, _use_new_zipfile_serialization=not legacy)
    return model


class Hostile:
    """A pickle that would create a file when loaded."""

    def __init__(self, marker: Path) -> None:
        self.marker = str(marker)

    def __reduce__(self):
        return (open, (self.marker, "w"))
