"""What every noise is: addressed words, and values that depend on their address only."""

from typing import Literal, NamedTuple, Protocol

import numpy as np
import torch

from certmix.noise.audit import NoiseAudit
from certmix.noise.philox import (
    WORDS_PER_COUNTER,
    device_words,
    host_generator,
    host_words,
    next_words,
    philox4x64,
    split_key,
)

Purpose = Literal["selection", "estimation", "prediction", "prediction-selection"]
_PURPOSES: dict[Purpose, int] = {"selection": 1, "estimation": 2, "prediction": 3, "prediction-selection": 4}


class Address(NamedTuple):
    """Where a draw's words come from.

    Attributes:
        numbers: the two key words, then the counter's lowest word, input index and purpose, each below 2^64.
        counters: counter values to a draw.
    """

    numbers: tuple[int, int, int, int, int]
    counters: int


class Noise(Protocol):
    """Adds noise to an input, draw by draw.

    Attributes:
        audit: tests of the noise really used; None where nobody asked.
    """

    audit: NoiseAudit | None

    def check(self) -> None:
        """Raise NoiseError where the noise of the draws so far is not what it should be. Called once per input."""
        ...

    def accept(self, clean: torch.Tensor, index: int) -> None:
        """Raise InvalidArgument where an input cannot take this noise. Called once per input, with it on the host."""
        ...

    def add_to(self, noisy: torch.Tensor, clean: torch.Tensor, *, index: int, purpose: Purpose, start: int) -> None:
        """Write clean + noise of draws start, start + 1, ... into `noisy`, in place.

        Args:
            noisy: buffer on the noise's device, overwritten: shape (draws, size) or (draws, *input_shape); float32, or the
                model's precision; contiguous or channels last.
            clean: the input, float32, shape (size,), on the same device.
            index: the input's stable index in its data set.
            purpose: which stream: selection and estimation draws never share words.
            start: number of the first draw.
        """
        ...


class WordStream:
    """32-bit words addressed by (seed, plane, input index, purpose, draw, element).

    A draw owns whole counters of the generator, and draws are consecutive: any range of draws is one contiguous range
    of counters, so that splitting it into batches changes nothing.

    Args:
        seed: 128-bit seed of the run.
        size: elements per draw.
        device: where the words are wanted; the CPU's come from NumPy, bit-identical.
    """

    def __init__(self, seed: int, size: int, device: torch.device) -> None:
        self.seed, self.size, self.device = seed, size, device
        self.counters_per_draw = -(-size // WORDS_PER_COUNTER)
        self.words_per_draw = self.counters_per_draw * WORDS_PER_COUNTER
        self._generator: np.random.Philox | None = None  # where the host's words were last taken from,
        self._next: object = None  # and the address that it has come to: the next pass mostly goes on there

    def words(self, index: int, purpose: Purpose, start: int, draws: int) -> torch.Tensor:
        """Bit patterns of consecutive draws, int32, shape (draws, words_per_draw)."""
        counter = (0, index, _PURPOSES[purpose])
        first, count = self._counter(start), draws * self.counters_per_draw
        if self.device.type == "cpu":
            if self._generator is None or self._next != (counter, first):
                self._generator = host_generator(self.seed, counter, first)
            self._next = counter, first + count
            words = torch.from_numpy(next_words(self._generator, count).view(np.int32))
        else:
            words = device_words(self.seed, counter, first, count, self.device)
        return words.view(draws, self.words_per_draw)

    def address(self, index: int, purpose: Purpose, start: int) -> Address:
        """Where the words of a draw and those after it come from, for kernels that compute them themselves."""
        first = self._counter(start) + 1  # NumPy increments before it generates
        return Address((*split_key(self.seed), first, index, _PURPOSES[purpose]), self.counters_per_draw)

    def extra_word(self, index: int, purpose: Purpose, draw: int, element: int) -> int:
        """One more 32-bit word of one element, from a plane of its own."""
        counter = self._counter(draw) + element // WORDS_PER_COUNTER
        words = host_words(self.seed, (1, index, _PURPOSES[purpose]), counter, 1)
        return int(words[element % WORDS_PER_COUNTER])

    def extra_words(self, index: int, purpose: Purpose, draw: torch.Tensor, element: torch.Tensor) -> torch.Tensor:
        """`extra_word` for many elements at once, on their device: int64 in [0, 2^32), the shape of `draw`."""
        counter = 2 + draw * self.counters_per_draw + element // WORDS_PER_COUNTER  # NumPy increments first
        outputs = philox4x64(split_key(self.seed), (counter, 1, index, _PURPOSES[purpose]))
        words = torch.stack(outputs, dim=-1).view(torch.int32)
        word = words.gather(-1, (element % WORDS_PER_COUNTER).unsqueeze(-1)).squeeze(-1)
        return word.to(torch.int64) & 0xFFFFFFFF

    def _counter(self, draw: int) -> int:
        return 1 + draw * self.counters_per_draw
