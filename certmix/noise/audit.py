"""Noise audit: the noise really used is tested while sampling, and an improbable result stops the run.

A poor or tampered source inflates radii without failing generic tests (Dahiya et al. 2024); what is tested here is the
distribution that the certificate assumes. All tests together raise a false alarm in a run with probability < 1e-5.
"""

import math
from collections import deque

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import special

from certmix.errors import NoiseError
from certmix.noise.host_copy import HostCopy

_ALARM = 1e-6  # per test and run, spent as 1 / (k (k + 1)) over the looks k = 1, 2, ...
_ELEMENTS = 1 << 13  # of each call, and no more than a quarter of it, so that the audit costs little beside the noise
_SHARE = 4
_FEW = 512
_REMEMBERED = 1 << 18


class NoiseAudit:
    """Accumulates tests over the noise it is shown: mean, variance, kurtosis, lag-1 correlation, repeats.

    Integer noise is tested by an exact chi-squared against its table in place of the kurtosis, and by its own moments.

    Args:
        probabilities: of each integer -reach .. reach, for integer noise; None for float noise in units of sigma.
    """

    def __init__(self, probabilities: NDArray[np.float64] | None = None) -> None:
        self._probabilities = probabilities
        self._kurtosis = 3.0
        self._looks = 0
        self._waiting: deque[HostCopy] = deque()
        self._seen: set[bytes] = set()
        self._repeated = 0
        self._elements = self._pairs = 0
        self._sums = np.zeros(4)  # of x, x^2, x^4 and x_i x_(i+1)
        if probabilities is not None:
            self._reach = len(probabilities) // 2
            self._counts = np.zeros(len(probabilities), dtype=np.int64)
            values = np.arange(-self._reach, self._reach + 1)
            # No BLAS: its threads would fight with torch's.
            self._scale = math.sqrt(float((probabilities * values**2).sum()))
            self._kurtosis = float((probabilities * values**4).sum()) / self._scale**4

    def __call__(self, noise: torch.Tensor) -> None:
        """Take some of the noise: float32 in units of sigma, or integers; shape (draws, size)."""
        part = noise.reshape(-1)[: self.share(noise.numel())]
        if part.device.type == "cpu":
            self._take(part.numpy())
        else:
            self.keep(part.clone())

    def share(self, elements: int) -> int:
        """How many of so many elements, the first, it wants to see."""
        return min(_ELEMENTS, max(elements // _SHARE, _FEW), elements)

    def keep(self, part: torch.Tensor) -> None:
        """Take that share, in a tensor of its own; looked at in `check`, since the host must not wait for a GPU here."""
        self._waiting.append(HostCopy(part))

    def _take(self, flat: NDArray[np.float32] | NDArray[np.int16]) -> None:
        if flat.size >= 64:
            mark = flat[:256].tobytes()
            self._repeated += mark in self._seen
            if len(self._seen) < _REMEMBERED:
                self._seen.add(mark)
        values = flat.astype(np.float64)
        if self._probabilities is not None:
            self._counts += np.bincount(flat.astype(np.int64) + self._reach, minlength=len(self._counts))
            values /= self._scale
        squares = values * values
        self._sums[1] += squares.sum()
        self._sums[2] += (squares * squares).sum()
        self._sums[0] += values.sum()
        self._sums[3] += (values[:-1] * values[1:]).sum()
        self._elements += flat.size
        self._pairs += max(flat.size - 1, 0)

    def forget_repeats(self) -> None:
        """What was seen may be drawn once more: a pass did not fit into memory and is made again."""
        self._seen.clear()

    def tests(self) -> dict[str, float]:
        """P-value of each test so far."""
        if not self._elements:
            return {}
        n, (first, second, fourth, lag) = self._elements, self._sums
        results = {"repeated noise": 0.0 if self._repeated else 1.0}  # first: repeats fail every other test too
        results["lag-1 correlation"] = _two_sided(lag / math.sqrt(max(self._pairs, 1)))
        results["mean"] = _two_sided(first / math.sqrt(n))
        # Of integers, too: their own kurtosis is 3 but for the rounding.
        results["variance"] = _two_sided((second / n - 1.0) * math.sqrt(n / (self._kurtosis - 1.0)))
        if self._probabilities is None:
            results["kurtosis"] = _two_sided((fourth / n - 3.0) * math.sqrt(n / 96.0))
        else:
            results["chi-squared"] = self._chi_squared()
        return results

    def _chi_squared(self) -> float:
        assert self._probabilities is not None
        expected = self._probabilities * self._elements
        inside = expected >= 20.0
        observed = np.append(self._counts[inside], self._counts[~inside].sum())
        wanted = np.append(expected[inside], expected[~inside].sum())
        kept = wanted >= 5.0
        if kept.sum() < 2:
            return 1.0
        statistic = float((((observed - wanted) ** 2)[kept] / wanted[kept]).sum())
        return float(special.chdtrc(kept.sum() - 1, statistic))

    def check(self) -> None:
        """Raise NoiseError where a test's p-value is below its share of 1e-6.

        What has not arrived from a GPU is left for the next call: it belongs to draws whose counts have not either.
        """
        while self._waiting and self._waiting[0].arrived():
            self._take(self._waiting.popleft().numpy())
        self._looks += 1
        level = _ALARM / (self._looks * (self._looks + 1))
        for name, p_value in self.tests().items():
            if p_value < level:
                raise NoiseError(
                    f"noise audit failed: {name} of the noise used has probability {p_value:.1e} (alarm "
                    f"at {level:.1e}) after {self._elements} elements; these draws are not kept, check the random source."
                )

    def summary(self) -> dict[str, object]:
        """What was tested, for the manifest."""
        return {"elements": self._elements, "p_values": self.tests(), "looks": self._looks}


def _two_sided(z: float) -> float:
    return float(2.0 * special.ndtr(-abs(z)))
