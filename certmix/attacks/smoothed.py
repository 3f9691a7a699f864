"""Gaussian-smoothed classifiers under attack: gradients averaged over noise, success judged by fresh votes."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from certmix.errors import InvalidArgument, need_at_least
from certmix.noise import clip_range

# Of a forward pass on noisy inputs, whatever the number of votes. Smaller ones draw the same noise on a CPU.
_ROWS = 1000
_ELEMENTS = {"cpu": 2**20, "cuda": 2**24}


class SmoothedClassifier(nn.Module):
    """log E softmax(base(x + sigma z)), estimated from fresh draws in every call: a smoothed model to differentiate.

    Source: expectation over transformation, Athalye et al. 2018, arXiv:1707.07397; Salman et al. 2019,
    arXiv:1906.04584, Eq. 5. The certified model counts votes (`count_votes`); its gradient is 0 almost everywhere, and
    this is the usual stand-in for it.

    Args:
        base: inputs -> logits, shape (batch, classes).
        sigma: standard deviation of the noise, > 0, in [0, 1] pixel units.
        draws: noise draws per call and input, >= 1.
        seed: of the draws.
        common: use the same draws for every input and call: a fixed function, whose changes are not those of the noise.
    Raises: InvalidArgument: a value out of range.
    """

    def __init__(self, base: nn.Module, *, sigma: float, draws: int = 16, seed: int = 0, common: bool = False) -> None:
        super().__init__()
        if not 0.0 < sigma < float("inf"):
            raise InvalidArgument(f"sigma must be > 0 and finite (pixel units), got {sigma}.")
        need_at_least(1, draws=draws)
        self.base, self.sigma, self.draws, self._seed, self._common = base, float(sigma), draws, seed, common
        self._generators: dict[torch.device, torch.Generator] = {}

    def forward(self, inputs: Tensor) -> Tensor:
        """Log-probabilities of the smoothed classifier, shape (batch, classes)."""
        if self._common:
            self._generators.clear()
        generator = self._generators.setdefault(inputs.device, torch.Generator(inputs.device).manual_seed(self._seed))
        repeated = inputs.repeat(self.draws, *[1] * (inputs.ndim - 1))
        shape = (self.draws, *inputs.shape[1:]) if self._common else repeated.shape
        noise = torch.randn(shape, generator=generator, device=inputs.device, dtype=inputs.dtype)
        if self._common:
            noise = noise.repeat_interleave(len(inputs), dim=0)
        logs = functional.log_softmax(self.base(repeated + self.sigma * noise), dim=1)
        return logs.view(self.draws, len(inputs), logs.shape[1]).logsumexp(dim=0) - math.log(self.draws)


@torch.no_grad()
def count_votes(
    base: nn.Module,
    inputs: Tensor,
    *,
    sigma: float,
    draws: int,
    generator: torch.Generator,
    grid_levels: int | None = None,
) -> Tensor:
    """Votes per class of base(x + sigma z), shape (batch, classes), int64.

    Args:
        base, sigma: as `SmoothedClassifier`.
        inputs: shape (batch, ...); need not lie on any grid.
        draws: votes per input.
        generator: of the noise.
        grid_levels: G rounds noisy inputs to multiples of 1/G first and clips them: then the classifier that integer noise
            certifies (the one that rounds and clips, smoothed by N(0, sigma^2)) is defined for every real-valued input,
            and so is its guarantee.
    """
    counts: Tensor | None = None
    elements = _ELEMENTS["cuda" if inputs.device.type == "cuda" else "cpu"]
    rows = min(_ROWS, elements // max(inputs[:1].numel(), 1))
    for done in range(0, draws, size := max(1, min(draws, rows // max(len(inputs), 1)))):
        now = min(size, draws - done)
        repeated = inputs.repeat(now, *[1] * (inputs.ndim - 1))
        noise = torch.randn(repeated.shape, generator=generator, device=inputs.device, dtype=inputs.dtype)
        noisy = repeated + sigma * noise
        if grid_levels is not None:
            noisy = torch.round(noisy * grid_levels).clamp_(*clip_range(sigma, grid_levels)) / grid_levels
        logits = base(noisy)
        votes = functional.one_hot(logits.argmax(dim=1), logits.shape[1]).view(now, len(inputs), -1).sum(dim=0)
        counts = votes if counts is None else counts + votes
    assert counts is not None
    return counts
