"""What does sampling cost beyond the forward passes, and beside the loops that the field uses?

For an MLP (64-128-10), a convolutional network at 3 x 32 x 32 (0.28 M parameters) and ResNet-20, time of
  - pure forward passes on ready-made noise, at the batch size that calibration takes on a CPU;
  - certmix's draw loop with hard votes and integer noise, of this checkout and of each other one named as argument;
  - a loop in the style of Cohen et al. 2019 (fresh noise, argmax, a copy to the host per batch, counting in Python), 1000;
  - adversarial-robustness-toolbox's certify, 1000, where it is installed,
on the same inputs, interleaved in one process, one thread. Times are those of the processor, not of the clock, so that other
work on the machine matters little; still, more of it makes caches colder, and noise suffers from that more than networks.
"""

import importlib
import math
import os
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from torch import nn

from certmix.models import make_architecture
from certmix.sampling.allocator import keep_freed_memory

SELECTION, SIGMA, PEER_BATCH = 100, 0.5, 1000
CPU = torch.device("cpu")


def mlp() -> nn.Module:
    return nn.Sequential(nn.Flatten(), nn.Linear(64, 128), nn.ReLU(), nn.Linear(128, 10))


def conv_net() -> nn.Module:
    def step(inside: int, outside: int, stride: int) -> list[nn.Module]:
        return [nn.Conv2d(inside, outside, 3, stride=stride, padding=1), nn.ReLU()]

    layers = [*step(3, 32, 1), *step(32, 64, 2), *step(64, 128, 2), *step(128, 160, 1)]
    return nn.Sequential(*layers, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(160, 10))


def cohen_style(model: nn.Module, inputs: torch.Tensor, draws: int) -> list[int]:
    """One prediction per input as the field's script counts votes; written here for comparison."""
    classes = []
    with torch.no_grad():
        for x in inputs:
            counts = np.zeros(10, dtype=int)
            for number in (SELECTION, draws):
                for _ in range(math.ceil(number / PEER_BATCH)):
                    size = min(PEER_BATCH, number)
                    number -= size
                    batch = x.repeat((size, *[1] * x.ndim))
                    predictions = model(batch + torch.randn_like(batch) * SIGMA).argmax(1)
                    for index in predictions.cpu().numpy():
                        counts[index] += 1
            classes.append(int(counts.argmax()))
    return classes


def art_certify(model: nn.Module, inputs: torch.Tensor, draws: int):
    """A call of the toolbox's certify, or None where it is not installed."""
    try:
        from art.estimators.certification.randomized_smoothing import PyTorchRandomizedSmoothing
    except ImportError:
        return None
    smoothed = PyTorchRandomizedSmoothing(
        model=model,
        loss=nn.CrossEntropyLoss(),
        input_shape=tuple(inputs.shape[1:]),
        nb_classes=10,
        sample_size=SELECTION,
        scale=SIGMA,
        alpha=0.001,
        device_type="cpu",
    )
    return lambda: smoothed.certify(inputs.numpy(), n=draws, batch_size=PEER_BATCH)


def forward(model: nn.Module, shape: tuple[int, ...], batch: int, rows: int) -> Callable[[], None]:
    ready = torch.rand(batch, *shape)

    def call() -> None:
        with torch.inference_mode():
            for _ in range(round(rows / batch)):
                model(ready)

    return call


def draw_loop(
    checkout: str, model: nn.Module, values: np.ndarray, levels: int, batch: int, draws: int
) -> Callable[[], object]:
    """certmix's own loop over the inputs, of a checkout ("" is this one)."""
    others = {name: sys.modules.pop(name) for name in list(sys.modules) if name.split(".")[0] == "certmix"}
    if checkout and not Path(checkout, "certmix").is_dir():
        raise SystemExit(f"{checkout} must be a checkout of certmix.")
    sys.path.insert(0, checkout or sys.path[0])
    loop, data, noise = (importlib.import_module(f"certmix.{name}") for name in ("sampling.loop", "datasets", "noise"))
    sys.path.pop(0)
    for name in [name for name in sys.modules if name.split(".")[0] == "certmix"]:
        del sys.modules[name]
    sys.modules.update(others)
    inputs = data.ArrayDataset(values, [0] * len(values), num_classes=10, grid_levels=levels)
    record = noise.describe_noise("auto", sigma=SIGMA, size=values[0].size, grid_levels=levels)

    def call() -> object:
        drawn = noise.make_noise(record, seed=1, sigma=SIGMA, size=values[0].size, device=CPU)
        plan = loop.DrawPlan(10, SELECTION, (draws,))
        return list(loop.DrawLoop(model, None, inputs, plan, drawn, CPU, batch).records(iter(range(len(values))), {}))

    return call


def measure(
    name: str, model: nn.Module, shape: tuple[int, ...], levels: int, *, inputs: int, batch: int, rows: int, rounds: int
) -> None:
    values = (np.random.default_rng(0).integers(0, levels + 1, (inputs, *shape)) / levels).astype(np.float32)
    model.eval()
    draws = rows - SELECTION
    calls = {
        f"forward, batch {batch}": forward(model, shape, batch, inputs * rows),
        "certmix": draw_loop("", model, values, levels, batch, draws),
        **{f"certmix, {path}": draw_loop(path, model, values, levels, batch, draws) for path in sys.argv[1:]},
        "Cohen-style loop": lambda: cohen_style(model, torch.as_tensor(values), draws),
        "adversarial-robustness-toolbox": art_certify(model, torch.as_tensor(values), draws),
    }
    times: dict[str, list[float]] = {label: [] for label, call in calls.items() if call is not None}
    for number in range(rounds + 1):
        for label, taken in times.items():
            started = time.process_time()
            calls[label]()
            if number:  # the first one warms up
                taken.append(time.process_time() - started)
    base = times[f"forward, batch {batch}"]
    parameters = sum(p.numel() for p in model.parameters())
    print(f"\n{name} ({parameters:,} parameters), {inputs} inputs x {rows:,} draws, {rounds} rounds\n")
    print("| case | microseconds per draw, best | x forward, of the best | of medians |\n|---|---|---|---|")
    for label, taken in times.items():
        ratios = min(taken) / min(base), statistics.median(taken) / statistics.median(base)
        print(f"| {label} | {1e6 * min(taken) / inputs / rows:.3f} | {ratios[0]:.2f} | {ratios[1]:.2f} |", flush=True)
    ours = min(times["certmix"])
    beside = [f"{label} {min(times[label]) / ours:.2f} x ours" for label in list(times)[2:]]
    print(f"=> {name}: {ours / min(base):.2f} x forward; {'; '.join(beside)}")


def main() -> None:
    keep_freed_memory()  # for all cases alike; the command line does
    torch.set_num_threads(1)
    torch.manual_seed(0)
    measure("MLP-64", mlp(), (1, 8, 8), 16, inputs=8, batch=2048, rows=10_100, rounds=7)
    measure("Conv net", conv_net(), (3, 32, 32), 255, inputs=1, batch=32, rows=4096, rounds=3)
    measure("ResNet-20", make_architecture("cifar_resnet20"), (3, 32, 32), 255, inputs=1, batch=64, rows=1024, rounds=3)


if __name__ == "__main__":
    main()
