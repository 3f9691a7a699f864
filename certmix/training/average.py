"""The exponential moving average of weights. Source: Polyak and Juditsky 1992; the warm-up is TensorFlow's."""

import copy

import torch
from torch import nn


class Average:
    """A copy of a model, in eval mode, that follows it: average <- d average + (1 - d) model after every step.

    d = min(most, (1 + step) / (10 + step)), so that the first weights are soon forgotten. Batch-norm statistics are
    averaged too, counters copied.

    Args:
        model: is followed.
        most: largest d, in (0, 1).
    """

    def __init__(self, model: nn.Module, most: float) -> None:
        self.model, self._most = copy.deepcopy(model).eval(), most
        pairs = zip(self.model.state_dict().values(), model.state_dict().values(), strict=True)
        self._pairs = [(own.detach(), new.detach()) for own, new in pairs]

    def update(self, step: int) -> None:
        """Follow the model after step number `step`, counted from 0."""
        self.follow(min(self._most, (1 + step) / (10 + step)))

    @torch.no_grad()
    def follow(self, past: float) -> None:
        """One step of the average with d = `past`."""
        for own, new in self._pairs:
            if own.is_floating_point():
                own.lerp_(new, 1.0 - past)
            else:
                own.copy_(new)
