"""ResNet-18 for small images: a base model, and the trunk of the mixing network. Source: He et al. 2016, arXiv:1512.03385."""

import torch
from torch import nn


class BasicBlock(nn.Module):
    """Two 3x3 convolutions with batch-norm and a shortcut; the shortcut is a 1x1 convolution where shapes differ."""

    def __init__(self, channels_in: int, channels: int, stride: int = 1) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels_in, channels, 3, stride, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, 1, 1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or channels_in != channels:
            self.shortcut = nn.Sequential(
                nn.Conv2d(channels_in, channels, 1, stride, bias=False), nn.BatchNorm2d(channels)
            )

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Maps of shape (batch, channels, height / stride, width / stride)."""
        inner = self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(inputs)))))
        return torch.relu(inner + self.shortcut(inputs))


def stage(channels_in: int, channels: int, stride: int) -> nn.Sequential:
    """Two basic blocks, the first with the stride."""
    return nn.Sequential(BasicBlock(channels_in, channels, stride), BasicBlock(channels, channels))


class ResNet18(nn.Module):
    """ResNet-18 with a 3x3 first convolution of stride 1 and no pooling after it, for images of about 32x32.

    Args:
        num_classes: number of classes.
        channels: of the input.
        width: of the first stage; the others have 2, 4 and 8 times as many.
    """

    def __init__(self, num_classes: int = 10, channels: int = 3, width: int = 64) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, width, 3, 1, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.layer1 = stage(width, width, 1)
        self.layer2 = stage(width, 2 * width, 2)
        self.layer3 = stage(2 * width, 4 * width, 2)
        self.layer4 = stage(4 * width, 8 * width, 2)
        self.fc = nn.Linear(8 * width, num_classes)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Logits, shape (batch, num_classes), of [0, 1] images."""
        maps = self.layer1(torch.relu(self.bn1(self.conv1(inputs))))
        logits: torch.Tensor = self.fc(self.layer4(self.layer3(self.layer2(maps))).mean(dim=(2, 3)))
        return logits
