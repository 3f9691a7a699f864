"""What do bf16 and channels last gain in attacks and in training? ResNet-20, random weights, one thread.

Attacks and adaptive training take models by specs with `fast=1` (batch norms folded, channels last) and `precision=bf16`;
`certmix train` lays out channels last by itself, and has `--precision bf16`. Interleaved; times of the processor.
"""

import copy
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from torch.nn import functional

from certmix.adaptive.mixture import AdaptiveMixture
from certmix.adaptive.training import GateTraining, train_gate
from certmix.attacks import attack_model
from certmix.datasets import ArrayDataset
from certmix.models import make_architecture
from certmix.models.acceleration import accelerate
from certmix.sampling.allocator import keep_freed_memory
from certmix.training.network import TrainingNetwork

INPUTS, ROUNDS = 16, 5
BALL = {"norm": "linf", "attack_radius": 8 / 255}
WAYS = {"plain": {}, "channels last": {"fast": True}, "and bf16": {"fast": True, "precision": "bf16"}}


def calls() -> dict[tuple[str, str], Callable[[], object]]:
    """Every piece of work in every way."""
    images = np.random.default_rng(0).random((INPUTS, 3, 32, 32)).astype(np.float32)
    data = ArrayDataset(images, np.zeros(INPUTS), num_classes=10)
    inputs, labels = torch.as_tensor(images), torch.as_tensor(data.labels)
    g, h = (make_architecture("cifar_resnet20").eval() for _ in range(2))
    gate = GateTraining(**BALL, epochs=1, steps=(2, 2), batch_size=INPUTS)
    made: dict[tuple[str, str], Callable[[], object]] = {}
    for way, options in WAYS.items():
        pair = {"accurate": accelerate(g, **options), "robust": accelerate(h, **options)}
        mixture = AdaptiveMixture(**pair, input_shape=data.input_shape, kind="small")
        trained = copy.deepcopy(h).train().requires_grad_()  # the mixture froze h
        if options:
            trained = TrainingNetwork(trained, options.get("precision", "fp32"), data.input_shape)
        made["PGD, 3 steps", way] = lambda model=pair["robust"]: attack_model(
            model, inputs, labels, **BALL, steps=3, stop_at_success=False
        )
        made["adaptive training, a step", way] = lambda mixture=mixture: train_gate(mixture, data, gate)
        made["training, a step", way] = lambda model=trained: functional.cross_entropy(model(inputs), labels).backward()
    return made


def main() -> None:
    keep_freed_memory()
    torch.set_num_threads(1)
    torch.manual_seed(0)
    made = calls()
    times: dict[tuple[str, str], list[float]] = {case: [] for case in made}
    for number in range(ROUNDS + 1):
        for case, call in made.items():
            started = time.process_time()
            call()
            if number:  # the first one warms up
                times[case].append(time.process_time() - started)
    fast = list(WAYS)[1:]
    print("| plain / this, best (median) of rounds | " + " | ".join(fast) + " |\n|---|---|---|")
    for what in dict.fromkeys(case[0] for case in made):
        cells = []
        for way in fast:
            plain, this = times[what, "plain"], times[what, way]
            middle = statistics.median(plain) / statistics.median(this)
            cells.append(f"{min(plain) / min(this):.2f} ({middle:.2f})")
        print(f"| {what} | " + " | ".join(cells) + " |")


if __name__ == "__main__":
    main()
