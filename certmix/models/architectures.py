"""Small networks by name: what `certmix train` trains and what safetensors files of certmix name."""

from collections.abc import Callable

import torch
from torch import nn

from certmix.errors import InvalidArgument
from certmix.models.cifar_resnet import cifar_resnet20, cifar_resnet110
from certmix.models.resnet import ResNet18
from certmix.models.resnet9 import ResNet9


def digits_cnn(num_classes: int = 10) -> nn.Module:
    """A convolutional network for (1, 8, 8) digits: two strided convolutions and a hidden layer, 36,000 parameters."""
    return nn.Sequential(
        nn.Conv2d(1, 32, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Conv2d(32, 64, 3, stride=2, padding=1),
        nn.ReLU(),
        nn.Flatten(),
        nn.Linear(256, 64),
        nn.ReLU(),
        nn.Linear(64, num_classes),
    )


def mlp(input_size: int = 64, num_classes: int = 10, width: int = 128) -> nn.Module:
    """One hidden layer on flattened inputs."""
    return nn.Sequential(nn.Flatten(), nn.Linear(input_size, width), nn.ReLU(), nn.Linear(width, num_classes))


ARCHITECTURES: dict[str, Callable[..., nn.Module]] = {
    "digits-cnn": digits_cnn,
    "mlp": mlp,
    "cifar_resnet9": ResNet9,
    "cifar_resnet20": cifar_resnet20,
    "cifar_resnet110": cifar_resnet110,
    "resnet18": ResNet18,
}


class Normalized(nn.Module):
    """A classifier of [0, 1] inputs from one of normalised inputs: (x - mean) / std per channel comes first.

    Args:
        model: takes normalised inputs.
        mean, std: one number per channel, or one for all.
    """

    mean: torch.Tensor
    std: torch.Tensor

    def __init__(self, model: nn.Module, mean: list[float], std: list[float]) -> None:
        super().__init__()
        self.model = model
        self.register_buffer("mean", torch.tensor(mean).view(-1, 1, 1))
        self.register_buffer("std", torch.tensor(std).view(-1, 1, 1))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Logits of [0, 1] inputs of shape (batch, channels, height, width).

        Raises: InvalidArgument: other channels than means, which broadcasting would turn into an image unasked.
        """
        if len(self.mean) > 1 and inputs.shape[1] != len(self.mean):
            raise InvalidArgument(
                f"inputs must have {len(self.mean)} channels (as many as the normalisation), got {inputs.shape[1]}; "
                "for grey images add mode=rgb to the data set, or use a model of grey images."
            )
        outputs: torch.Tensor = self.model((inputs - self.mean) / self.std)
        return outputs
