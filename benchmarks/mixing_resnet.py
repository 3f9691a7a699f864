"""Does the mixing network train at 32x32 on full-size ResNet-18 bases, and what does a step cost?  Random data, few steps.

Prints shapes, parameters, whether the bases are bit-identical afterwards, whether the saved file gives the same outputs
bit for bit, seconds per training step (attack included), and peak memory. Uses a GPU where there is one.
"""

import argparse
import os
import resource
import tempfile
import time
from pathlib import Path

os.environ["OMP_NUM_THREADS"] = "1"

import torch

import certmix
from certmix.adaptive.files import save_mixture
from certmix.adaptive.training import GateTraining, train_gate
from certmix.models import fingerprint, make_architecture
from certmix.training.train import save_model


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--steps", type=int, default=3, help="training steps")
    parser.add_argument("--pgd", type=int, default=2, help="attack steps in each")
    options = parser.parse_args()
    device = "cuda" if torch.cuda.is_available() else "cpu"
    torch.set_num_threads(1)
    torch.manual_seed(0)
    folder = Path(tempfile.mkdtemp())
    specs = {}
    for name in ("accurate", "robust"):
        specs[name] = str(folder / f"{name}.safetensors")
        save_model(make_architecture("resnet18"), specs[name], architecture="resnet18", settings={"num_classes": 10})
    bases = [certmix.load_model(spec).to(device) for spec in specs.values()]
    before = [fingerprint(model) for model in bases]
    mixture = certmix.AdaptiveMixture(
        accurate=bases[0], robust=bases[1], input_shape=(3, 32, 32), gate_range=(0.9, 1.0)
    )
    size = sum(p.numel() for p in mixture.network.parameters())
    print(f"layers {mixture.accurate_layers} and {mixture.robust_layers}; {mixture.network.kind}, {size:,} parameters")
    print(f"stem takes {mixture.network.stem[0].in_channels} channels, join {mixture.network.join.in_channels}")
    count = options.batch * options.steps
    data = certmix.datasets.ArrayDataset(torch.rand(count, 3, 32, 32), torch.arange(count) % 10, num_classes=10)
    settings = GateTraining(attack_radius=8 / 255, epochs=1, batch_size=options.batch, steps=(options.pgd, options.pgd))
    before_network = fingerprint(mixture.network)
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    started, used = time.perf_counter(), time.process_time()
    train_gate(mixture, data, settings)
    if device == "cuda":
        torch.cuda.synchronize()
    seconds = (time.perf_counter() - started) / options.steps
    used = (time.process_time() - used) / options.steps
    print(
        f"{seconds:.2f} s ({used:.2f} s of the processor) per step of {options.batch} clean and as many attacked images, "
        f"PGD-{options.pgd}, on {device}"
    )
    print(f"bases bit-identical: {[fingerprint(model) for model in bases] == before}")
    print(f"network changed: {fingerprint(mixture.network) != before_network}")
    x = torch.rand(4, 3, 32, 32, device=device).requires_grad_(True)
    outputs = mixture(x)
    (gradient,) = torch.autograd.grad(outputs[:, 0].sum(), x)
    print(f"outputs {tuple(outputs.shape)}, input gradient finite: {bool(torch.isfinite(gradient).all())}")
    mixture.cpu()
    save_mixture(mixture, folder / "m.safetensors", history={})
    loaded, inputs = certmix.load_mixture(folder / "m.safetensors"), x.detach().cpu()
    print(f"reloaded outputs bit-identical: {torch.equal(loaded(inputs), mixture(inputs))}")
    peak = (
        torch.cuda.max_memory_allocated()
        if device == "cuda"
        else 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    )
    print(f"peak memory {peak / 2**30:.2f} GiB on {device}")


if __name__ == "__main__":
    main()
