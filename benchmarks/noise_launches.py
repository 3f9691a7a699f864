"""How many kernel launches and bytes does the noise of a GPU pass take, and how many instructions? Needs no GPU.

The torch operations are counted on meta tensors under a dispatch mode: every operation that is no view is a launch, and
reads its tensor arguments and writes its results once. The conversions that a bf16, channels-last model makes of a float32
buffer are counted with them. The fused kernel's launches are counted the same way; its bytes are what it writes and reads
once (tables and the input stay in the cache), its instructions those of the code that Triton compiles for an H100 (sm_90).
"""

import importlib.util
import json
import math
import os
import re
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path

os.environ["TRITON_INTERPRET"] = "0" if "--compile" in sys.argv else "1"

import torch
from torch.utils._python_dispatch import TorchDispatchMode

from certmix.noise import GaussianNoise, IntegerNoise, NoiseAudit
from certmix.noise import gaussian as gaussian_module
from certmix.noise import integer as integer_module
from certmix.noise.table import probabilities

SIGMA, LEVELS = 0.5, 255
SHAPES = {"CIFAR, 3 x 32 x 32": (200, 3, 32, 32), "ImageNet, 3 x 224 x 224": (20, 3, 224, 224)}
FREE = {"aten::empty", "aten::empty_like", "aten::empty_strided", "aten::detach", "aten::lift_fresh"}


class Counting(TorchDispatchMode):
    """Launches and bytes of the operations inside."""

    def __init__(self) -> None:
        super().__init__()
        self.launches = self.bytes = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        made = func(*args, **(kwargs or {}))
        view = any(r.alias_info is not None and not r.alias_info.is_write for r in func._schema.returns)
        if not view and func._schema.name not in FREE:
            self.launches += 1
            flat = torch.utils._pytree.tree_leaves((args, kwargs, made))
            self.bytes += sum(t.numel() * t.element_size() for t in flat if isinstance(t, torch.Tensor))
        return made


def make(kind: str, size: int, device: torch.device) -> GaussianNoise | IntegerNoise:
    if kind == "float":
        return GaussianNoise(1, SIGMA, size, device, audit=NoiseAudit())
    return IntegerNoise(1, SIGMA, size, device, levels=LEVELS, audit=NoiseAudit(probabilities(SIGMA, LEVELS)))


def torch_path(kind: str, shape: tuple[int, ...]) -> tuple[int, float]:
    """Noise into a float32 buffer, then what the model converts."""
    device, draws = torch.device("meta"), shape[0]
    noise = make(kind, torch.Size(shape[1:]).numel(), device)
    noise.audit.keep = lambda part: None  # meta tensors hold nothing to copy
    buffer, clean = torch.empty(shape, device=device), torch.empty(noise.size, device=device)
    with Counting() as counting:
        noise.add_to(buffer.view(draws, -1), clean, index=0, purpose="estimation", start=0)
        buffer.contiguous(memory_format=torch.channels_last).to(torch.bfloat16)
    return counting.launches, counting.bytes / buffer.numel()


def kernel_path(kind: str, shape: tuple[int, ...]) -> tuple[int, float]:
    """The fused kernel into a bf16 buffer, channels last: what is launched, and what reaches memory by its design."""
    from certmix.noise import kernels

    cpu, size = torch.device("cpu"), torch.Size(shape[1:]).numel()
    noise = make(kind, size, cpu)
    if isinstance(noise, IntegerNoise):
        noise._prepare_kernel(cpu)
    else:
        noise._fused = True
    launched = []
    for name in ("_integer_kernel", "_float_kernel"):
        getattr(kernels, name).run = lambda *_, **__: launched.append(1)
    buffer = torch.empty(shape, dtype=torch.bfloat16).to(memory_format=torch.channels_last)
    clean = torch.zeros(size)
    with Counting() as counting:
        noise.add_to(buffer, clean, index=0, purpose="estimation", start=0)
    once = 4 * size + noise.audit.share(buffer.numel()) * (
        2 if kind == "integer" else 4
    )  # the input, the audit's share
    return counting.launches + len(launched), 2 + once / buffer.numel()


def compiled() -> dict[str, dict[str, float]]:
    """Of each kernel for sm_90: registers, spilled bytes, instructions an element with the rare branches included."""
    import triton
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from certmix.noise import kernels

    tools = Path(triton.__file__).parent / "backends" / "nvidia" / "bin"
    types = {
        "noisy": "*bf16",
        "clean": "*fp32",
        "starts": "*u16",
        "upper": "*u32",
        "full": "*u64",
        "levels": "fp32",
        "inverse": "fp32",
    }
    types |= {"sigma": "fp32", **dict.fromkeys(("key0", "key1", "first", "index", "purpose"), "u64")}
    made = {}
    for kind, kernel, seen, width in (
        ("integer", kernels._integer_kernel, "*i16", {}),
        ("float", kernels._float_kernel, "*fp32", {"WIDTH": 8}),
    ):
        fixed = {"CHANNELS": 3, "PIXELS": 1024, "BLOCK": 128, **width}
        names = [parameter.name for parameter in kernel.params]
        signature = {n: "constexpr" if n in fixed else seen if n == "seen" else types.get(n, "i32") for n in names}
        built = triton.compile(
            ASTSource(kernel, signature, fixed), target=GPUTarget("cuda", 90, 32), options={"enable_fp_fusion": False}
        )
        with tempfile.NamedTemporaryFile(suffix=".cubin") as file:
            Path(file.name).write_bytes(built.asm["cubin"])
            usage, code = (
                subprocess.run([tools / tool, *how, file.name], capture_output=True, text=True, check=True).stdout
                for tool, how in (("cuobjdump", ["-res-usage"]), ("nvdisasm", []))
            )
        operations = Counter(re.findall(r"/\*[0-9a-f]{4,}\*/\s+(?:@!?U?P\w+\s+)?([A-Z][A-Z0-9]+)", code))
        elements = 128 * (16 if width else 8) / (32 * 4)  # of a thread
        made[kind] = {
            "registers": int(re.search(r"REG:(\d+)", usage)[1]),
            "stack": int(re.search(r"STACK:(\d+)", usage)[1]),
            "instructions": sum(operations.values()) / elements,
        }
    return made


def main() -> None:
    if "--compile" in sys.argv:
        print(json.dumps(compiled()))
        return
    for module in (integer_module, gaussian_module):
        module.runs_kernels = lambda device: False  # count the torch operations on a machine with a GPU, too
    has_triton = importlib.util.find_spec("triton") is not None
    print("| noise | pass | torch: launches | bytes an element | kernel: launches | bytes an element |")
    print("|---|---|---|---|---|---|")
    for kind in ("integer", "float"):
        for label, shape in SHAPES.items():
            launches, amount = torch_path(kind, shape)
            once, little = kernel_path(kind, shape) if has_triton else (math.nan, math.nan)
            after = f"{once} | {little:.2f}"
            print(f"| {kind} | {shape[0]} x {label} | {launches:,} | {amount:,.0f} | {after} |")
    if has_triton:
        done = subprocess.run([sys.executable, __file__, "--compile"], stdout=subprocess.PIPE, text=True, check=True)
        print("\n| kernel, sm_90 | registers | stack bytes | instructions an element, rare branches included |")
        print("|---|---|---|---|")
        for kind, row in json.loads(done.stdout).items():
            print(f"| {kind} | {row['registers']} | {row['stack']} | {row['instructions']:.0f} |")


if __name__ == "__main__":
    main()
