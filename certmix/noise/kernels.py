"""The whole noise of a pass in one GPU kernel: address -> words -> noise -> noisy input, written once.

The same words, and for integer noise the same values, as `IntegerNoise` and `GaussianNoise` make on the host. Imported only
where Triton is; it comes with every CUDA build of torch. A value costs one write in the model's precision and layout; the
input and the tables are read from the cache. `TRITON_INTERPRET=1`, set before the import, runs the kernels on the CPU.
"""

import math
from dataclasses import dataclass

import numpy as np
import torch
import triton
import triton.language as tl
from numpy.typing import NDArray

from certmix.errors import NoiseError
from certmix.noise.philox import MULTIPLIERS, ROUNDS, WEYL, host_words
from certmix.noise.stream import Address, WordStream
from certmix.noise.table import clip_range, thresholds

_BLOCK = 128  # counters, of eight words each, to a program
_M0, _M1 = tl.constexpr(MULTIPLIERS[0]), tl.constexpr(MULTIPLIERS[1])
_W0, _W1 = tl.constexpr(WEYL[0]), tl.constexpr(WEYL[1])
_ROUNDS = tl.constexpr(ROUNDS)
_TO_ANGLE = tl.constexpr(math.pi * 2.0**-31)
_SCALARS = ("key0", "key1", "first", "index", "purpose", "draws", "size", "counters", "seen_size")


@dataclass(frozen=True)
class Tables:
    """The threshold table T on a device, and where to begin in it.

    Attributes:
        starts: #{j : T[j] < c 2^48}, c = 0 .. 2^16, uint16, shape (65537,): a 16-bit cell whose two ends agree is decided.
        upper: T >> 32, uint32.
        full: T, uint64.
    """

    starts: torch.Tensor
    upper: torch.Tensor
    full: torch.Tensor

    @classmethod
    def of(cls, table: NDArray[np.uint64], device: torch.device) -> "Tables":
        """The tables of `table.thresholds`."""
        edges = np.arange(1 << 16, dtype=np.uint64) << np.uint64(48)
        starts = np.append(np.searchsorted(table, edges, side="left"), len(table)).astype(np.uint16)
        upper = (table >> np.uint64(32)).astype(np.uint32)
        return cls(*(torch.from_numpy(np.array(part)).to(device) for part in (starts, upper, table)))


def add_integers(
    noisy: torch.Tensor,
    clean: torch.Tensor,
    seen: torch.Tensor,
    address: Address,
    tables: Tables,
    *,
    levels: int,
    clip: tuple[int, int],
) -> None:
    """Write clip(levels clean + Z) / levels into `noisy`.

    Args:
        noisy: shape (draws, size) or (draws, channels, height, width), float32, bfloat16 or float16, contiguous or channels
            last, on a GPU.
        clean: on the grid, float32, shape (size,).
        seen: takes the first integers Z, in order of draws, int16, one-dimensional.
        address: of the first draw.
        tables: of Z.
        levels, clip: of the grid, see `certmix.noise.table`.
    """
    draws, size, counters = len(noisy), clean.numel(), address.counters
    grid = (triton.cdiv(draws * counters, _BLOCK),)
    _integer_kernel[grid](
        noisy, clean, seen, tables.starts, tables.upper, tables.full, *address.numbers, draws, size, counters, seen.numel(),
        float(levels), float(np.float32(1 / levels)), *clip,
        CHANNELS=_channels_last(noisy), PIXELS=math.prod(noisy.shape[2:]), BLOCK=_BLOCK, enable_fp_fusion=False,
    )  # fmt: skip


def add_normals(
    noisy: torch.Tensor, clean: torch.Tensor, seen: torch.Tensor, address: Address, *, sigma: float
) -> None:
    """Write clean + sigma z into `noisy`, z by Box-Muller as `GaussianNoise`; `seen` takes the first z, float32."""
    draws, size, counters = len(noisy), clean.numel(), address.counters
    width = 4 if counters % 2 else 8  # where the second half of a draw's words begins inside a counter, four at a time
    grid = (triton.cdiv(draws * 4 * counters, width * _BLOCK),)
    _float_kernel[grid](
        noisy, clean, seen, *address.numbers, draws, size, counters, seen.numel(), sigma,
        CHANNELS=_channels_last(noisy), PIXELS=math.prod(noisy.shape[2:]), WIDTH=width, BLOCK=_BLOCK,
        enable_fp_fusion=False,
    )  # fmt: skip


def self_check(device: torch.device) -> None:
    """Compare a few integers of the kernel with a plain search of all their 64 bits on the host.

    Raises: NoiseError: where they differ: this device's kernel must not be used. Whatever Triton raises where it cannot run.
    """
    sigma, levels, size, draws = 0.333, 255, 193, 64
    table, clip = thresholds(sigma, levels), clip_range(sigma, levels)
    address = WordStream(2**127 + 12345, size, device).address(7, "estimation", 3)
    noisy, clean = torch.zeros(draws, size, device=device), torch.zeros(size, device=device)
    seen = torch.zeros(draws * size, dtype=torch.int16, device=device)
    add_integers(noisy, clean, seen, address, Tables.of(table, device), levels=levels, clip=clip)
    key0, key1, first, index, purpose = address.numbers
    words = [
        host_words(key1 << 64 | key0, (plane, index, purpose), first - 1, draws * address.counters) for plane in (0, 1)
    ]
    uniform = words[0].astype(np.uint64) << np.uint64(32) | words[1]
    wanted = (np.searchsorted(table, uniform, side="right") - clip[1]).reshape(draws, -1)[:, :size]
    got, values = seen.cpu().numpy().reshape(draws, size), wanted.clip(*clip).astype(np.float32) / np.float32(levels)
    if not np.array_equal(got, wanted) or not np.array_equal(noisy.cpu().numpy(), values):
        raise NoiseError(f"the noise kernel must draw the host's integers and does not on {device}; use --device cpu.")


def _channels_last(noisy: torch.Tensor) -> int:
    """The number of channels where they lie last in memory, else 0."""
    if noisy.is_contiguous():
        return 0
    assert noisy.is_contiguous(memory_format=torch.channels_last)
    return noisy.shape[1]


@triton.jit
def _philox(position, index, purpose, key0, key1, PLANE: tl.constexpr):  # noqa: N803
    """Four 64-bit outputs of each counter (position, PLANE, index, purpose)."""
    c0, c1 = position, tl.zeros_like(position) + PLANE
    c2, c3 = tl.zeros_like(position) + index.to(tl.uint64), tl.zeros_like(position) + purpose.to(tl.uint64)
    k0, k1 = key0.to(tl.uint64), key1.to(tl.uint64)
    for _ in tl.static_range(_ROUNDS):
        high0, low0 = tl.umulhi(c0, tl.full(c0.shape, _M0, tl.uint64)), c0 * _M0
        high1, low1 = tl.umulhi(c2, tl.full(c2.shape, _M1, tl.uint64)), c2 * _M1
        c0, c1, c2, c3 = high1 ^ c1 ^ k0, low1, high0 ^ c3 ^ k1, low0
        k0 += _W0
        k1 += _W1
    return c0, c1, c2, c3


@triton.jit
def _halves(outputs):
    """32-bit words of 64-bit ones, low half first: (n, m) -> (n, 2 m)."""
    return tl.interleave((outputs & 0xFFFFFFFF).to(tl.uint32), (outputs >> 32).to(tl.uint32))


@triton.jit
def _eight_words(position, index, purpose, key0, key1, PLANE: tl.constexpr):  # noqa: N803
    """The words of each counter, shape (n, 8)."""
    o0, o1, o2, o3 = _philox(position, index, purpose, key0, key1, PLANE)
    return _halves(tl.interleave(tl.join(o0, o2), tl.join(o1, o3)))


@triton.jit
def _some_words(begin, unit, index, purpose, key0, key1, WIDTH: tl.constexpr):  # noqa: N803
    """Words WIDTH unit .. WIDTH (unit + 1) of draws that begin at these counters, shape (n, WIDTH)."""
    if WIDTH == 8:
        words = _eight_words(begin + unit.to(tl.uint64), index, purpose, key0, key1, 0)
    else:
        o0, o1, o2, o3 = _philox(begin + (unit // 2).to(tl.uint64), index, purpose, key0, key1, 0)
        lower = unit % 2 == 0
        words = _halves(tl.join(tl.where(lower, o0, o2), tl.where(lower, o1, o3)))
    return words


@triton.jit
def _place(draw, element, size, CHANNELS: tl.constexpr, PIXELS: tl.constexpr):  # noqa: N803
    """Where an element of a draw lies in memory."""
    inside = element
    if CHANNELS > 0:
        inside = (element % PIXELS) * CHANNELS + element // PIXELS
    return draw.to(tl.int64) * size + inside


@triton.jit
def _count(word, starts, upper):
    """(#{j : upper[j] <= word}, whether 16 bits did not decide)."""
    cell = (word >> 16).to(tl.int32)
    low, high = tl.load(starts + cell).to(tl.int32), tl.load(starts + cell + 1).to(tl.int32)
    undecided = low < high
    while tl.max(high - low) > 0:
        middle = (low + high) // 2
        searching = low < high
        below = searching & (tl.load(upper + middle, mask=searching, other=0) <= word)
        high = tl.where(searching & ~below, middle, high)
        low = tl.where(below, middle + 1, low)
    return low, undecided


@triton.jit(do_not_specialize=_SCALARS)
def _integer_kernel(
    noisy, clean, seen, starts, upper, full,
    key0: tl.uint64, key1: tl.uint64, first: tl.uint64, index: tl.uint64, purpose: tl.uint64,
    draws: tl.int32, size: tl.int32, counters: tl.int32, seen_size: tl.int32,
    levels, inverse, lowest, reach,
    CHANNELS: tl.constexpr, PIXELS: tl.constexpr, BLOCK: tl.constexpr,  # noqa: N803
):  # fmt: skip
    number = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    position = first.to(tl.uint64) + number.to(tl.uint64)
    word = _eight_words(position, index, purpose, key0, key1, 0)
    count, undecided = _count(word, starts, upper)
    # 32 bits decide, but where they equal a threshold's: one element in some millions.
    edge = tl.load(upper + tl.maximum(count - 1, 0), mask=undecided, other=0)
    tie = undecided & (count > 0) & (edge == word)
    if tl.max(tie.to(tl.int32)) > 0:
        extra = _eight_words(position, index, purpose, key0, key1, 1)
        uniform = (word.to(tl.uint64) << 32) | extra.to(tl.uint64)
        while tl.max(tie.to(tl.int32)) > 0:
            edge64 = tl.load(full + tl.maximum(count - 1, 0), mask=tie, other=0)
            tie = tie & (count > 0) & (edge64 > uniform)
            count = tl.where(tie, count - 1, count)
    integer = count - reach
    draw = (number // counters)[:, None]
    element = (number % counters)[:, None] * 8 + tl.arange(0, 8)[None, :]
    inside = (draw < draws) & (element < size)
    steps = tl.floor(tl.load(clean + element, mask=inside, other=0.0) * levels + 0.5).to(tl.int32)
    value = tl.minimum(tl.maximum(steps + integer, lowest), reach).to(tl.float32)
    # value / levels rounded to nearest, as torch divides, without a division: Markstein 1990, two fused steps.
    quotient = value * inverse
    scaled = tl.fma(tl.fma(-quotient, tl.zeros_like(value) + levels, value), tl.zeros_like(value) + inverse, quotient)
    tl.store(noisy + _place(draw, element, size, CHANNELS, PIXELS), scaled.to(noisy.dtype.element_ty), mask=inside)
    if (tl.program_id(0) * BLOCK // counters).to(tl.int64) * size < seen_size:
        order = draw.to(tl.int64) * size + element
        tl.store(seen + order, integer.to(tl.int16), mask=inside & (order < seen_size))


@triton.jit(do_not_specialize=_SCALARS)
def _float_kernel(
    noisy, clean, seen,
    key0: tl.uint64, key1: tl.uint64, first: tl.uint64, index: tl.uint64, purpose: tl.uint64,
    draws: tl.int32, size: tl.int32, counters: tl.int32, seen_size: tl.int32,
    sigma,
    CHANNELS: tl.constexpr, PIXELS: tl.constexpr, WIDTH: tl.constexpr, BLOCK: tl.constexpr,  # noqa: N803
):  # fmt: skip
    number = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    half = 4 * counters  # words of a draw in each half: radii, then angles
    units = half // WIDTH
    draw, unit = number // units, number % units
    begin = first.to(tl.uint64) + draw.to(tl.uint64) * counters.to(tl.uint64)
    radius_word = _some_words(begin, unit, index, purpose, key0, key1, WIDTH)
    angle_word = _some_words(begin, unit + units, index, purpose, key0, key1, WIDTH)
    # |word| is uniform on 0..2^31, so the radius sqrt(-2 ln u) is finite: u >= 2^-32.
    uniform = (tl.abs(radius_word.to(tl.int32, bitcast=True).to(tl.float32)) + 0.5) * 4.656612873077393e-10
    radius = tl.sqrt_rn(tl.maximum(tl.log(uniform) * -2.0, 0.0))
    angle = angle_word.to(tl.int32, bitcast=True).to(tl.float32) * _TO_ANGLE
    draw, element = draw[:, None], unit[:, None] * WIDTH + tl.arange(0, WIDTH)[None, :]
    for second in tl.static_range(2):
        normal = radius * (tl.sin(angle) if second else tl.cos(angle))
        place = element + second * half
        inside = (draw < draws) & (place < size) & (element < half)
        value = tl.load(clean + place, mask=inside, other=0.0) + sigma * normal
        tl.store(noisy + _place(draw, place, size, CHANNELS, PIXELS), value.to(noisy.dtype.element_ty), mask=inside)
        order = draw.to(tl.int64) * size + place
        tl.store(seen + order, normal, mask=inside & (order < seen_size))
