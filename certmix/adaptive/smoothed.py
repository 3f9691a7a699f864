"""The mixture that certificates are about, by Monte Carlo: h smoothed by Gaussian noise, mixed at the gate a(x)."""

import torch
from torch import nn
from torch.nn import functional

from certmix.adaptive.mixture import AdaptiveMixture
from certmix.errors import InvalidArgument, need_at_least


class SmoothedAdaptiveMixture(nn.Module):
    """log((1 - a(x)) g(x) + a(x) hbar(x)), hbar the votes (or mean softmax) of h on a fixed set of noise draws.

    With votes it estimates the certified classifier; with the mean softmax it is differentiable, the way attacks average
    gradients over noise (Salman et al. 2019, arXiv:1906.04584). The same noise is added to every input.

    Args:
        mixture: g, h and a(x); h is the base classifier that is smoothed.
        sigma: standard deviation of the noise, > 0, in [0, 1] pixel units.
        draws: number of noise draws, >= 1.
        hard: count votes; else average softmax.
        seed: of the noise.
        batch_size: most noisy inputs per forward pass of h.
    Raises: InvalidArgument: a value out of range.
    """

    noise: torch.Tensor

    def __init__(
        self, mixture: AdaptiveMixture, *, sigma: float, draws: int, hard: bool, seed: int = 0, batch_size: int = 1000
    ) -> None:
        super().__init__()
        if not 0.0 < sigma < float("inf"):
            raise InvalidArgument(f"sigma must be > 0 and finite (pixel units), got {sigma}.")
        need_at_least(1, draws=draws, batch_size=batch_size)
        self.mixture, self.hard, self.batch_size = mixture, hard, batch_size
        generator = torch.Generator().manual_seed(seed)
        noise = sigma * torch.randn(draws, *mixture.input_shape, generator=generator)
        self.register_buffer("noise", noise.to(mixture.calibration.device), persistent=False)
        self.train(mixture.training)

    @property
    def accurate(self) -> nn.Module:
        """g."""
        return self.mixture.accurate

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        """Log-probabilities, shape (batch, classes); log of the smallest float where no draw votes for a class."""
        return self.parts(inputs)[0]

    def parts(self, inputs: torch.Tensor, *, gate_gradient: bool = True) -> tuple[torch.Tensor, torch.Tensor]:
        """As `AdaptiveMixture.parts`, with h smoothed."""
        accurate, _, argument = self.mixture.base_arguments(inputs, gate_gradient=gate_gradient)
        return self.mixture.mix(accurate, self.smoothed(inputs).log(), argument), argument

    def smoothed(self, inputs: torch.Tensor) -> torch.Tensor:
        """hbar of each input, shape (batch, classes), at least the smallest float."""
        rows = max(self.batch_size // len(self.noise), 1)
        return torch.cat([self._smooth(part) for part in torch.split(inputs, rows)])

    def _smooth(self, inputs: torch.Tensor) -> torch.Tensor:
        sums: torch.Tensor | float = 0.0
        for noise in torch.split(self.noise, self.batch_size):
            noisy = (inputs[:, None] + noise).flatten(0, 1)
            outputs = self.mixture.robust(noisy)
            if self.hard:
                shares = functional.one_hot(outputs.argmax(dim=1), outputs.shape[1]).to(inputs.dtype)
            else:
                shares = (outputs * self.mixture.logit_scales[1]).softmax(dim=1)
            sums = sums + shares.view(len(inputs), len(noise), -1).sum(dim=1)
        assert isinstance(sums, torch.Tensor)
        return (sums / len(self.noise)).clamp(min=torch.finfo(inputs.dtype).tiny)
