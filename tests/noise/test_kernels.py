"""The fused kernels against the host, bit for bit: compiled on a GPU, or interpreted on the CPU (the extra `gpu-test`).

See `conftest.py` for TRITON_INTERPRET. The last test compiles for a GPU that need not be there.
"""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from certmix.errors import NoiseError
from certmix.noise import GaussianNoise, IntegerNoise, NoiseAudit, fused
from certmix.noise.stream import WordStream
from certmix.noise.table import clip_range, probabilities, thresholds

triton = pytest.importorskip("triton")

from certmix.noise import kernels  # noqa: E402 needs Triton

CPU = torch.device("cpu")
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
SEED = 2**127 + 12345


def _pair(kind, size, *, sigma=0.333, levels=16, audit=None):
    """The host's noise, and the same noise drawn by the kernels."""
    if kind == "float":
        host, device = (GaussianNoise(SEED, sigma, size, place) for place in (CPU, DEVICE))
        device._fused = True
    else:
        host, device = (IntegerNoise(SEED, sigma, size, place, levels=levels) for place in (CPU, DEVICE))
        device._prepare_kernel(DEVICE)
    device.audit = audit
    return host, device


def _drawn(noise, buffer, clean, **where):
    noise.add_to(buffer, clean.to(buffer.device), **where)
    return buffer.cpu()


@pytest.mark.parametrize(
    ("size", "draws", "index", "purpose", "start"),
    [
        (1, 1, 0, "selection", 0),
        (5, 300, 3, "estimation", 7),
        (8, 40, 2**31, "prediction", 0),
        (64, 33, 9, "estimation", 10_000_000_000),
        (193, 8, 1, "selection", 2**20 - 3),
        (768, 3, 2, "estimation", 5),
    ],
)
def test_integers_are_the_hosts_at_every_address(size, draws, index, purpose, start):
    host, device = _pair("integer", size)
    clean = torch.arange(size) % 17 / 16
    where = {"index": index, "purpose": purpose, "start": start}
    wanted = _drawn(host, torch.zeros(draws, size), clean, **where)
    assert torch.equal(_drawn(device, torch.full((draws, size), 9.0, device=DEVICE), clean, **where), wanted)


@pytest.mark.parametrize(
    ("sigma", "levels"), [(0.25, 255), (1.0, 255), (0.5, 16), (0.03125, 16), (5.0, 1), (20.6, 255)]
)
def test_integers_are_the_hosts_for_every_table(sigma, levels):
    host, device = _pair("integer", 64, sigma=sigma, levels=levels)
    where = {"index": 4, "purpose": "estimation", "start": 2}
    wanted = _drawn(host, torch.zeros(20, 64), torch.zeros(64), **where)
    assert torch.equal(_drawn(device, torch.zeros(20, 64, device=DEVICE), torch.zeros(64), **where), wanted)


def test_the_quotient_without_division_is_rounded_to_nearest():
    value = np.arange(-32_000, 32_001).astype(np.float32)
    for levels in (*range(1, 300), 1023, 4095, 10_666):
        inverse = np.float32(1 / levels)
        quotient = value * inverse
        rest = (value.astype(np.float64) - quotient.astype(np.float64) * levels).astype(np.float32)  # exact in float64
        fused = (rest.astype(np.float64) * np.float64(inverse) + quotient.astype(np.float64)).astype(np.float32)
        assert np.array_equal(fused, value / np.float32(levels))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last])
@pytest.mark.parametrize("kind", ["integer", "float"])
def test_values_are_rounded_once_and_lie_where_the_model_wants_them(kind, dtype, layout):
    shape = (3, 5, 7)
    host, device = _pair(kind, 105, levels=255)
    clean = torch.arange(105) / 255
    where = {"index": 1, "purpose": "selection", "start": 4}
    exact = _drawn(host, torch.zeros(6, 105), clean, **where).view(6, *shape)
    for noise, place in ((host, CPU), (device, DEVICE)):
        images = torch.zeros(8, *shape, dtype=dtype, device=place).to(memory_format=layout)
        _drawn(noise, images[1:7], clean, **where)  # rows of a larger pass; the rest is left alone
        assert images.is_contiguous(memory_format=layout)
        assert not images[0].any()
        assert not images[7].any()
        got, wanted = images[1:7].cpu(), exact.to(dtype)
        if (
            dtype == torch.bfloat16 and noise is device and DEVICE == CPU
        ):  # the interpreter cuts where GPUs round (cvt.rn)
            wanted = (exact.view(torch.int32) & -65536).view(torch.float32).to(dtype)
        if kind == "integer":
            assert torch.equal(got, wanted)
        else:
            assert torch.allclose(got.float(), wanted.float(), atol=1e-5, rtol=float(torch.finfo(dtype).eps))


@pytest.mark.parametrize("size", [1, 5, 8, 12, 64, 193, 768])  # odd and even numbers of counters, halves of every kind
def test_float_noise_is_the_hosts_up_to_rounding(size):
    host, device = _pair("float", size)
    clean = torch.rand(size, generator=torch.Generator().manual_seed(0))
    where = {"index": 5, "purpose": "prediction", "start": 77}
    wanted = _drawn(host, torch.zeros(9, size), clean, **where)
    assert torch.allclose(_drawn(device, torch.zeros(9, size, device=DEVICE), clean, **where), wanted, atol=1e-5)


def test_ties_of_32_bits_are_decided_by_all_64(monkeypatch):
    # A table of our own: the words that come are thresholds' upper halves, and the lower halves are on either side.
    host, device = _pair("integer", 64)
    words = host._stream.words(0, "selection", 0, 2).numpy().view(np.uint32).astype(np.uint64)
    extra = np.array(
        [[host._stream.extra_word(0, "selection", d, e) for e in range(64)] for d in range(2)], dtype=np.uint64
    )
    shift = np.random.default_rng(0).integers(-1, 2, 40)
    some = np.random.default_rng(1).permutation(128)[:40]
    near = (words << np.uint64(32) | extra).reshape(-1)[some].astype(object) + shift
    twice = [value ^ 1 for value in near[:8]]  # several thresholds with one upper half
    table = np.sort(
        np.concatenate([thresholds(0.333, 16)[: -len(near) - 8], np.array([*near, *twice], dtype=np.uint64)])
    )
    device._tables = kernels.Tables.of(table, DEVICE)
    uniform = words << np.uint64(32) | extra
    wanted = np.searchsorted(table, uniform, side="right").astype(np.int64) - clip_range(0.333, 16)[1]
    device.audit = NoiseAudit(probabilities(0.333, 16))
    _drawn(device, torch.zeros(2, 64, device=DEVICE), torch.zeros(64), index=0, purpose="selection", start=0)
    assert np.array_equal(device.audit._waiting[0].numpy(), wanted.reshape(-1))


@pytest.mark.parametrize("kind", ["integer", "float"])
def test_the_audit_sees_the_first_of_the_noise_used(kind):
    audit = NoiseAudit(probabilities(0.333, 16) if kind == "integer" else None)
    host, device = _pair(kind, 64, audit=audit)
    noisy = _drawn(device, torch.zeros(40, 64, device=DEVICE), torch.zeros(64), index=0, purpose="estimation", start=0)
    part = torch.from_numpy(audit._waiting[0].numpy())
    assert part.numel() == audit.share(40 * 64) == 640
    if kind == "integer":
        assert torch.equal(part, host.integers(0, "estimation", 0, 10).reshape(-1))
    else:
        assert torch.allclose(part, noisy.reshape(-1)[:640] / 0.333, atol=1e-6)
    device.check()
    assert audit.summary()["elements"] == 640


def test_the_self_check_passes_and_refuses_other_words(monkeypatch):
    kernels.self_check(DEVICE)
    good = WordStream.address
    monkeypatch.setattr(
        WordStream, "address", lambda stream, *where: good(stream, *where)._replace(numbers=(1, 2, 3, 7, 2))
    )
    monkeypatch.setattr(kernels, "host_words", lambda *_: np.zeros(64 * 25 * 8, dtype=np.uint32))
    with pytest.raises(NoiseError, match="must draw the host's integers"):
        kernels.self_check(DEVICE)


@pytest.fixture
def pretend_gpu(monkeypatch):
    fused.runs_kernels.cache_clear()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    yield torch.device("cuda", 7)
    fused.runs_kernels.cache_clear()


def test_a_gpu_that_triton_cannot_serve_takes_the_slower_path_and_says_so(pretend_gpu, monkeypatch):
    def fails(device):
        raise RuntimeError("Failed to find C compiler.\nPlease ...")

    monkeypatch.setattr(kernels, "self_check", fails)
    with pytest.warns(UserWarning, match=r"noise will be slower: Failed to find C compiler\.$"):
        assert not fused.runs_kernels(pretend_gpu)
    fused.runs_kernels.cache_clear()
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (7, 5))
    assert not fused.runs_kernels(pretend_gpu)
    assert not fused.runs_kernels(CPU)


def test_a_kernel_of_other_bits_is_an_error_not_a_slower_path(pretend_gpu, monkeypatch):
    def differs(device):
        raise NoiseError("must draw the host's integers")

    monkeypatch.setattr(kernels, "self_check", differs)
    with pytest.raises(NoiseError, match="must draw"):
        fused.runs_kernels(pretend_gpu)


_COMPILE = """
import json, sys
from triton import compile
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from certmix.noise import kernels
types = {"noisy": "*" + sys.argv[1], "clean": "*fp32", "starts": "*u16", "upper": "*u32", "full": "*u64"}
types |= dict.fromkeys(("levels", "inverse", "sigma"), "fp32")
types |= dict.fromkeys(("key0", "key1", "first", "index", "purpose"), "u64")
made = {}
for kernel, seen, more in ((kernels._integer_kernel, "*i16", {}), (kernels._float_kernel, "*fp32", {"WIDTH": 8}),
                           (kernels._float_kernel, "*fp32", {"WIDTH": 4})):
    for channels, pixels in ((0, 1), (3, 1024)):
        fixed = {"CHANNELS": channels, "PIXELS": pixels, "BLOCK": 128, **more}
        names = [p.name for p in kernel.params]
        signature = {n: "constexpr" if n in fixed else seen if n == "seen" else types.get(n, "i32") for n in names}
        ptx = compile(ASTSource(kernel, signature, fixed), target=GPUTarget("cuda", 90, 32),
                      options={"enable_fp_fusion": False}).asm["ptx"]
        wrong = [word for word in ("lg2.approx", "div.full", "cvt.rz.") if word in ptx]
        made[f"{kernel.fn.__name__} {fixed}"] = wrong + ["truncated"] * ("cvt.rn.bf16" not in ptx and "b" in sys.argv[1])
print(json.dumps(made))
"""


@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
def test_the_kernels_compile_for_a_gpu_and_round_to_nearest(dtype, tmp_path):
    environment = {name: value for name, value in os.environ.items() if name != "TRITON_INTERPRET"}
    environment["TRITON_CACHE_DIR"] = str(tmp_path)
    done = subprocess.run(
        [sys.executable, "-c", _COMPILE, dtype], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert len(found) == 6
    assert not any(found.values()), found
