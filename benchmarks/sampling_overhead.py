"""What does sampling cost beyond the forward passes, and beside the loops that the field uses?

For an MLP (64-128-10), a convolutional network at 3 x 32 x 32 (0.28 M parameters) and ResNet-20, time of
  - pure forward passes on ready-made noise, at the calibrated batch size and at 1000;
  - certmix.sample with hard votes (integer noise), with soft votes too, and with early stopping at radius 0.5;
  - a loop in the style of Cohen et al. 2019 (fresh noise, argmax, a copy to the host per batch, counting in Python), 1000;
  - adversarial-robustness-toolbox's certify, 1000, where it is installed,
on the same inputs, interleaved in one process, best of several rounds, one thread.
"""

import math
import os
import time

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from torch import nn

import certmix
from certmix.certification.schedule import make_schedule
from certmix.datasets import ArrayDataset
from certmix.models import make_architecture
from certmix.sampling.allocator import keep_freed_memory
from certmix.sampling.batch_size import calibrate_batch_size

ROUNDS, SELECTION, SIGMA, PEER_BATCH = 3, 100, 0.5, 1000
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


def forward(model: nn.Module, shape: tuple[int, ...], batch: int, rows: int):
    ready = torch.rand(batch, *shape)

    def call() -> None:
        with torch.inference_mode():
            for _ in range(round(rows / batch)):
                model(ready)

    return call


def measure(name: str, model: nn.Module, shape: tuple[int, ...], levels: int, inputs: int, draws: int = 10_000) -> None:
    rng = np.random.default_rng(0)
    values = (rng.integers(0, levels + 1, (inputs, *shape)) / levels).astype(np.float32)
    data = ArrayDataset(values, [0] * inputs, num_classes=10, grid_levels=levels)
    model.eval()
    batch = calibrate_batch_size(model, shape, CPU)
    rows = inputs * (SELECTION + draws)
    base = forward(model, shape, batch, rows)

    def sample(**options) -> None:
        certmix.sample(
            model,
            data,
            sigma=SIGMA,
            num_selection=SELECTION,
            num_estimation=draws,
            execution=certmix.Execution("cpu", batch),
            **options,
        )

    schedule = make_schedule(draws, sigma=SIGMA, target_radius=0.5)
    calls = {
        f"forward, batch {batch}": base,
        f"forward, batch {PEER_BATCH}": forward(model, shape, PEER_BATCH, rows),
        "certmix, hard votes": sample,
        "certmix, soft votes too": lambda: sample(votes="both"),
        "certmix, stop at radius 0.5": lambda: sample(schedule=schedule),
        "Cohen-style loop": lambda: cohen_style(model, torch.as_tensor(values), draws),
        "adversarial-robustness-toolbox": art_certify(model, torch.as_tensor(values), draws),
    }
    times: dict[str, list[float]] = {label: [] for label, call in calls.items() if call is not None}
    for _ in range(ROUNDS):
        for label in times:
            started = time.perf_counter()
            calls[label]()
            times[label].append(time.perf_counter() - started)
    best = {label: min(values) for label, values in times.items()}
    least = best[f"forward, batch {batch}"]
    parameters = sum(p.numel() for p in model.parameters())
    print(f"\n{name} ({parameters:,} parameters), {inputs} inputs x {SELECTION + draws:,} draws\n")
    print("| case | microseconds per draw | x forward | x certmix, hard |\n|---|---|---|---|")
    for label, taken in best.items():
        per_draw = 1e6 * taken / rows
        print(f"| {label} | {per_draw:.3f} | {taken / least:.2f} | {taken / best['certmix, hard votes']:.2f} |")
    ours = best["certmix, hard votes"]
    beside = [
        f"{best[label] / ours:.1f} x as long as ours: {label}"
        for label in ("Cohen-style loop", "adversarial-robustness-toolbox")
        if label in best
    ]
    soft = best["certmix, soft votes too"] / ours
    print(f"=> {name}: {ours / least:.2f} x forward, soft votes {soft:.2f} x hard; {'; '.join(beside)}")


def main() -> None:
    print(f"freed memory kept, for all cases alike: {keep_freed_memory()}")
    torch.set_num_threads(1)
    torch.manual_seed(0)
    measure("MLP-64", mlp(), (1, 8, 8), 16, 20)
    measure("Conv net", conv_net(), (3, 32, 32), 255, 1)
    measure("ResNet-20", make_architecture("cifar_resnet20"), (3, 32, 32), 255, 1, draws=4900)


if __name__ == "__main__":
    main()
