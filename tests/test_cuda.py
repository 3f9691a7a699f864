"""What only a GPU can show; skipped where there is none."""

import math

import numpy as np
import pytest
import torch

import certmix
from certmix.certification.schedule import make_schedule
from certmix.datasets import ArrayDataset, load_dataset
from certmix.models import make_architecture
from certmix.noise import describe_noise, make_noise
from certmix.sampling.loop import DrawLoop, DrawPlan
from certmix.training.loop import fit
from certmix.training.methods import Adversarial, Consistency, Gaussian, SmoothAdv
from certmix.training.network import Start
from certmix.training.recipe import Recipe

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no GPU")
CUDA, CPU = torch.device("cuda"), torch.device("cpu")


@pytest.mark.parametrize("levels", [16, 255])
def test_integer_noise_is_bit_identical(levels):
    description = describe_noise("integer", sigma=0.5, size=3072, grid_levels=levels)
    made = {}
    for device in (CUDA, CPU):
        noise = make_noise(description, seed=3, sigma=0.5, size=3072, device=device)
        buffer = torch.zeros(500, 3072, device=device)
        noise.add_to(buffer, torch.zeros(3072, device=device), index=5, purpose="estimation", start=77)
        made[device.type] = buffer.cpu()
    assert torch.equal(made["cuda"], made["cpu"])


@pytest.mark.parametrize("kind", ["integer", "float"])
def test_noise_is_one_launch_that_leaves_nothing_in_memory(kind):
    pytest.importorskip("triton")
    record = describe_noise(kind, sigma=0.5, size=3072, grid_levels=255)
    noise = make_noise(record, seed=3, sigma=0.5, size=3072, device=CUDA)
    images = torch.zeros(500, 3, 32, 32, dtype=torch.bfloat16, device=CUDA).to(memory_format=torch.channels_last)
    clean = torch.zeros(3072, device=CUDA)
    where = {"index": 5, "purpose": "estimation", "start": 77}
    noise.add_to(images, clean, **where)  # compiles
    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
        noise.add_to(images, clean, **where)
        torch.cuda.synchronize()
    launched = [event for event in profile.events() if "_kernel" in event.name and "Noise" not in event.name]
    assert len(launched) == 1
    assert torch.cuda.max_memory_allocated() - before < 100_000  # the audit's share


def test_float_noise_agrees_up_to_rounding():
    description = describe_noise("float", sigma=0.5, size=300, grid_levels=None)
    made = []
    for device in (CUDA, CPU):
        noise = make_noise(description, seed=3, sigma=0.5, size=300, device=device)
        buffer = torch.zeros(500, 300, device=device)
        noise.add_to(buffer, torch.zeros(300, device=device), index=5, purpose="selection", start=0)
        made.append(buffer.cpu())
    assert torch.allclose(*made, atol=1e-4)


@pytest.mark.parametrize("votes", ["hard", "both"])
def test_statistics_agree_with_the_cpus_but_for_near_ties(votes, monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, "allow_tf32", False)
    torch.manual_seed(0)
    model, data = make_architecture("digits-cnn"), load_dataset("digits", max=20)
    how = {"sigma": 0.5, "num_estimation": 5000, "seed": 4, "votes": votes}
    gpu, cpu = (certmix.sample(model, data, **how, execution=certmix.Execution(name, 500)) for name in ("cuda", "cpu"))
    moved = np.abs(gpu.estimation_counts - cpu.estimation_counts).sum() / 2
    print(f"{moved:.0f} of {gpu.estimation_counts.sum()} votes differ")
    assert moved <= 1e-3 * gpu.estimation_counts.sum()


@pytest.mark.parametrize("how", ["hard", "both", "stopping"])
@pytest.mark.parametrize("noise", ["integer", "float"])
def test_the_host_never_waits_for_the_device_but_for_counts_of_an_earlier_pass(how, noise):
    pytest.importorskip("triton")  # without it, integer noise reads a flag
    torch.manual_seed(0)
    images = np.full((6, 3, 32, 32), 0.2, dtype=np.float32)
    data = ArrayDataset(images, [0] * 6, num_classes=10, grid_levels=255)
    model, accurate = (
        torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.Flatten(), torch.nn.Linear(8 * 30 * 30, 10))
        .eval()
        .to(CUDA)
        for _ in range(2)
    )
    record = describe_noise(noise, sigma=0.5, size=3072, grid_levels=255)
    made = make_noise(record, seed=1, sigma=0.5, size=3072, device=CUDA)
    schedule = make_schedule(4000, sigma=0.5, target_radius=0.5) if how == "stopping" else None
    plan = DrawPlan(10, 10, schedule.looks if schedule else (4000,), soft=how == "both")
    loop = DrawLoop(model, accurate, data, plan, made, CUDA, 64, schedule)
    passes = []

    def from_the_second_pass_on(_):
        passes.append(None)
        torch.cuda.set_sync_debug_mode("error" if len(passes) > 1 else "default")

    loop.between_passes = from_the_second_pass_on
    try:
        records = list(loop.records(iter(range(6)), {}))
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert len(records) == 6
    assert len(passes) > 5


def test_a_batch_that_memory_does_not_hold_is_halved():
    class Greedy(torch.nn.Module):
        def forward(self, inputs):
            if len(inputs) > 100:
                torch.empty(2**50, dtype=torch.uint8, device=CUDA)
            return inputs.flatten(1)[:, :10]

    data = load_dataset("digits", max=3)
    how = {"sigma": 0.5, "num_estimation": 1000, "seed": 4}
    gpu = certmix.sample(Greedy(), data, **how, execution=certmix.Execution("cuda", 500))
    cpu = certmix.sample(
        torch.nn.Sequential(torch.nn.Flatten(), First()), data, **how, execution=certmix.Execution("cpu", 500)
    )
    assert gpu.manifest.environment.batch_size == 62
    assert np.array_equal(gpu.estimation_counts, cpu.estimation_counts)


class First(torch.nn.Module):
    def forward(self, inputs):
        return inputs[:, :10]


@pytest.mark.parametrize(
    "method",
    [Gaussian(0.25), Consistency(0.25), SmoothAdv(0.25, 0.25), Adversarial(0.05)],
    ids=lambda m: type(m).__name__,
)
def test_training_goes_on_from_a_checkpoint(tmp_path, method):
    data, held = load_dataset("digits", split="train", max=200), load_dataset("digits", max=50)
    recipe = Recipe(epochs=3, averaging=0.9, precision="bf16", optimizer="sgd", learning_rate=0.05)
    how = {"device": "cuda", "validation": held, "checkpoint": tmp_path / "c.safetensors", "checkpoint_seconds": 0.0}

    def killed(report):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        fit(data, Start(), method, recipe, **how, each_epoch=killed)
    trained = fit(data, Start(), method, recipe, **how)
    assert len(trained.history) == 3
    assert all(math.isfinite(report.loss) for report in trained.history)
    assert next(trained.model.parameters()).device == CPU
