"""How long does a whole alpha-sigma sweep of stored draws take, on one core and with no model?

10,000 inputs x 10 classes x 4 sigmas, votes of 10,000 draws: bounds, exact clean-accuracy curves, matched weights,
certificates and the frontier. Prints seconds and the number of model evaluations (torch is never imported).
"""

import os
import sys
import time

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ[variable] = "1"

import numpy as np

from certmix.certification.bounds import bound_probabilities
from certmix.pareto import Candidate, pareto_frontier

INPUTS, CLASSES, SIGMAS, DRAWS = 10_000, 10, (0.25, 0.5, 0.75, 1.0), 10_000


def votes(rng: np.random.Generator, labels: np.ndarray, sigma: float) -> tuple[np.ndarray, np.ndarray]:
    p = rng.dirichlet(np.full(CLASSES, 0.3), INPUTS)
    p[np.arange(INPUTS), labels] += 3.0 * rng.random(INPUTS) / (0.5 + sigma)
    p /= p.sum(axis=1, keepdims=True)
    return rng.multinomial(100, p), rng.multinomial(DRAWS, p)


def main() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, CLASSES, INPUTS)
    g = np.eye(CLASSES)[np.where(rng.random(INPUTS) < 0.98, labels, (labels + 1) % CLASSES)]
    drawn = [(sigma, *votes(rng, labels, sigma)) for sigma in SIGMAS]
    for certifier in ("exact", "exact", "theorem-a1"):  # the first also imports SciPy and statsmodels
        started = time.perf_counter()
        family = [
            Candidate(bound_probabilities(s, e, sigma=sigma, labels=labels), g, e.astype(float))
            for sigma, s, e in drawn
        ]
        bounded = time.perf_counter()
        result = pareto_frontier(family, baseline=SIGMAS[0], certifier=certifier)
        done = time.perf_counter()
        print(
            f"{certifier}: {done - started:.2f} s in all ({bounded - started:.2f} s bounds, {done - bounded:.2f} s sweep), "
            f"{len(result.radii)} radii, {', '.join(m.label for m in result.matched)}"
        )
    print(
        f"=> {INPUTS:,} inputs x {CLASSES} classes x {len(SIGMAS)} sigmas swept in {done - started:.2f} s (last of three)"
    )
    print(f"torch imported: {'torch' in sys.modules}; model evaluations: 0")


if __name__ == "__main__":
    main()
