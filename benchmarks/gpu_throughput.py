"""Draws per second on a GPU, their ratio to pure forward passes, and the hours that published jobs would take.

ResNet-110 at 3 x 32 x 32 and ResNet-50 at 3 x 224 x 224 (where torchvision is installed) with random weights, in fp32 and
in bf16 with folded batch norms and channels last. Prints one table; needs a GPU.
"""

import time

import numpy as np
import torch

import certmix
from certmix.datasets import ArrayDataset
from certmix.models import make_architecture
from certmix.models.acceleration import accelerate
from certmix.sampling.batch_size import calibrate_batch_size

JOBS = {  # published jobs: inputs x draws
    "ResNet-110": (("10,000 images x 10,000 draws", 1e8), ("500 images x 100,000 draws", 5e7)),
    "ResNet-50": (("500 images x 100,000 draws", 5e7),),
}


def resnet50() -> torch.nn.Module | None:
    try:
        from torchvision.models import resnet50 as build
    except ImportError:
        return None
    return build(weights=None)


def seconds(call) -> float:
    best = float("inf")
    for _ in range(3):
        torch.cuda.synchronize()
        started = time.perf_counter()
        call()
        torch.cuda.synchronize()
        best = min(best, time.perf_counter() - started)
    return best


def measure(name: str, model: torch.nn.Module, shape: tuple[int, ...], classes: int, draws: int) -> None:
    device = torch.device("cuda")
    images = np.full((2, *shape), 128 / 255, dtype=np.float32)
    data = ArrayDataset(images, [0, 1], num_classes=classes, grid_levels=255)
    for precision, fast in (("fp32", False), ("bf16", True)):
        evaluated = accelerate(model.eval(), precision=precision, fast=fast).to(device)
        batch = calibrate_batch_size(evaluated, shape, device)
        ready = torch.rand(batch, *shape, device=device)
        passes = 2 * draws // batch

        def forward(evaluated=evaluated, ready=ready, passes=passes) -> None:
            with torch.inference_mode():
                for _ in range(passes):
                    evaluated(ready)

        per_forward = seconds(forward) / passes / batch
        for noise in ("float", "integer"):

            def run(evaluated=evaluated, batch=batch, noise=noise) -> None:
                certmix.sample(
                    evaluated, data, sigma=0.5, num_selection=100, num_estimation=draws - 100, noise=noise, seed=0,
                    execution=certmix.Execution("cuda", batch),
                )  # fmt: skip

            per_draw = seconds(run) / 2 / draws
            jobs = ", ".join(f"{label}: {total * per_draw / 3600:.2f} h" for label, total in JOBS[name])
            print(
                f"| {name} | {precision} | {noise} | {batch} | {1 / per_draw:,.0f} | {per_forward / per_draw:.3f} | {jobs} |",
                flush=True,
            )


def main() -> None:
    if not torch.cuda.is_available():
        print("no GPU; nothing measured")
        return
    torch.manual_seed(0)
    print(f"{torch.cuda.get_device_name()}, torch {torch.__version__}\n")
    print("| network | precision | noise | batch | draws per second | share of pure forward | projected |")
    print("|---|---|---|---|---|---|---|")
    measure("ResNet-110", make_architecture("cifar_resnet110"), (3, 32, 32), 10, 100_000)
    large = resnet50()
    if large is not None:
        measure("ResNet-50", large, (3, 224, 224), 1000, 10_000)


if __name__ == "__main__":
    main()
