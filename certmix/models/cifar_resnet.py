"""Residual networks for 32 x 32 images, with the parameter names of the published smoothing checkpoints.

Source: He et al. 2016, Deep Residual Learning, Section 4.2; the projection shortcuts (1 x 1 convolution and batch norm)
and the names are those of Wei Yang's pytorch-classification, which locuslab/smoothing and its successors train.
"""

import torch
from torch import nn

from certmix.errors import InvalidArgument


class BasicBlock(nn.Module):
    """Two 3 x 3 convolutions around a shortcut, which is a projection where the shape changes."""

    def __init__(self, channels_in: int, channels: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.relu = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.downsample: nn.Module | None = None
        if stride != 1 or channels_in != channels:
            projection = nn.Conv2d(channels_in, channels, 1, stride=stride, bias=False)
            self.downsample = nn.Sequential(projection, nn.BatchNorm2d(channels))

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Features of shape (batch, channels, height / stride, width / stride)."""
        shortcut = inputs if self.downsample is None else self.downsample(inputs)
        hidden = self.relu(self.bn1(self.conv1(inputs)))
        outputs: torch.Tensor = self.relu(self.bn2(self.conv2(hidden)) + shortcut)
        return outputs


class CifarResNet(nn.Module):
    """A residual network of depth 6n + 2 with 16, 32 and 64 channels, for normalised inputs of shape (3, 32, 32).

    Args:
        depth: layers with weights, projections not counted: 20, 32, 44, 56, 110, ...
        num_classes: number of classes.
    Raises: InvalidArgument: another depth.
    Example:
        >>> sum(parameter.numel() for parameter in CifarResNet(110).parameters())
        1730714
    """

    def __init__(self, depth: int, num_classes: int = 10) -> None:
        super().__init__()
        if depth < 8 or (depth - 2) % 6:
            raise InvalidArgument(f"depth of a CIFAR ResNet must be 6n + 2 (20, 56, 110, ...), got {depth}.")
        blocks = (depth - 2) // 6
        self.conv1 = nn.Conv2d(3, 16, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(16)
        self.relu = nn.ReLU(inplace=True)
        self.layer1 = _stage(16, 16, blocks, stride=1)
        self.layer2 = _stage(16, 32, blocks, stride=2)
        self.layer3 = _stage(32, 64, blocks, stride=2)
        self.avgpool = nn.AvgPool2d(8)
        self.fc = nn.Linear(64, num_classes)
        for module in self.modules():
            if isinstance(module, nn.Conv2d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Logits of normalised inputs, shape (batch, num_classes)."""
        features = self.relu(self.bn1(self.conv1(inputs)))
        features = self.layer3(self.layer2(self.layer1(features)))
        outputs: torch.Tensor = self.fc(self.avgpool(features).flatten(1))
        return outputs


def cifar_resnet20(num_classes: int = 10) -> nn.Module:
    """`CifarResNet` of depth 20, 272,474 parameters for 10 classes."""
    return CifarResNet(20, num_classes)


def cifar_resnet110(num_classes: int = 10) -> nn.Module:
    """`CifarResNet` of depth 110, 1,730,714 parameters for 10 classes."""
    return CifarResNet(110, num_classes)


def _stage(channels_in: int, channels: int, blocks: int, stride: int) -> nn.Sequential:
    first = BasicBlock(channels_in, channels, stride)
    return nn.Sequential(first, *(BasicBlock(channels, channels) for _ in range(blocks - 1)))
