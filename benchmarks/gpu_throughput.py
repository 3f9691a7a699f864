"""What does sampling cost on a GPU: draws per second beside pure forward passes, noise beside randn, launches, memory.

ResNet-110 at 3 x 32 x 32 and ResNet-50 at 3 x 224 x 224 (where torchvision is installed) with random weights, in fp32 and in
bf16 with folded batch norms and channels last. Goals: noise in at most the time of randn; a share of pure forward passes of
at least 0.98 (ResNet-110) and 0.99 (ResNet-50); the paper's job in under 10 minutes. Under 8 minutes in all; writes
gpu_NAME.md with the card's name into a folder, this one's results/ by default.
"""

import datetime
import re
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from certmix.certification.schedule import make_schedule
from certmix.datasets import ArrayDataset
from certmix.models import make_architecture
from certmix.models.acceleration import accelerate, input_buffer
from certmix.noise import Noise, describe_noise, make_noise
from certmix.sampling.batch_size import calibrate_batch_size
from certmix.sampling.loop import DrawLoop, DrawPlan

CUDA, SIGMA, SELECTION = torch.device("cuda"), 0.5, 100
SECONDS, ROUNDS = 3.0, 3  # of each measurement, and how often, interleaved
STOPPED_DRAWS = 1_500  # an input's mean where 10,000 decide whether it reaches a radius: 15 %, as on digits
PAPER = 10_000  # inputs, and draws of each


def seconds(call: Callable[[], object]) -> float:
    torch.cuda.synchronize()
    started = time.perf_counter()
    call()
    torch.cuda.synchronize()
    return time.perf_counter() - started


def medians(calls: dict[str, Callable[[], object]]) -> dict[str, float]:
    for call in calls.values():
        call()
    times = {name: [] for name in calls}
    for _ in range(ROUNDS):
        for name, call in calls.items():
            times[name].append(seconds(call))
    return {name: statistics.median(taken) for name, taken in times.items()}


class Case:
    """A model on the GPU, its batch size, and what is measured with it."""

    def __init__(self, model: torch.nn.Module, shape: tuple[int, ...], classes: int) -> None:
        self.model, self.shape, self.classes, self.size = model.eval().to(CUDA), shape, classes, int(np.prod(shape))
        self.batch = calibrate_batch_size(self.model, shape, CUDA)
        self.buffer = input_buffer(self.model, (self.batch, *shape), CUDA)
        self.forward(3)
        self.passes = max(5, min(300, round(SECONDS / (seconds(lambda: self.forward(5)) / 5))))

    @torch.inference_mode()
    def forward(self, passes: int) -> None:
        for _ in range(passes):
            self.model(self.buffer)

    def noise(self, kind: str) -> Noise:
        record = describe_noise(kind, sigma=SIGMA, size=self.size, grid_levels=255)
        return make_noise(record, seed=0, sigma=SIGMA, size=self.size, device=CUDA)

    def sample(self, kind: str, passes: int) -> None:
        """Draws of two inputs that fill so many passes."""
        data = ArrayDataset(
            np.full((2, *self.shape), 128 / 255, np.float32), [0, 1], num_classes=self.classes, grid_levels=255
        )
        plan = DrawPlan(self.classes, SELECTION, (passes * self.batch // 2 - SELECTION,))
        list(DrawLoop(self.model, None, data, plan, self.noise(kind), CUDA, self.batch).records(iter((0, 1)), {}))

    def sample_until_decided(self) -> int:
        """Early stopping on many inputs; returns the draws made."""
        inputs = max(64, self.passes * self.batch // 1000)
        values = np.full((inputs, *self.shape), 128 / 255, np.float32)
        data = ArrayDataset(values, np.zeros(inputs), num_classes=self.classes, grid_levels=255)
        schedule = make_schedule(PAPER, sigma=SIGMA, target_radius=0.5)
        plan = DrawPlan(self.classes, SELECTION, schedule.looks)
        loop = DrawLoop(self.model, None, data, plan, self.noise("integer"), CUDA, self.batch, schedule)
        made = list(loop.records(iter(range(inputs)), {}))
        return sum(int(record.selection_counts.sum() + record.estimation_counts.sum()) for record in made)

    def launches(self, call: Callable[[], object]) -> int:
        """Kernels that ran on the GPU."""
        call()
        torch.cuda.synchronize()
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
            call()
            torch.cuda.synchronize()
        on_gpu = torch.autograd.DeviceType.CUDA
        copies = ("Memcpy", "Memset")
        return sum(event.device_type == on_gpu and not event.name.startswith(copies) for event in profile.events())


def noise_rows(name: str, case: Case) -> list[str]:
    """Noise of a pass beside randn into the same memory."""
    clean = torch.full((case.size,), 128 / 255, device=CUDA)
    calls: dict[str, Callable[[], object]] = {"randn": lambda: [case.buffer.normal_() for _ in range(20)]}
    for kind in ("integer", "float"):
        noise = case.noise(kind)
        noise.audit = None

        def draw(noise: Noise = noise) -> None:
            for number in range(20):
                noise.add_to(case.buffer, clean, index=0, purpose="estimation", start=number * case.batch)

        calls[kind] = draw
    taken = medians(calls)
    elements = 20 * case.batch * case.size
    return [
        f"| {name} | {str(case.buffer.dtype).removeprefix('torch.')} | {kind} | {1e9 * taken[kind] / elements:.4f} | "
        f"{taken[kind] / taken['randn']:.2f} |"
        for kind in calls
    ]


def draw_rows(name: str, how: str, case: Case) -> list[str]:
    torch.cuda.reset_peak_memory_stats()
    calls: dict[str, Callable[[], object]] = {"forward": lambda: case.forward(case.passes)}
    calls |= {kind: lambda kind=kind: case.sample(kind, case.passes) for kind in ("integer", "float")}
    taken = medians(calls)
    peak = torch.cuda.max_memory_allocated() / 2**30
    alone = case.launches(lambda: case.forward(10)) / 10
    rows = []
    for kind in ("integer", "float"):
        rate = case.passes * case.batch / taken[kind]
        more = case.launches(lambda kind=kind: case.sample(kind, 10)) / 10 - alone
        rows.append(
            f"| {name} | {how} | {kind} | {case.batch} | {rate:,.0f} | {taken['forward'] / taken[kind]:.3f} | {more:.1f} | "
            f"{peak:.2f} GiB | {PAPER * (PAPER + SELECTION) / rate / 60:.1f} min |"
        )
    return rows


def stopping_row(name: str, how: str, case: Case) -> str:
    case.sample_until_decided()
    drawn: list[int] = []
    taken = seconds(lambda: drawn.append(case.sample_until_decided()))
    rate = drawn[0] / taken
    return f"| {name} | {how} | {rate:,.0f} | {PAPER * (STOPPED_DRAWS + SELECTION) / rate / 60:.1f} min |"


def models() -> dict[str, tuple[torch.nn.Module, tuple[int, ...], int]]:
    made = {"ResNet-110": (make_architecture("cifar_resnet110"), (3, 32, 32), 10)}
    try:
        from torchvision.models import resnet50
    except ImportError:
        return made
    return made | {"ResNet-50": (resnet50(weights=None), (3, 224, 224), 1000)}


def main() -> None:
    if not torch.cuda.is_available():
        print("no GPU; nothing measured")
        return
    torch.manual_seed(0)
    noise, draws, stopped = [], [], []
    for name, (model, shape, classes) in models().items():
        for how, options in (("bf16, fast", {"precision": "bf16", "fast": True}), ("fp32", {})):
            case = Case(accelerate(model.eval(), **options), shape, classes)
            noise += noise_rows(name, case)
            draws += draw_rows(name, how, case)
            stopped.append(stopping_row(name, how, case))
            print(*noise[-3:], *draws[-2:], stopped[-1], sep="\n", flush=True)
            case.model.cpu()
            del case
            torch.cuda.empty_cache()
    card = torch.cuda.get_device_name()
    text = "\n".join(
        [
            f"# {card}",
            "\n`python benchmarks/gpu_throughput.py`: medians of three interleaved rounds. torch "
            f"{torch.__version__}, {datetime.date.today()}. Projected: 10,000 images x 10,100 draws, the paper's job for one "
            "sigma.",
            "\n| shape of | into | noise | ns an element | x randn |\n|---|---|---|---|---|",
            *noise,
            "\n| network | how | noise | batch | draws per second | share of pure forward | launches a pass beyond it | peak "
            "memory | projected |\n|---|---|---|---|---|---|---|---|---|",
            *draws,
            f"\nWith early stopping; projected at {STOPPED_DRAWS:,} draws an image, as the digits took:",
            "\n| network | how | draws per second | projected |\n|---|---|---|---|",
            *stopped,
        ]
    )
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent / "results"
    path = folder / f"gpu_{re.sub('[^a-z0-9]+', '_', card.lower()).strip('_')}.md"
    path.write_text(text + "\n")
    print(f"\nwritten: {path}")


if __name__ == "__main__":
    main()
