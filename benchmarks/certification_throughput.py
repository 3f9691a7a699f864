"""How many certificates per second does one core give, and what does the exact root cost over the closed form?

10,000 inputs x 100 mixing weights from p_B < 1 - p_A (no closed form: a safeguarded Newton root, rounded down and
checked), the same from p_B = 1 - p_A (closed form), Theorem A.1, and the mixed case that counts give: bounds at 10,000
inputs x 10 classes, then 101 weights. Best of five, all in one process:

    OMP_NUM_THREADS=1 python benchmarks/certification_throughput.py
"""

import time
from collections.abc import Callable

import numpy as np

from certmix.certification.bounds import bound_probabilities
from certmix.certification.certify import certify
from certmix.certifiers import exact_radius, theorem_a1_radius

INPUTS, WEIGHTS, CLASSES, DRAWS = 10_000, 100, 10, 10_000


def best_seconds(work: Callable[[], object], repeats: int = 5) -> float:
    times = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


def random_bounds(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """p_A from .6 to .9999, and p_B a share of what is left."""
    tail = 10 ** rng.uniform(-4, -0.4, INPUTS)
    return 1 - tail, tail * rng.uniform(0.02, 0.95, INPUTS)


def random_counts(rng: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Selection and estimation votes of inputs from sure to undecided; half give every vote to one class."""
    shares = np.sort(rng.dirichlet(np.full(CLASSES, 0.15), INPUTS), axis=1)[:, ::-1]
    shares[: INPUTS // 2] = np.eye(CLASSES)[0]
    return rng.multinomial(100, shares), rng.multinomial(DRAWS, shares)


def main() -> None:
    rng = np.random.default_rng(0)
    (top, rival), (selection, estimation) = random_bounds(rng), random_counts(rng)
    weight = np.linspace(0.505, 1.0, WEIGHTS)[:, None]

    def from_counts() -> np.ndarray:
        bounds = bound_probabilities(selection, estimation, sigma=0.5)
        return certify(bounds, mixing_weight=np.linspace(0.5, 1.0, 101)).radius

    cases = {
        "closed form, p_B = 1 - p_A": lambda: exact_radius(top, 1.0, weight, 0.5),
        "exact root, p_B < 1 - p_A": lambda: exact_radius(top, rival, weight, 0.5),
        "Theorem A.1": lambda: theorem_a1_radius(top, rival, weight, 0.5),
        "counts -> bounds -> exact": from_counts,
    }
    print("| case | certificates | positive | seconds | per second | ratio to the closed form |")
    print("|---|---|---|---|---|---|")
    reference = None
    for name, work in cases.items():
        radius = work()
        per_certificate = (seconds := best_seconds(work)) / radius.size
        reference = reference or per_certificate
        positive, rate = np.mean(radius > 0), 1 / per_certificate
        ratio = per_certificate / reference
        print(f"| {name} | {radius.size:,} | {positive:.0%} | {seconds:.3f} | {rate:,.0f} | {ratio:.1f} |")
        if name.startswith("exact root"):
            print(f"=> {radius.size:,} exact certificates in {seconds:.2f} s on one core")


if __name__ == "__main__":
    main()
