"""How much memory do attacks take, and does it grow with the number of inputs?

A process of its own per case attacks CIFAR-shaped images with ResNet-20 (random weights; labels are the model's classes, so
that there is something to attack), one thread, the default batch size, few steps and votes: they change no peak. What
counts is how far peak resident memory rises once models and data are there. Names of cases as arguments: only those.
"""

import multiprocessing
import resource
import sys
from collections.abc import Callable

import numpy as np
import torch

from certmix.adaptive.attacks import AttackBudget
from certmix.adaptive.certificate_attacks import attack_adaptive_certificates
from certmix.adaptive.evaluation import right_under_attack
from certmix.adaptive.mixture import AdaptiveMixture
from certmix.attacks import attack_mixture
from certmix.attacks.bracket import attack_smoothed_mixture
from certmix.attacks.certificates import attack_certificates
from certmix.datasets import ArrayDataset
from certmix.datasets.batches import batches
from certmix.lipschitz import estimate_local_lipschitz
from certmix.models import make_architecture
from certmix.models.memory import inputs_at_once
from certmix.paper.confidence import confidence_gaps
from certmix.paper.form_attacks import compare_mixing_forms
from certmix.rules import LinearRule
from certmix.sampling.allocator import keep_freed_memory

INPUTS = (200, 1000)
BALL = {"norm": "linf", "attack_radius": 8 / 255}


def attacks(inputs: int) -> dict[str, Callable[[], object]]:
    """Every attack of the command line on so many images, by its command; models and data are made, nothing has run."""
    keep_freed_memory()  # as the commands do
    torch.set_num_threads(1)
    torch.manual_seed(0)
    h, g = (make_architecture("cifar_resnet20").eval() for _ in range(2))
    images = np.random.default_rng(0).integers(0, 256, (inputs, 3, 32, 32)).astype(np.float32) / 255
    with torch.inference_mode():
        classes = np.concatenate([h(torch.as_tensor(part)).argmax(1) for part in np.split(images, inputs // 10)])
    data, pair = ArrayDataset(images, classes, num_classes=10, grid_levels=255), {"accurate": g, "robust": h}
    noisy = {"sigma": 0.25, "restarts": 1, "draws": 2, "votes": 10}
    mixture = AdaptiveMixture(**pair, input_shape=data.input_shape, kind="small").eval()
    once = AttackBudget(**BALL, steps=1, strong_steps=1)
    radius = np.full((1, inputs), 0.5)

    def lipschitz() -> None:
        for part, _ in batches(data, inputs_at_once(data.input_shape, h)):
            estimate_local_lipschitz(h, part, attack_radius=0.25, steps=1, balls=1)

    return {
        "attack mixture": lambda: attack_mixture(data, **pair, **BALL, mixing_weight=[0.9], steps=1, losses=["margin"]),
        "attack lipschitz": lipschitz,
        "attack bracket": lambda: attack_smoothed_mixture(
            data, **pair, **noisy, steps=1, rule=LinearRule(0.9), radii=[0.5]
        ),
        "attack certificates": lambda: attack_certificates(
            h, data, classes, radius, [LinearRule(1.0)], **noisy, steps=1
        ),
        "adaptive attack": lambda: right_under_attack(mixture, data, once, settings=["B", "C"]),
        "adaptive attack, certificates": lambda: attack_adaptive_certificates(
            mixture, data, classes, radius[0], **noisy, setting="C", strong_steps=1
        ),
        "paper confidence": lambda: confidence_gaps(h, data, **BALL, steps=1),
        "paper forms": lambda: compare_mixing_forms(
            data, **pair, **BALL, steps=1, num_gammas=2, losses=["margin"], forms=[("gradient-ratio", "probabilities")]
        ),
    }


def peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure(name: str, inputs: int, answer: "multiprocessing.SimpleQueue[float]") -> None:
    call = attacks(inputs)[name]
    before = peak_mib()
    call()
    answer.put(peak_mib() - before)


def main() -> None:
    processes = multiprocessing.get_context("fork")
    print("| command | " + " | ".join(f"{inputs:,} inputs" for inputs in INPUTS) + " |")
    print("|---|---|---|")
    largest = 0.0
    for name in sys.argv[1:] or attacks(10):
        grown = []
        for inputs in INPUTS:
            answer = processes.SimpleQueue()
            process = processes.Process(target=measure, args=(name, inputs, answer))
            process.start()
            grown.append(answer.get())
            process.join()
        largest = max(largest, *grown)
        print(f"| {name} | " + " | ".join(f"{mib:.0f} MiB" for mib in grown) + " |", flush=True)
    print(f"=> attacks on ResNet-20: peak memory grows by at most {largest:.0f} MiB")


if __name__ == "__main__":
    main()
