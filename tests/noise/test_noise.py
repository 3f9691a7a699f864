"""Float and integer noise: the right distribution, a function of the address alone."""

import math

import numpy as np
import pytest
import torch
from scipy import special

from certmix.errors import InvalidArgument
from certmix.noise import GaussianNoise, IntegerNoise, NoiseAudit
from certmix.noise.table import clip_range, probabilities, thresholds
from tests.pretend_device import device, pretended

CPU = torch.device("cpu")


def _noise(kind, size, sigma=0.5, seed=7, levels=255):
    if kind == "float":
        return GaussianNoise(seed, sigma, size, CPU)
    return IntegerNoise(seed, sigma, size, CPU, levels=levels)


@pytest.mark.parametrize("kind", ["float", "integer"])
@pytest.mark.parametrize("size", [1, 5, 64, 3072])
def test_draws_do_not_depend_on_the_batch(kind, size):
    noise, clean = _noise(kind, size), torch.full((size,), 100 / 255)
    whole = torch.zeros(40, size)
    noise.add_to(whole, clean, index=3, purpose="estimation", start=10)
    for begin, end in ((0, 1), (1, 8), (8, 40)):
        part = torch.zeros(end - begin, size)
        noise.add_to(part, clean, index=3, purpose="estimation", start=10 + begin)
        assert torch.equal(part, whole[begin:end])


@pytest.mark.parametrize("kind", ["float", "integer"])
def test_moments_are_those_of_the_gaussian(kind):
    size, draws, sigma = 64, 20_000, 0.5
    noisy = torch.zeros(draws, size)
    _noise(kind, size, sigma).add_to(noisy, torch.zeros(size), index=0, purpose="selection", start=0)
    z, n = (noisy / sigma).double(), draws * size
    rounding = 1 / 12 / (255 * sigma) ** 2 if kind == "integer" else 0.0
    assert abs(z.mean()) < 5 / math.sqrt(n)
    assert abs(z.var() - 1 - rounding) < 5 * math.sqrt(2 / n)
    assert abs((z**4).mean() - 3) < 5 * math.sqrt(96 / n) + 0.01
    assert abs((z[:, ::2] * z[:, 1::2]).mean()) < 5 / math.sqrt(n / 2)  # neighbours
    assert abs((z[::2] * z[1::2]).mean()) < 5 / math.sqrt(n / 2)  # consecutive draws


def test_the_float_noise_is_normal_by_kolmogorov_smirnov():
    noisy = torch.zeros(4000, 64)
    _noise("float", 64, 1.0).add_to(noisy, torch.zeros(64), index=0, purpose="selection", start=0)
    z = np.sort(noisy.numpy().reshape(-1).astype(np.float64))
    distance = np.abs(special.ndtr(z) - (np.arange(len(z)) + 0.5) / len(z)).max()
    assert distance * math.sqrt(len(z)) < 2.0  # exceeded with probability 6.7e-4


def test_integers_equal_a_search_of_all_64_bits():
    noise = _noise("integer", 512, sigma=1.0)
    words = noise._stream.words(4, "estimation", 2, 20).numpy().view(np.uint32)[:, :512]
    table = [int(value) for value in thresholds(1.0, 255)]
    got = noise.integers(4, "estimation", 2, 20).numpy()
    generator = np.random.default_rng(1)
    for draw, element in zip(generator.integers(0, 20, 300), generator.integers(0, 512, 300), strict=True):
        extra = noise._stream.extra_word(4, "estimation", 2 + int(draw), int(element))
        uniform = (int(words[draw, element]) << 32) | extra
        assert got[draw, element] == np.searchsorted(np.array(table, dtype=object), uniform, side="right") - 1785


def test_a_tie_of_32_bits_is_decided_by_the_extra_word():
    noise = _noise("integer", 8, sigma=0.5)
    j = 700
    word = int(noise._thresholds[j]) >> 32  # these 32 bits hold the threshold inside their cell
    words = np.full((1, 8), word, dtype=np.uint32)
    got = noise._integers_on_host(words, 0, "selection", 0)[0]
    for element in range(8):
        uniform = (word << 32) | noise._stream.extra_word(0, "selection", 0, element)
        assert got[element] == np.searchsorted(noise._thresholds, np.uint64(uniform), side="right") - noise._reach
    noise._prepare_device(CPU)
    assert torch.equal(
        noise._integers_on_device(torch.from_numpy(words.view(np.int32)), 0, "selection", 0),
        torch.from_numpy(got)[None],
    )


@pytest.mark.parametrize(("sigma", "levels", "size"), [(0.25, 255, 3072), (1.0, 255, 100), (0.5, 16, 64)])
def test_the_device_path_gives_the_same_integers(sigma, levels, size):
    noise = _noise("integer", size, sigma=sigma, levels=levels)
    noise._prepare_device(CPU)
    for index in range(3):
        words = noise._stream.words(index, "estimation", 5, 50)
        host = noise.integers(index, "estimation", 5, 50)
        assert torch.equal(host, noise._integers_on_device(words, index, "estimation", 5))


def test_integer_noise_passes_chi_squared_and_does_not_depend_on_the_input():
    noise = _noise("integer", 64, sigma=0.333, levels=16)
    integers = noise.integers(0, "estimation", 0, 10_000).numpy()
    p = probabilities(0.333, 16)
    assert p.sum() == pytest.approx(1.0)
    counts = np.bincount(integers.reshape(-1) + len(p) // 2, minlength=len(p))
    inside = p * integers.size > 20
    statistic = ((counts - p * integers.size) ** 2)[inside] / (p * integers.size)[inside]
    assert special.chdtrc(inside.sum() - 1, statistic.sum()) > 1e-4
    generator = torch.Generator().manual_seed(0)
    for clean in (torch.zeros(64), torch.ones(64), torch.randint(0, 17, (64,), generator=generator) / 16):
        noisy = torch.zeros(100, 64)
        noise.add_to(noisy, clean, index=0, purpose="estimation", start=0)
        wanted = ((clean * 16).round() + torch.from_numpy(integers[:100]).float()).clamp(*clip_range(0.333, 16))
        assert torch.equal(noisy * 16, wanted)


@pytest.mark.parametrize("apart", [0.5 - 127 / 255, 2e-4 / 255])
def test_an_input_off_the_grid_is_named(apart):
    off = torch.tensor([0.0, 1.0, 127 / 255 + apart])
    with pytest.raises(InvalidArgument, match=f"grid of 1/255, got {float(off[2]):.9g} at input 12"):
        _noise("integer", 3).accept(off, 12)
    _noise("float", 3).accept(off, 12)


@pytest.mark.parametrize("levels", [2, 16, 255, 10_000])
def test_every_way_to_write_the_grid_in_float32_is_on_it(levels):
    steps = np.arange(levels + 1)
    for values in (steps.astype(np.float32) / np.float32(levels), steps.astype(np.float32) * np.float32(1 / levels)):
        _noise("integer", levels + 1, sigma=0.25, levels=levels).accept(torch.from_numpy(values), 0)


@pytest.mark.parametrize("value", [-1 / 255, 256 / 255, float("nan"), float("inf")])
def test_integer_noise_refuses_inputs_outside_the_box(value):
    with pytest.raises(InvalidArgument, match=r"needs inputs in \[0, 1\], got .* at input 3"):
        _noise("integer", 2).accept(torch.tensor([0.0, value]), 3)


def test_a_tied_audit_of_good_noise_passes_many_looks():
    for kind in ("float", "integer"):
        audit = NoiseAudit(probabilities(0.25, 255) if kind == "integer" else None)
        noise = (
            IntegerNoise(3, 0.25, 300, CPU, levels=255, audit=audit)
            if kind == "integer"
            else GaussianNoise(3, 0.25, 300, CPU, audit=audit)
        )
        buffer = torch.zeros(100, 300)
        for index in range(60):
            noise.add_to(buffer, torch.zeros(300), index=index, purpose="selection", start=0)
            noise.check()
        summary = audit.summary()
        assert summary["elements"] == 60 * 100 * 300 // 4
        assert min(summary["p_values"].values()) > 1e-4


@pytest.mark.parametrize("kind", ["float", "integer"])
def test_the_device_path_draws_the_hosts_values_and_leaves_nothing_on_the_host(kind, monkeypatch):
    drawn = []
    with pretended(monkeypatch) as reads:
        for place in (torch.device("cpu"), device()):
            if kind == "integer":
                noise = IntegerNoise(3, 0.25, 105, place, levels=255, audit=NoiseAudit(probabilities(0.25, 255)))
            else:
                noise = GaussianNoise(3, 0.25, 105, place, audit=NoiseAudit())
            images = torch.zeros(6, 3, 5, 7, dtype=torch.bfloat16, device=place).to(memory_format=torch.channels_last)
            noise.add_to(images, torch.zeros(105, device=place), index=0, purpose="estimation", start=0)
            assert sum(reads.values()) == (place != torch.device("cpu"))  # the audit's share
            drawn.append(images.cpu())
            noise.check()
            reads.clear()
    assert torch.equal(*drawn)
