"""The mixing network: one number per input from features of both base models. Source: arXiv:2301.12554, Figures 3 and 10."""

import contextlib
from typing import cast

import torch
from torch import nn

from certmix.adaptive.features import resized
from certmix.errors import InvalidArgument
from certmix.models.resnet import stage

KINDS = ("auto", "resnet18", "small")


class GateNetwork(nn.Module):
    """Features of two depths of both base models -> one normalised number per input, before the sigmoid.

    The first features enter where an image would enter a ResNet-18; the second ones are cut to `width` channels by a 1x1
    convolution and concatenated after the first stage. The output goes through a batch-norm without trainable scale and
    shift, which keeps the network from always preferring one model (Section C.2). Half-precision features are computed on
    in half precision, under autocast, up to the last map; weights stay in float32.

    Args:
        first_channels, second_channels: channels of the concatenated features of each depth.
        kind: "resnet18" (four stages, 11 M parameters at width 64) or "small" (two convolutions, for digits).
        width: channels of the first stage.
    Raises: InvalidArgument: an unknown kind.
    """

    def __init__(self, first_channels: int, second_channels: int, *, kind: str, width: int | None = None) -> None:
        super().__init__()
        if kind not in KINDS[1:]:
            raise InvalidArgument(f"kind of the mixing network must be one of {', '.join(KINDS)}, got {kind!r}.")
        width = width or (64 if kind == "resnet18" else 32)
        self.kind, self.width = kind, width
        self.stem = nn.Sequential(
            nn.Conv2d(first_channels, width, 3, padding=1, bias=False), nn.BatchNorm2d(width), nn.ReLU()
        )
        self.first_stage: nn.Module = stage(width, width, 1) if kind == "resnet18" else nn.Identity()
        self.join = nn.Conv2d(second_channels, width, 1)
        if kind == "resnet18":
            self.rest: nn.Module = nn.Sequential(
                stage(2 * width, 2 * width, 2), stage(2 * width, 4 * width, 2), stage(4 * width, 8 * width, 2)
            )
            self.head = nn.Linear(8 * width, 1)
        else:
            self.rest = nn.Sequential(
                nn.Conv2d(2 * width, 2 * width, 3, padding=1, bias=False), nn.BatchNorm2d(2 * width), nn.ReLU()
            )
            self.head = nn.Linear(2 * width, 1)
        self.normalise = nn.BatchNorm1d(1, affine=False)

    def forward(self, first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
        """Numbers of shape (batch,), from maps of shapes (batch, channels, height, width) of each depth."""
        half = first.dtype in (torch.bfloat16, torch.float16)
        with torch.autocast(first.device.type, first.dtype) if half else contextlib.nullcontext():
            maps = self.first_stage(self.stem(first))
            maps = torch.cat([maps, resized(self.join(second), (maps.shape[-2], maps.shape[-1]))], dim=1)
            maps = self.rest(maps)
        numbers = self.normalise(self.head(maps.to(self.head.weight.dtype).mean(dim=(2, 3))))
        return cast(torch.Tensor, numbers[:, 0])
