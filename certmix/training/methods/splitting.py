"""Splitting augmentation: cross-entropy on split inputs. Source: Levine and Feizi 2021, arXiv:2103.10834."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional

from certmix.noise import SplittingNoise
from certmix.runs.draws import splitting_values


@dataclass(frozen=True)
class Splitting:
    """Each input at one random shift of splitting noise in every step, with the offsets that `sample` takes by default.

    Attributes:
        sigma: Lambda, half the distance of two splits, in [0, 1] pixel units; a multiple of 1 / (2 levels).
        levels: grid steps per pixel unit of the data set; other inputs are rounded to them.
    Raises: InvalidArgument: another Lambda.
    """

    sigma: float
    levels: int

    def __post_init__(self) -> None:
        splitting_values(self.sigma, self.levels)

    def loss(self, model: nn.Module, inputs: Tensor, labels: Tensor, epochs_done: float) -> tuple[Tensor, Tensor]:
        """Mean cross-entropy of one split copy."""
        logits = model(self.split(inputs))
        return functional.cross_entropy(logits, labels), logits

    def split(self, inputs: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Each input at a random shift; from torch's global generator of the inputs' device where none is given."""
        noise = SplittingNoise(0, self.sigma, math.prod(inputs.shape[1:]), inputs.device, levels=self.levels)
        return noise.shift_randomly(inputs, generator)
