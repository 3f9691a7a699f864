"""Float noise: standard normals in float32 by Box-Muller on addressed words, times sigma."""

import math

import torch

from certmix.noise.audit import NoiseAudit
from certmix.noise.fused import runs_kernels
from certmix.noise.stream import Address, Purpose, WordStream

_CHUNK = 1 << 16  # elements worked on at a time, to stay in the processor's cache


class GaussianNoise:
    """N(0, sigma^2) noise in float32. Source: Box and Muller 1958.

    Scope: float32 noise is not exactly Gaussian (it ends at 6.6 standard deviations), and float32 addition leaks the
    input through rounding (Voracek and Hein 2023, arXiv:2207.07209): certificates from it hold up to that. For inputs
    on a grid, `IntegerNoise` has neither gap.

    Args:
        seed: 128-bit seed of the run.
        sigma: standard deviation, > 0, in [0, 1] pixel units.
        size: elements of one input.
        device: where the noise is wanted.
        audit: sees a part of the noise really used, in units of sigma.
    """

    def __init__(
        self, seed: int, sigma: float, size: int, device: torch.device, *, audit: NoiseAudit | None = None
    ) -> None:
        self.sigma, self.size, self.audit = sigma, size, audit
        self._stream = WordStream(seed, size, device)
        self._fused = runs_kernels(device)
        self._rows = max(1, _CHUNK // size) if device.type == "cpu" else 1 << 62

    def accept(self, clean: torch.Tensor, index: int) -> None:
        """Every input can take float noise."""

    def add_to(self, noisy: torch.Tensor, clean: torch.Tensor, *, index: int, purpose: Purpose, start: int) -> None:
        """See `Noise.add_to`."""
        if self._fused:
            self._add_fused(noisy, clean, self._stream.address(index, purpose, start))
            return
        for begin in range(0, len(noisy), self._rows):
            part = noisy[begin : begin + self._rows]
            normal = torch.empty(len(part), self.size, device=part.device)
            self._standard_normal(normal, self._stream.words(index, purpose, start + begin, len(part)))
            if begin == 0 and self.audit is not None:
                self.audit(normal)
            part.copy_(torch.add(clean, normal, alpha=self.sigma, out=normal).view(part.shape))

    def _add_fused(self, noisy: torch.Tensor, clean: torch.Tensor, address: Address) -> None:
        from certmix.noise import kernels  # needs Triton

        seen = torch.empty(0 if self.audit is None else self.audit.share(len(noisy) * self.size), device=noisy.device)
        kernels.add_normals(noisy, clean, seen, address, sigma=self.sigma)
        if self.audit is not None:
            self.audit.keep(seen)

    def check(self) -> None:
        """See `Noise.check`."""
        if self.audit is not None:
            self.audit.check()

    def _standard_normal(self, out: torch.Tensor, words: torch.Tensor) -> None:
        pairs = words.to(torch.float32).view(len(out), 2, -1)
        half = pairs.shape[2]
        # |word| is uniform on 0..2^31, so the radius sqrt(-2 ln u) is finite: u >= 2^-32.
        radius = pairs[:, 0].abs_().add_(0.5).mul_(2.0**-31).log_().mul_(-2.0).clamp_(min=0.0).sqrt_()
        angle = pairs[:, 1].mul_(math.pi * 2.0**-31)
        first, second = min(half, self.size), max(self.size - half, 0)
        torch.mul(radius[:, :first], angle[:, :first].cos(), out=out[:, :first])
        torch.mul(radius[:, :second], angle[:, :second].sin(), out=out[:, first:])
