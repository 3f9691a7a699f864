"""How much memory do attacks take, and does it grow with the number of inputs?

A process of its own per case attacks CIFAR-shaped images with ResNet-20 (random weights; labels are the model's classes, so
that there is something to attack), one thread, the default batch size, few steps and votes: they change no peak. What
counts is how far peak resident memory rises once models and data are there.
"""

import multiprocessing
import resource
import sys
from collections.abc import Callable

import numpy as np
import torch

from certmix.adaptive.attacks import AttackBudget
from certmix.adaptive.evaluation import right_under_attack
from certmix.adaptive.mixture import AdaptiveMixture
from certmix.attacks import attack_mixture
from certmix.attacks.bracket import attack_smoothed_mixture
from certmix.attacks.certificates import attack_certificates
from certmix.datasets import ArrayDataset
from certmix.models import make_architecture
from certmix.paper.confidence import confidence_gaps
from certmix.paper.form_attacks import compare_mixing_forms
from certmix.rules import LinearRule

BALL = {"norm": "linf", "attack_radius": 8 / 255}
CASES = {"mixture": (200, 1000), "confidence": (200,), "adaptive": (100,), "bracket": (50,), "certificates": (50,)}
CASES |= {"forms": (20,)}


def attack(name: str, inputs: int) -> Callable[[], object]:
    """The attack of a case, its models and data made."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    h, g = (make_architecture("cifar_resnet20").eval() for _ in range(2))
    images = np.random.default_rng(0).integers(0, 256, (inputs, 3, 32, 32)).astype(np.float32) / 255
    with torch.inference_mode():
        classes = np.concatenate([h(torch.as_tensor(part)).argmax(1) for part in np.split(images, inputs // 10)])
    data, pair = ArrayDataset(images, classes, num_classes=10, grid_levels=255), {"accurate": g, "robust": h}
    noisy = {"sigma": 0.25, "steps": 1, "restarts": 1, "votes": 40}
    mixture = AdaptiveMixture(**pair, input_shape=data.input_shape, kind="small").eval()
    everywhere = np.full((1, inputs), 0.5)
    return {
        "mixture": lambda: attack_mixture(data, **pair, **BALL, mixing_weight=[0.9], steps=1, losses=["margin"]),
        "confidence": lambda: confidence_gaps(h, data, **BALL, steps=1),
        "adaptive": lambda: right_under_attack(mixture, data, AttackBudget(**BALL, steps=1), settings=["B"]),
        "bracket": lambda: attack_smoothed_mixture(data, **pair, **noisy, rule=LinearRule(0.9), radii=[0.5]),
        "certificates": lambda: attack_certificates(h, data, classes, everywhere, [LinearRule(1.0)], **noisy),
        "forms": lambda: compare_mixing_forms(
            data, **pair, **BALL, steps=1, num_gammas=2, losses=["margin"], forms=[("gradient-ratio", "probabilities")]
        ),
    }[name]


def peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def measure(name: str, inputs: int, answer: "multiprocessing.SimpleQueue[float]") -> None:
    call = attack(name, inputs)
    before = peak_mib()
    call()
    answer.put(peak_mib() - before)


def main() -> None:
    processes = multiprocessing.get_context("fork")
    print("| attack | inputs | peak memory grows by |\n|---|---|---|")
    grown = []
    for name in sys.argv[1:] or CASES:
        for inputs in CASES[name]:
            answer = processes.SimpleQueue()
            process = processes.Process(target=measure, args=(name, inputs, answer))
            process.start()
            grown.append(answer.get())
            process.join()
            print(f"| {name} | {inputs:,} | {grown[-1]:.0f} MiB |", flush=True)
    print(f"=> attacks on ResNet-20: peak memory grows by at most {max(grown):.0f} MiB")


if __name__ == "__main__":
    main()
