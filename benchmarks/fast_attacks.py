"""What do precision=bf16,fast=1 gain in attacks and adaptive training? ResNet-20, random weights, one thread, interleaved."""

import statistics
import time

import numpy as np
import torch

from certmix.adaptive.mixture import AdaptiveMixture
from certmix.adaptive.training import GateTraining, train_gate
from certmix.attacks import attack_model
from certmix.datasets import ArrayDataset
from certmix.models import make_architecture
from certmix.models.acceleration import accelerate

INPUTS, ROUNDS = 16, 5
BALL = {"norm": "linf", "attack_radius": 8 / 255}


def main() -> None:
    torch.set_num_threads(1)
    torch.manual_seed(0)
    images = np.random.default_rng(0).random((INPUTS, 3, 32, 32)).astype(np.float32)
    data = ArrayDataset(images, np.zeros(INPUTS), num_classes=10)
    g, h = (make_architecture("cifar_resnet20").eval() for _ in range(2))
    pairs = {"fp32": (g, h), "bf16, fast": tuple(accelerate(model, precision="bf16", fast=True) for model in (g, h))}
    settings = GateTraining(**BALL, epochs=1, steps=(2, 2), batch_size=INPUTS)
    calls = {}
    for how, (one, other) in pairs.items():
        mixture = AdaptiveMixture(accurate=one, robust=other, input_shape=data.input_shape, kind="small")
        labels = torch.as_tensor(data.labels)
        calls["PGD, 3 steps", how] = lambda model=other, labels=labels: attack_model(
            model, data.inputs, labels, **BALL, steps=3, stop_at_success=False
        )
        calls["adaptive training, a step", how] = lambda mixture=mixture: train_gate(mixture, data, settings)
    times = {case: [] for case in calls}
    for round_ in range(ROUNDS + 1):
        for case, call in calls.items():
            started = time.process_time()
            call()
            if round_:  # the first one warms up
                times[case].append(time.process_time() - started)
    print("| what | fp32 / (bf16, fast), median of rounds | smallest | largest |\n|---|---|---|---|")
    for what in dict.fromkeys(case[0] for case in calls):
        ratios = [a / b for a, b in zip(times[what, "fp32"], times[what, "bf16, fast"], strict=True)]
        print(f"| {what} | {statistics.median(ratios):.2f} | {min(ratios):.2f} | {max(ratios):.2f} |")


if __name__ == "__main__":
    main()
