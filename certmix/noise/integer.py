"""Integer noise: the exactly rounded Gaussian on a grid, so that the ordinary certificate holds with no float gap.

For inputs on the grid Z/G the smoothed classifier is that of F(round(G y) / G) at y = x + noise: with Gaussian noise
that is a legitimate base function, and round(G x + G noise) = G x + Z with Z = round(G noise), drawn without any float.
Source: Voracek and Hein 2023, arXiv:2207.07209; the table and its two-word lookup are ours.
"""

import functools
import hashlib

import mpmath
import numpy as np
import torch
from numpy.typing import NDArray

from certmix.errors import InvalidArgument, NoiseError
from certmix.noise.audit import NoiseAudit
from certmix.noise.stream import Purpose, WordStream

_CHUNK = 1 << 16
_UNDECIDED = np.iinfo(np.int16).min  # marks table cells that 16 bits do not decide
_MOST_STEPS = 32_000
_TIES = 4096  # room for elements that 32 bits do not decide, on a device that must not wait for the host
_SIGN = -(1 << 63)


@functools.lru_cache(maxsize=16)
def thresholds(sigma: float, levels: int) -> NDArray[np.uint64]:
    """T[j] = floor(2^64 Phi((2j + 1) / (2 G sigma))), j = -G(K+1) .. G(K+1) - 1, K = max(1, int(6 sigma)).

    Z = #{j : T[j] <= u} - G(K+1) for u uniform on 64 bits is the rounded Gaussian, up to a total variation of at most
    (number of thresholds) 2^-63 per element. Computed at 50 decimal digits.

    Args:
        sigma: standard deviation, > 0, in [0, 1] pixel units.
        levels: G, grid steps per pixel unit.
    Returns: uint64, ascending, shape (2 G (K + 1),).
    """
    reach = levels * (max(1, int(6 * sigma)) + 1)
    if reach + levels > _MOST_STEPS:  # input + noise is an int16
        raise InvalidArgument(
            f"sigma must be < {((_MOST_STEPS - levels) // levels) / 6:.3g} in integer noise mode with grid 1/{levels}, got "
            f"{sigma}; use float."
        )
    context = mpmath.MPContext()  # of our own: mpmath's global precision is shared by all threads
    context.dps = 50
    scale = 2 * levels * context.mpf(sigma)
    values = [int(context.floor(context.ncdf((2 * j + 1) / scale) * 2**64)) for j in range(-reach, reach)]
    return np.array([min(value, 2**64 - 1) for value in values], dtype=np.uint64)


def total_variation(sigma: float, levels: int, size: int) -> float:
    """Bound on the total variation between the drawn noise of one input and the true rounded Gaussian."""
    return float(len(thresholds(sigma, levels))) * 2.0**-63 * size


def probabilities(sigma: float, levels: int) -> NDArray[np.float64]:
    """P[Z = z] for z = -reach .. reach, shape (number of thresholds + 1,)."""
    edges = np.concatenate([[0.0], thresholds(sigma, levels).astype(np.float64) * 2.0**-64, [1.0]])
    return np.diff(edges)


def table_hash(sigma: float, levels: int) -> str:
    """Hex sha256 of the threshold table, recorded in the manifest."""
    return hashlib.sha256(thresholds(sigma, levels).astype("<u8").tobytes()).hexdigest()


class IntegerNoise:
    """Exactly rounded N(0, sigma^2) noise for inputs whose values are multiples of 1/levels.

    Guarantee: the network sees float32(G x + Z) / G, where Z is a function of the draw's address alone; the
    same integers on every device.

    Args:
        seed, sigma, size, device, audit: as `GaussianNoise`.
        levels: G, e.g. 255 for 8-bit images.
    Raises: InvalidArgument: from `accept`, for an input off the grid.
    """

    def __init__(
        self, seed: int, sigma: float, size: int, device: torch.device, *, levels: int, audit: NoiseAudit | None = None
    ) -> None:
        self.sigma, self.size, self.levels, self.audit = sigma, size, levels, audit
        self._stream = WordStream(seed, size, device)
        self._thresholds = thresholds(sigma, levels)
        self._reach = len(self._thresholds) // 2
        self._upper_words = (self._thresholds >> np.uint64(32)).astype(
            np.uint32
        )  # u < T is decided by them but for ties
        edges = np.arange(1 << 16, dtype=np.uint64) << np.uint64(48)
        low, high = self._count(edges), self._count(edges | np.uint64((1 << 48) - 1))
        self._by_16_bits = np.where(low == high, low - self._reach, _UNDECIDED).astype(np.int16)
        self._on_device = device.type != "cpu"
        self._rows = max(1, _CHUNK // size) if not self._on_device else 1 << 62
        if self._on_device:
            self._prepare_device(device)

    def _prepare_device(self, device: torch.device) -> None:
        table = [int(value) for value in self._thresholds]
        self._ceil32 = torch.tensor([-(-value >> 32) for value in table], device=device)
        self._floor32 = torch.tensor([value >> 32 for value in table], device=device)
        self._full64 = torch.tensor([value + _SIGN for value in table], device=device)
        self.overflow = torch.zeros((), dtype=torch.int64, device=device)  # read once per input by `check`

    def check(self) -> None:
        """See `Noise.check`; also refuses a batch that had more undecided elements than there was room for."""
        if self.audit is not None:
            self.audit.check()
        if self._on_device and int(self.overflow):
            raise NoiseError(f"integer noise had over {_TIES} undecided elements in a batch; use a smaller batch.")

    def _count(self, uniform: NDArray[np.uint64]) -> NDArray[np.int64]:
        """#{j : T[j] <= u}."""
        return np.searchsorted(self._thresholds, uniform, side="right").astype(np.int64)

    def accept(self, clean: torch.Tensor, index: int) -> None:
        """Raise InvalidArgument where `clean` is off the grid."""
        scaled = clean.double() * self.levels
        apart = (scaled - scaled.round()).abs()
        if apart.max() > 1e-3:
            worst = float(clean.reshape(-1)[apart.reshape(-1).argmax()])
            raise InvalidArgument(
                f"integer noise needs inputs on the grid of 1/{self.levels}, got {worst:.9g} at input {index}; "
                "use --noise float, or declare the data set's own grid."
            )

    def add_to(self, noisy: torch.Tensor, clean: torch.Tensor, *, index: int, purpose: Purpose, start: int) -> None:
        """See `Noise.add_to`; `clean` is one that `accept` took."""
        steps = (clean * self.levels).round().to(torch.int16)
        for begin in range(0, len(noisy), self._rows):
            part = noisy[begin : begin + self._rows]
            integers = self.integers(index, purpose, start + begin, len(part))
            if begin == 0 and self.audit is not None:
                self.audit(integers)
            part.copy_(integers + steps).div_(self.levels)

    def integers(self, index: int, purpose: Purpose, start: int, draws: int) -> torch.Tensor:
        """Z of consecutive draws, int16, shape (draws, size), on the device."""
        words = self._stream.words(index, purpose, start, draws)
        if self._on_device:
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
        self.overflow += (undecided.sum() > _TIES).to(torch.int64)
        return (low - self._reach).to(torch.int16)
