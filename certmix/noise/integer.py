"""Integer noise: the exactly rounded Gaussian on a grid, so that the ordinary certificate holds with no float gap.

The smoothed classifier is that of F(c(y)), c(y) = clip(round(G y)) / G at y = x + noise: a legitimate base function.
`certmix.noise.table` proves that clip(G x + Z) / G, drawn here without any float, has the law of c(y).
"""

from typing import TYPE_CHECKING

import numpy as np
import torch
from numpy.typing import NDArray

from certmix.errors import InvalidArgument, NoiseError
from certmix.noise.audit import NoiseAudit
from certmix.noise.fused import runs_kernels
from certmix.noise.stream import Address, Purpose, WordStream
from certmix.noise.table import clip_range, thresholds

if TYPE_CHECKING:
    from certmix.noise.kernels import Tables  # needs Triton

_CHUNK = 1 << 16
_OFF_GRID = 1e-4  # of a step: float32 leaves a grid of 255 by 1e-5; two roundings are allowed on finer grids
_UNDECIDED = np.iinfo(np.int16).min  # marks table cells that 16 bits do not decide
_TIES = 4096  # room for elements that 32 bits do not decide, on a device that must not wait for the host
_SIGN = -(1 << 63)


class IntegerNoise:
    """Exactly rounded N(0, sigma^2) noise for inputs whose values are multiples of 1/levels.

    Guarantee: the network sees float32(clip(G x + Z, *clip_range)) / G, where Z is a function of the draw's address
    alone; the same integers on every device. Its law is that of c(x + noise), c a fixed function, up to
    `table.total_variation`.

    Args:
        seed, sigma, size, device, audit: as `GaussianNoise`.
        levels: G, e.g. 255 for 8-bit images.
    Raises: InvalidArgument: from `accept`, for an input off the grid or outside [0, 1].
    """

    def __init__(
        self, seed: int, sigma: float, size: int, device: torch.device, *, levels: int, audit: NoiseAudit | None = None
    ) -> None:
        self.sigma, self.size, self.levels, self.audit = sigma, size, levels, audit
        self._stream = WordStream(seed, size, device)
        self._thresholds = thresholds(sigma, levels)
        self._lowest, self._reach = clip_range(sigma, levels)
        self._upper_words = (self._thresholds >> np.uint64(32)).astype(
            np.uint32
        )  # u < T is decided by them but for ties
        edges = np.arange(1 << 16, dtype=np.uint64) << np.uint64(48)
        low, high = self._count(edges), self._count(edges | np.uint64((1 << 48) - 1))
        self._by_16_bits = np.where(low == high, low - self._reach, _UNDECIDED).astype(np.int16)
        self._rows = max(1, _CHUNK // size) if device.type == "cpu" else 1 << 62
        # Of the device: by a number of the host, torch multiplies with the reciprocal on a GPU, which rounds twice.
        self._divisor = torch.tensor(float(levels), device=device)
        self._tables: Tables | None = None
        self._overflow: torch.Tensor | None = None
        if runs_kernels(device):
            self._prepare_kernel(device)
        elif device.type != "cpu":
            self._prepare_device(device)

    def _prepare_kernel(self, device: torch.device) -> None:
        from certmix.noise.kernels import Tables  # needs Triton

        self._tables = Tables.of(self._thresholds, device)

    def _prepare_device(self, device: torch.device) -> None:
        table = [int(value) for value in self._thresholds]
        self._ceil32 = torch.tensor([-(-value >> 32) for value in table], device=device)
        self._floor32 = torch.tensor([value >> 32 for value in table], device=device)
        self._full64 = torch.tensor([value + _SIGN for value in table], device=device)
        self._overflow = torch.zeros((), dtype=torch.int64, device=device)  # read once per input by `check`

    def check(self) -> None:
        """See `Noise.check`; also refuses a batch that had more undecided elements than there was room for."""
        if self.audit is not None:
            self.audit.check()
        if self._overflow is not None and int(self._overflow):
            raise NoiseError(f"integer noise had over {_TIES} undecided elements in a batch; use a smaller batch.")

    def _count(self, uniform: NDArray[np.uint64]) -> NDArray[np.int64]:
        """#{j : T[j] <= u}."""
        return np.searchsorted(self._thresholds, uniform, side="right").astype(np.int64)

    def accept(self, clean: torch.Tensor, index: int) -> None:
        """Raise InvalidArgument where `clean` is off the grid, or outside [0, 1], where the clip would not be exact."""
        check_on_grid(clean, self.levels, f"input {index}", "integer")

    def add_to(self, noisy: torch.Tensor, clean: torch.Tensor, *, index: int, purpose: Purpose, start: int) -> None:
        """See `Noise.add_to`; `clean` is one that `accept` took."""
        if self._tables is not None:
            self._add_fused(noisy, clean, self._stream.address(index, purpose, start), self._tables)
            return
        steps = (clean * self.levels).round().to(torch.int16)
        for begin in range(0, len(noisy), self._rows):
            part = noisy[begin : begin + self._rows]
            integers = self.integers(index, purpose, start + begin, len(part))
            if begin == 0 and self.audit is not None:
                self.audit(integers)
            clipped = integers.add_(steps).clamp_(self._lowest, self._reach).view(part.shape)
            torch.div(clipped, self._divisor, out=part)

    def _add_fused(self, noisy: torch.Tensor, clean: torch.Tensor, address: Address, tables: "Tables") -> None:
        from certmix.noise import kernels  # needs Triton

        share = 0 if self.audit is None else self.audit.share(len(noisy) * self.size)
        seen = torch.empty(share, dtype=torch.int16, device=noisy.device)
        clip = (self._lowest, self._reach)
        kernels.add_integers(noisy, clean, seen, address, tables, levels=self.levels, clip=clip)
        if self.audit is not None:
            self.audit.keep(seen)

    def integers(self, index: int, purpose: Purpose, start: int, draws: int) -> torch.Tensor:
        """Z of consecutive draws, int16, shape (draws, size), on the device."""
        words = self._stream.words(index, purpose, start, draws)
        if self._stream.device.type != "cpu":
            return self._integers_on_device(words, index, purpose, start)
        return torch.from_numpy(self._integers_on_host(words.numpy().view(np.uint32), index, purpose, start))

    def _integers_on_host(
        self, words: NDArray[np.uint32], index: int, purpose: Purpose, start: int
    ) -> NDArray[np.int16]:
        words = words[:, : self.size]
        result = np.take(self._by_16_bits, words >> 16, mode="clip").reshape(-1)
        undecided = np.flatnonzero(result == _UNDECIDED)
        uniform = words.reshape(-1)[undecided]
        count = np.searchsorted(self._upper_words, uniform, side="right")
        for tie in np.flatnonzero(
            self._upper_words[np.maximum(count, 1) - 1] == uniform
        ):  # one element in some millions
            draw, element = divmod(int(undecided[tie]), self.size)
            extra = self._stream.extra_word(index, purpose, start + draw, element)
            count[tie] = self._count(np.array([int(uniform[tie]) << 32 | extra], dtype=np.uint64))[0]
        result[undecided] = count - self._reach
        return result.reshape(-1, self.size)

    def _integers_on_device(self, words: torch.Tensor, index: int, purpose: Purpose, start: int) -> torch.Tensor:
        """As on the host, without waiting for it: 32 bits for every element, 64 for the few that need them."""
        uniform = (words[:, : self.size].to(torch.int64) & 0xFFFFFFFF).contiguous()
        low = torch.searchsorted(self._ceil32, uniform, right=True)
        undecided = low != torch.searchsorted(self._floor32, uniform, right=True)
        place = torch.nonzero_static(undecided.view(-1), size=_TIES, fill_value=0)[:, 0]
        draw, element = start + place // self.size, place % self.size
        full = (uniform.view(-1)[place] << 32) | self._stream.extra_words(index, purpose, draw, element)
        exact = torch.searchsorted(self._full64, full ^ _SIGN, right=True)
        # The unused places repeat element 0 with its own exact value, so that writing them changes nothing.
        low.view(-1)[place] = exact
        assert self._overflow is not None
        self._overflow += (undecided.sum() > _TIES).to(torch.int64)
        return (low - self._reach).to(torch.int16)


def check_on_grid(clean: torch.Tensor, levels: int, name: str, kind: str) -> None:
    """Raise InvalidArgument where values are outside [0, 1] or no multiples of 1/levels, which `kind` noise needs."""
    values = clean.reshape(-1)
    scaled = values.double() * levels
    outside = ~((scaled.round() >= 0) & (scaled.round() <= levels))  # NaN too
    if outside.any():
        raise InvalidArgument(
            f"{kind} noise needs inputs in [0, 1], got {float(values[outside][0]):.9g} at {name}; use --noise float, or "
            "scale the data."
        )
    apart = (scaled - scaled.round()).abs()
    if apart.max() > max(_OFF_GRID, levels * 2.0**-23):
        raise InvalidArgument(
            f"{kind} noise needs inputs on the grid of 1/{levels}, got {float(values[apart.argmax()]):.9g} at {name}; use "
            "--noise float, or declare the data set's own grid."
        )
