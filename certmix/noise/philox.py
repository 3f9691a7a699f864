"""Philox4x64-10, the counter-based generator behind every draw: the word at an address never depends on anything else.

Source: Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3". On the CPU the words come from NumPy's
implementation; `philox4x64` is the same function in torch integer arithmetic, for any device, checked against it.
"""

import numpy as np
import torch
from numpy.typing import NDArray

_MASK32 = 0xFFFFFFFF
_MASK64 = 0xFFFFFFFFFFFFFFFF
MULTIPLIERS = (0xD2E7470EE14C6C93, 0xCA5A826395121157)
WEYL = (0x9E3779B97F4A7C15, 0xBB67AE8584CAA73B)
ROUNDS = 10
WORDS_PER_COUNTER = 8  # 32-bit words that one counter value yields


def split_key(seed: int) -> tuple[int, int]:
    """The two 64-bit key words of a 128-bit seed, low word first."""
    return seed & _MASK64, seed >> 64


def host_words(seed: int, counter: tuple[int, int, int], start: int, counters: int) -> NDArray[np.uint32]:
    """32-bit words of `counters` consecutive counters from `start`, computed by NumPy.

    Args:
        seed: 128-bit key.
        counter: the three upper 64-bit counter words: (plane, input, purpose).
        start: first value of the lowest counter word.
        counters: how many counter values.
    Returns: uint32, shape (counters * 8,): each counter gives four 64-bit outputs, low half first.
    """
    return next_words(host_generator(seed, counter, start), counters)


def host_generator(seed: int, counter: tuple[int, int, int], start: int) -> np.random.Philox:
    """What `next_words` takes the words of `start` and the counters after it from; arguments as `host_words`."""
    # NumPy increments before it generates: begin one earlier, which stays inside the lowest word since start >= 1.
    return np.random.Philox(
        key=np.array(split_key(seed), dtype=np.uint64), counter=np.array([start, *counter], dtype=np.uint64)
    )


def next_words(generator: np.random.Philox, counters: int) -> NDArray[np.uint32]:
    """The words of the next counters: uint32, shape (counters * 8,)."""
    return np.asarray(generator.random_raw(counters * 4)).astype("<u8", copy=False).view("<u4")


def device_words(
    seed: int, counter: tuple[int, int, int], start: int, counters: int, device: torch.device
) -> torch.Tensor:
    """The same words as `host_words`, computed on `device`: int32 bit patterns, shape (counters * 8,)."""
    position = torch.arange(start + 1, start + 1 + counters, dtype=torch.int64, device=device)
    outputs = philox4x64(split_key(seed), (position, *counter))
    return torch.stack(outputs, dim=1).view(torch.int32).reshape(-1)


def philox4x64(key: tuple[int, int], counter: tuple[torch.Tensor, int, int, int]) -> tuple[torch.Tensor, ...]:
    """Ten rounds of Philox4x64 on a vector of lowest counter words; int64 tensors hold unsigned 64-bit patterns.

    Example: the published known answer for a zero key and counter.
        >>> zero = torch.zeros(1, dtype=torch.int64)
        >>> [hex(int(word) % 2**64) for word in philox4x64((0, 0), (zero, 0, 0, 0))][:2]
        ['0x16554d9eca36314c', '0xdb20fe9d672d0fdc']
    """
    words = [counter[0], *(torch.full_like(counter[0], _signed(word)) for word in counter[1:])]
    k0, k1 = key
    for _ in range(ROUNDS):
        high0, low0 = _multiply(words[0], MULTIPLIERS[0])
        high1, low1 = _multiply(words[2], MULTIPLIERS[1])
        words = [high1 ^ words[1] ^ _signed(k0), low1, high0 ^ words[3] ^ _signed(k1), low0]
        k0, k1 = (k0 + WEYL[0]) & _MASK64, (k1 + WEYL[1]) & _MASK64
    return tuple(words)


def _multiply(a: torch.Tensor, b: int) -> tuple[torch.Tensor, torch.Tensor]:
    """High and low 64 bits of the unsigned product, from 32-bit halves (torch has no 64-bit high product)."""
    b_low, b_high = b & _MASK32, b >> 32
    a_low, a_high = a & _MASK32, (a >> 32) & _MASK32
    low_low, low_high, high_low = a_low * b_low, a_low * b_high, a_high * b_low
    carry = ((low_low >> 32) & _MASK32) + (low_high & _MASK32) + (high_low & _MASK32)
    high = a_high * b_high + ((low_high >> 32) & _MASK32) + ((high_low >> 32) & _MASK32) + ((carry >> 32) & _MASK32)
    return high, a * _signed(b)


def _signed(word: int) -> int:
    """The int64 with the same bits as an unsigned 64-bit word."""
    return word - (1 << 64) if word >> 63 else word
