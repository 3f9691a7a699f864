"""ResNet-9: the small residual network that reaches most of CIFAR-10's accuracy in the fewest seconds.

Source: David Page 2018, How to Train Your ResNet (the DAWNBench entries), github.com/davidcpage/cifar10-fast.
"""

import torch
from torch import nn


class ResNet9(nn.Module):
    """Eight 3 x 3 convolutions, two shortcuts and a linear layer, for normalised images of 8 x 8 pixels and up.

    Differs: the last pooling takes the maximum over the whole map, and logits are not scaled by 1/8.

    Args:
        num_classes: number of classes.
        width: channels of the first convolution, 64 in the source; the others have 2 and 4 times as many (8 there).
    Example:
        >>> sum(parameter.numel() for parameter in ResNet9().parameters())
        611882
    """

    def __init__(self, num_classes: int = 10, width: int = 32) -> None:
        super().__init__()
        self.prep = _convolution(3, width)
        self.layer1 = _convolution(width, 2 * width, pool=True)
        self.residual1 = nn.Sequential(_convolution(2 * width, 2 * width), _convolution(2 * width, 2 * width))
        self.layer2 = _convolution(2 * width, 4 * width, pool=True)
        self.layer3 = _convolution(4 * width, 4 * width, pool=True)
        self.residual3 = nn.Sequential(_convolution(4 * width, 4 * width), _convolution(4 * width, 4 * width))
        self.fc = nn.Linear(4 * width, num_classes)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Logits of normalised inputs, shape (batch, num_classes)."""
        maps = self.layer1(self.prep(inputs))
        maps = self.layer3(self.layer2(maps + self.residual1(maps)))
        maps = maps + self.residual3(maps)
        logits: torch.Tensor = self.fc(maps.amax(dim=(2, 3)))
        return logits


def _convolution(channels_in: int, channels: int, *, pool: bool = False) -> nn.Sequential:
    convolution = nn.Conv2d(channels_in, channels, 3, padding=1, bias=False)
    return nn.Sequential(convolution, *[nn.MaxPool2d(2)] * pool, nn.BatchNorm2d(channels), nn.ReLU())
