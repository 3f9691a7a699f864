"""Eqs. 1 to 4: the ways to mix two classifiers that the paper compares before it settles on Eq. 5."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from certmix.errors import InvalidArgument, check_choice

FACTORS = ("one", "own-gradient", "top-gradient", "gradient-ratio")
SCALES = ("probabilities", "logits")
_DUAL = {"linf": 1, "l2": 2, "l1": float("inf")}


class MixingForm(nn.Module):
    """Eq. 4: (g_i + gamma R_i h_i) / (1 + gamma R_i), with one of the four factors R_i, as a classifier.

    Source: Bai et al., arXiv:2301.12554, Section 2.2 and Figure 1. Factors R_i: "one", 1 (on probabilities: Eq. 5 with
    a = gamma / (1 + gamma)); "own-gradient", ||grad g_i||_* (Eq. 3); "top-gradient", ||grad max_j g_j||_*;
    "gradient-ratio", ||grad g_i||_* / ||grad h_i||_*. Gradients, those of the factors included, are exact.

    Args:
        accurate, robust: g and h, inputs -> logits of shape (batch, classes).
        gamma: weight of h, in [0, inf].
        factor: R_i.
        on: "probabilities" (outputs are logarithms of the mixture) or "logits".
        norm: of the attack; the gradients are measured in its dual ("linf": l1, "l2": l2, "l1": l_inf).
        normalized: False leaves out the denominator: with "own-gradient", Eq. 2.
    Raises: InvalidArgument: a value out of range.
    """

    def __init__(
        self,
        *,
        accurate: nn.Module,
        robust: nn.Module,
        gamma: float,
        factor: str = "one",
        on: str = "probabilities",
        norm: str = "linf",
        normalized: bool = True,
    ) -> None:
        super().__init__()
        for name, value, choices in (("factor", factor, FACTORS), ("on", on, SCALES), ("norm", norm, tuple(_DUAL))):
            check_choice(name, value, choices)
        if not gamma >= 0.0 or (gamma == float("inf") and not normalized):
            raise InvalidArgument(f"gamma must be >= 0 (and finite without the denominator), got {gamma}.")
        self.accurate, self.robust, self.gamma = accurate, robust, float(gamma)
        self.factor, self.on, self.norm, self.normalized = factor, on, norm, normalized

    def forward(self, inputs: Tensor) -> Tensor:
        """Mixed logits, or logarithms of mixed probabilities, shape (batch, classes)."""
        g, h = self.values(self.accurate, inputs), self.values(self.robust, inputs)
        ratio = self.factors(inputs)
        if self.normalized:
            weight = (
                torch.ones_like(ratio) if self.gamma == float("inf") else self.gamma * ratio / (1 + self.gamma * ratio)
            )
            mixed = (1.0 - weight) * g + weight * h
        else:
            mixed = g + self.gamma * ratio * h
        return mixed.clamp_min(torch.finfo(mixed.dtype).tiny).log() if self.on == "probabilities" else mixed

    def factors(self, inputs: Tensor) -> Tensor:
        """R_i at the inputs, shape (batch, classes) or (batch, 1)."""
        if self.factor == "one":
            return inputs.new_ones(len(inputs), 1)
        order = _DUAL[self.norm]
        if self.factor == "top-gradient":
            return gradient_norms(lambda x: self.values(self.accurate, x).amax(dim=1, keepdim=True), inputs, order)
        own = gradient_norms(lambda x: self.values(self.accurate, x), inputs, order)
        if self.factor == "own-gradient":
            return own
        return own / gradient_norms(lambda x: self.values(self.robust, x), inputs, order).clamp_min(1e-12)

    def values(self, model: nn.Module, inputs: Tensor) -> Tensor:
        """Logits or probabilities of g or h, whichever are mixed, shape (batch, classes)."""
        logits: Tensor = model(inputs)
        return functional.softmax(logits, dim=1) if self.on == "probabilities" else logits


class LocallyBiasedBinary(nn.Module):
    """Eq. 1: sign(g + gamma h ||grad g||_*) for two classes, with g the difference of the logits and h in {-1, 1}.

    Source: Bai et al., arXiv:2301.12554, Eq. 1 (Anderson and Sojoudi 2022). Outputs are the logits (-s, s) / 2 of the score
    s, so that the class is its sign.

    Args:
        accurate, robust: two-class models, inputs -> logits of shape (batch, 2).
        gamma: >= 0, finite.
        norm: see `MixingForm`.
    Raises: InvalidArgument: a value out of range, or models of more than two classes.
    """

    def __init__(self, *, accurate: nn.Module, robust: nn.Module, gamma: float, norm: str = "linf") -> None:
        super().__init__()
        if norm not in _DUAL or not 0.0 <= gamma < float("inf"):
            raise InvalidArgument(
                f"gamma must be >= 0 and finite, and norm one of {', '.join(_DUAL)}, got {gamma}, {norm!r}."
            )
        self.accurate, self.robust, self.gamma, self.norm = accurate, robust, float(gamma), norm

    def forward(self, inputs: Tensor) -> Tensor:
        """Logits, shape (batch, 2)."""
        chosen = torch.sign(self._score(self.robust, inputs))
        slope = gradient_norms(lambda x: self._score(self.accurate, x), inputs, _DUAL[self.norm])
        score = self._score(self.accurate, inputs) + self.gamma * chosen * slope
        return torch.cat([-score, score], dim=1) / 2.0

    @staticmethod
    def _score(model: nn.Module, inputs: Tensor) -> Tensor:
        logits: Tensor = model(inputs)
        if logits.shape[1] != 2:
            raise InvalidArgument(f"Eq. 1 is for two classes, got {logits.shape[1]}; use MixingForm.")
        return logits[:, 1:] - logits[:, :1]


def gradient_norms(function: Callable[[Tensor], Tensor], inputs: Tensor, order: float) -> Tensor:
    """l_order norm of the gradient of every output, shape (batch, outputs); itself differentiable in the inputs.

    Args:
        function: inputs -> (batch, outputs), row i depending on input i only.
        inputs: shape (batch, ...).
        order: 1, 2 or inf.
    """
    differentiable = torch.is_grad_enabled() and inputs.requires_grad
    with torch.enable_grad():
        at = inputs if differentiable else inputs.detach().requires_grad_(True)
        values = function(at)
        rows = [
            torch.autograd.grad(values[:, i].sum(), at, create_graph=differentiable, retain_graph=True)[0].flatten(1)
            for i in range(values.shape[1])
        ]
    return torch.stack([torch.linalg.vector_norm(row, ord=order, dim=1) for row in rows], dim=1)
