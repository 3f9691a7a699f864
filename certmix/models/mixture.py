"""Eq. 5: the mixed classifier, log((1 - a) g + a h) on class probabilities."""

import math

import torch
from torch import nn
from torch.nn import functional

from certmix.errors import InvalidArgument
from certmix.rules.rule import check_accurate_vote


class MixedClassifier(nn.Module):
    """log((1 - a) g(x) + a softmax(h(x))): a drop-in classifier whose outputs are log-probabilities.

    Source: Bai et al., Adaptive Smoothing, arXiv:2301.12554, Eq. 5; g votes with its class as in its certified experiments
    (Section A.2), or with its softmax. Computed by log-sum-exp of log-probabilities: no log(0) where both models put
    probability on a class. With g's class, other classes have probability a h_i exactly, and no gradient reaches g;
    attacks climb `softened` instead.

    Args:
        accurate: g, standard classifier, logits of shape (batch, classes).
        robust: h, robust classifier, logits of the same shape. Where h is a smoothed classifier, this mixes its base;
            the certified mixture is of vote shares (see `certmix.certify`).
        mixing_weight: a in [0, 1]; 0 = accurate model, 1 = robust model.
        accurate_vote: "class" (the one-hot vector of g's class, first on ties) or "softmax".
    Raises: InvalidArgument: a value out of range, or models that disagree on the number of classes.
    """

    def __init__(
        self, *, accurate: nn.Module, robust: nn.Module, mixing_weight: float, accurate_vote: str = "class"
    ) -> None:
        super().__init__()
        if not 0.0 <= mixing_weight <= 1.0:
            raise InvalidArgument(f"mixing_weight must be in [0, 1] (0 = accurate, 1 = robust), got {mixing_weight}.")
        check_accurate_vote(accurate_vote)
        self.accurate, self.robust = accurate, robust
        self.mixing_weight, self.accurate_vote = float(mixing_weight), accurate_vote

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Log-probabilities, shape (batch, classes), of [0, 1] inputs."""
        weight = self.mixing_weight
        if weight == 1.0:
            return functional.log_softmax(self.robust(inputs), dim=1)
        accurate = self.accurate(inputs)
        if weight == 0.0 and self.accurate_vote == "softmax":
            return functional.log_softmax(accurate, dim=1)
        robust = functional.log_softmax(self.robust(inputs), dim=1)
        if accurate.shape != robust.shape:
            raise InvalidArgument(
                "the accurate and the robust model must have outputs of one shape, "
                f"got {tuple(accurate.shape)} and {tuple(robust.shape)}."
            )
        log_robust = robust + math.log(weight) if weight else 0.0 * robust + _floor(robust)
        if self.accurate_vote == "softmax":
            return torch.logaddexp(functional.log_softmax(accurate, dim=1) + math.log1p(-weight), log_robust)
        chosen = functional.one_hot(accurate.argmax(dim=1), accurate.shape[1]).bool()
        with_accurate = torch.logaddexp(torch.full_like(log_robust, math.log1p(-weight)), log_robust)
        return torch.where(chosen, with_accurate, log_robust)

    def softened(self) -> "MixedClassifier":
        """The mixture with g's softmax: what attacks climb, since g's class has no gradient."""
        return MixedClassifier(
            accurate=self.accurate, robust=self.robust, mixing_weight=self.mixing_weight, accurate_vote="softmax"
        ).train(self.training)


def _floor(like: torch.Tensor) -> float:
    """Stands for log(0): finite, so that losses and gradients stay finite."""
    return math.log(torch.finfo(like.dtype).tiny)
