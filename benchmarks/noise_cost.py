"""What does exact integer noise cost against float noise, and what share of a run is it?

Per element: exact integers, our addressed float noise, and torch's own normal_ as the floor. Per run: sampling the
digits network and a small residual network at 32 x 32 with both noises, interleaved in one process. Runs on the CPU,
and on a GPU too where there is one.
"""

import functools
import os
import time

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch

import certmix
from certmix.datasets import ArrayDataset
from certmix.models import make_architecture
from certmix.noise.gaussian import GaussianNoise
from certmix.noise.integer import IntegerNoise

ROUNDS = 3


class Residual(torch.nn.Module):
    """A few convolutions with a shortcut: 0.02 GFLOP at 3 x 32 x 32, less than any published CIFAR-10 model."""

    def __init__(self, width: int = 32) -> None:
        super().__init__()
        self.first = torch.nn.Conv2d(3, width, 3, padding=1, stride=2)
        self.middle = torch.nn.ModuleList(torch.nn.Conv2d(width, width, 3, padding=1) for _ in range(4))
        self.last = torch.nn.Linear(width, 10)

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        x = torch.relu(self.first(inputs))
        for layer in self.middle:
            x = x + torch.relu(layer(x))
        return self.last(x.mean(dim=(2, 3)))


def seconds(call, device) -> float:
    if device == "cuda":
        torch.cuda.synchronize()
    started = time.perf_counter()
    call()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - started


def interleaved(calls: dict, device: str) -> dict[str, float]:
    """Best of several rounds; every round times every call, so that a busy moment hits all."""
    for call in calls.values():
        call()
    times = {name: [] for name in calls}
    for _ in range(ROUNDS):
        for name, call in calls.items():
            times[name].append(seconds(call, device))
    return {name: min(values) for name, values in times.items()}


def per_element(device: str) -> None:
    draws, size, sigma = (1000, 3072, 0.5) if device == "cpu" else (20_000, 3072, 0.5)
    place = torch.device(device)
    buffer, clean = torch.zeros(draws, size, device=place), torch.zeros(size, device=place)
    exact = IntegerNoise(1, sigma, size, place, levels=255)
    floats = GaussianNoise(1, sigma, size, place)
    times = interleaved(
        {
            "torch normal_ (not addressed)": lambda: buffer.normal_().mul_(sigma).add_(clean),
            "float": lambda: floats.add_to(buffer, clean, index=0, purpose="estimation", start=0),
            "integer": lambda: exact.add_to(buffer, clean, index=0, purpose="estimation", start=0),
        },
        device,
    )
    if (
        device == "cuda"
    ):  # as a bf16, channels-last model takes it; what `randn` gives must still be scaled, added and converted
        images = torch.zeros(draws, 3, 32, 32, dtype=torch.bfloat16, device=place).to(memory_format=torch.channels_last)
        for name, noise in (("float, bf16 channels last", floats), ("integer, bf16 channels last", exact)):
            call = functools.partial(noise.add_to, images, clean, index=0, purpose="estimation", start=0)
            times |= interleaved({name: call, "torch randn": lambda: torch.randn_like(buffer)}, device)
    for name, value in times.items():
        ratio = value / times["float"]
        print(f"{device}: {name}: {1e9 * value / draws / size:.3f} ns per element, {ratio:.2f} x float")
    print(f"=> {device}: integer noise costs {times['integer'] / times['float']:.2f} x float noise per element")


def per_run(device: str) -> None:
    digits = certmix.load_dataset("digits", max=10)
    rng = np.random.default_rng(0)
    images = ArrayDataset(
        rng.integers(0, 256, (2, 3, 32, 32)) / np.float32(255), [0, 1], num_classes=10, grid_levels=255
    )
    draws = 10_000
    for name, model, data in (
        ("digits-cnn", make_architecture("digits-cnn"), digits),
        ("small residual network", Residual(), images),
    ):
        model.eval().to(device)
        passes = len(data) * (draws // 1000)
        batch = torch.rand(1000, *data.input_shape, device=device)

        def forward(model=model, batch=batch, passes=passes) -> None:
            with torch.inference_mode():
                for _ in range(passes):
                    model(batch)

        def run(noise: str, model=model, data=data) -> None:
            certmix.sample(
                model, data, sigma=0.5, num_selection=1, num_estimation=draws - 1, noise=noise, seed=0,
                execution=certmix.Execution(str(device)),
            )  # fmt: skip

        times = interleaved(
            {"forward": forward, "float": lambda run=run: run("float"), "integer": lambda run=run: run("integer")},
            device,
        )
        print(
            f"{device}: {name}: a run is {times['float'] / times['forward']:.2f} x forward with float noise and "
            f"{times['integer'] / times['forward']:.2f} x with integer; "
            f"integer / float {times['integer'] / times['float']:.3f}"
        )


def main() -> None:
    torch.set_num_threads(1)
    for device in ("cpu", "cuda") if torch.cuda.is_available() else ("cpu",):
        per_element(device)
        per_run(device)


if __name__ == "__main__":
    main()
