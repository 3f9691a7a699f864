"""What do --fast, --compile and --precision bf16 gain?

Sampling at 3 x 32 x 32 with a small conv net and ResNet-20 (random weights), batch 32, one thread: microseconds per draw
without the fixed costs of a run (those of a run of 100 draws are subtracted), best of five of each.
"""

import os
import time

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from sampling_overhead import conv_net

import certmix
from certmix.datasets import ArrayDataset
from certmix.models import make_architecture
from certmix.models.acceleration import accelerate
from certmix.sampling.allocator import keep_freed_memory

FEW = 100
WAYS = (
    {},
    {"fast": True},
    {"compiled": True},
    {"fast": True, "compiled": True},
    {"precision": "bf16"},
    {"precision": "bf16", "fast": True},
)


def main() -> None:
    keep_freed_memory()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    images = (np.random.default_rng(0).integers(0, 256, (1, 3, 32, 32)) / 255).astype(np.float32)
    data = ArrayDataset(images, [0], num_classes=10, grid_levels=255)
    print("| network | how | microseconds per draw | plain / this |\n|---|---|---|---|")
    for name, model, draws in (
        ("conv net", conv_net(), 5000),
        ("ResNet-20", make_architecture("cifar_resnet20"), 2000),
    ):
        plain = None
        for how in WAYS:

            def run(number: int, model=model, how=how) -> None:
                options = dict(how)
                execution = certmix.Execution("cpu", 32, compile=options.pop("compiled", False))
                evaluated = accelerate(model.eval(), **options)
                certmix.sample(evaluated, data, sigma=0.5, num_estimation=number, seed=1, execution=execution)

            run(FEW)  # compiles
            best = {FEW: float("inf"), draws: float("inf")}
            for _ in range(5):
                for number in best:
                    started = time.perf_counter()
                    run(number)
                    best[number] = min(best[number], time.perf_counter() - started)
            each = 1e6 * (best[draws] - best[FEW]) / (draws - FEW)
            plain = plain or each
            label = ", ".join(f"{key}={value}" for key, value in how.items()) or "plain fp32"
            print(f"| {name} | {label} | {each:.0f} | {plain / each:.2f} |", flush=True)


if __name__ == "__main__":
    main()
