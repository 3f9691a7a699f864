"""What only a GPU can show; skipped where there is none."""

import numpy as np
import pytest
import torch

import certmix
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
def test_statistics_agree_with_the_cpus_but_for_near_ties(votes):
    torch.manual_seed(0)
    model, data = make_architecture("digits-cnn"), load_dataset("digits", max=20)
    how = {"sigma": 0.5, "num_estimation": 5000, "seed": 4, "votes": votes}
    gpu, cpu = (certmix.sample(model, data, **how, execution=certmix.Execution(name, 500)) for name in ("cuda", "cpu"))
    moved = np.abs(gpu.estimation_counts - cpu.estimation_counts).sum() / 2
    print(f"{moved:.0f} of {gpu.estimation_counts.sum()} votes differ")
    assert moved <= 1e-3 * gpu.estimation_counts.sum()


@pytest.mark.parametrize("votes", ["hard", "both"])
@pytest.mark.parametrize("noise", ["integer", "float"])
def test_the_host_does_not_wait_inside_the_loop(votes, noise):
    torch.manual_seed(0)
    images = np.zeros((2, 3, 32, 32), dtype=np.float32)
    data = ArrayDataset(images, [0, 1], num_classes=10, grid_levels=255)
    model = torch.nn.Sequential(torch.nn.Conv2d(3, 8, 3), torch.nn.Flatten(), torch.nn.Linear(8 * 30 * 30, 10))
    record = describe_noise(noise, sigma=0.5, size=3072, grid_levels=255)
    made = make_noise(record, seed=1, sigma=0.5, size=3072, device=CUDA)
    plan = DrawPlan(10, 10, (4000,), soft=votes == "both")
    loop = DrawLoop(model.eval().to(CUDA), None, data, plan, made, CUDA, 256)
    records = loop.records(iter([0, 1]), {})
    waits = []
    loop.between_passes = lambda _: waits.append(None) or _passes(waits)
    try:
        next(records)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert len(waits) > 5


def _passes(waits):
    """From the second pass on the host must not wait; before the last ones, where counts are fetched, it may again."""
    torch.cuda.set_sync_debug_mode("error" if 1 <= len(waits) < 12 else "default")


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
    assert trained.history[-1].loss < trained.history[0].loss
    assert next(trained.model.parameters()).device == CPU
