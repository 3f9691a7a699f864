"""Does any attack succeed inside a certified radius of the demo? One success is an error, and the exit code says so.

Every certificate (exact certifier, the largest radii; every sigma, input and rule) is attacked by 10 restarts x
100 steps of l2 PGD to 99 % of its radius, gradients averaged over 16 noise draws, for the worst accurate model; the worst
end point is judged by 10,000 fresh votes, and ten times as many fresh ones where the lead seems to fail.

    python benchmarks/attack_certificates.py [DEMO] [--restarts 10] [--steps 100] [--max 300] [--kind linear|threshold]
"""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

for variable in ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
    os.environ.setdefault(variable, "1")

import numpy as np
import torch

import certmix
from certmix.attacks.certificates import CertificateBroken, attack_certificates
from certmix.datasets import Subset
from certmix.rules import LinearRule, Rule, ThresholdRule

SIGMAS = (0.25, 0.5, 1.0)
RULES: tuple[Rule, ...] = (*map(LinearRule, (0.6, 0.8, 1.0)), *map(ThresholdRule, (0.5, 0.65)))


def attack_run(demo: Path, sigma: float, options: argparse.Namespace) -> bool:
    """Attack every certificate of one run; prints a row per rule, returns whether all held."""
    statistics = certmix.read_statistics(demo / "runs" / f"sigma-{sigma:g}")
    data = certmix.load_dataset("digits", split="test")
    rows = np.searchsorted(data.indices, statistics.indices)[: options.max]
    robust = certmix.load_model(str(demo / "models" / f"robust-{sigma:g}.safetensors"))
    rules = [rule for rule in RULES if options.kind in (None, rule.kind)]
    certificates = certmix.certify(statistics, rules=rules, certifier="exact")
    started = time.perf_counter()
    result = attack_certificates(
        robust,
        Subset(data, rows),
        certificates.prediction[: options.max],
        certificates.radius[:, : options.max],
        rules,
        sigma=sigma,
        grid_levels=statistics.draws.grid_levels,
        restarts=options.restarts,
        steps=options.steps,
        seed=options.seed,
    )
    seconds = time.perf_counter() - started
    for rule in rules:
        at = np.array([own == rule for own in result.rule], dtype=bool)
        if not at.any():
            print(f"| {sigma:g} | {rule.label} | 0 | | | | | |")
            continue
        lead = result.lead[at]
        print(
            f"| {sigma:g} | {rule.label} | {at.sum()} | {result.radius[at].mean():.3f} | {result.broken[at].sum()} | "
            f"{(lead <= 0).sum()} | {lead.min():.4f} | {np.median(lead):.4f} |",
            flush=True,
        )
    print(f"<!-- sigma {sigma:g}: {seconds:.0f} s -->", flush=True)
    try:
        result.check()
    except CertificateBroken as error:
        print(f"\n!!! {error} !!!", file=sys.stderr, flush=True)
        return False
    return True


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("demo", nargs="?", default="demo", type=Path)
    for name, default in (("restarts", 10), ("steps", 100), ("max", 300), ("seed", 0)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--kind", choices=sorted({rule.kind for rule in RULES}))
    options = parser.parse_args()
    if not (options.demo / "runs").is_dir():
        subprocess.run([sys.executable, "-m", "certmix", "demo", "--out", str(options.demo), "--quiet"], check=True)
    print(f"torch {torch.__version__}, {options.restarts} restarts x {options.steps} steps, seed {options.seed}\n")
    print("| sigma | rule | attacked | mean radius | broken | lead not above 0 | smallest lead | median lead |")
    print("|---|---|---|---|---|---|---|---|", flush=True)
    held = [attack_run(options.demo, sigma, options) for sigma in SIGMAS]
    print("\nEvery certificate held." if all(held) else "\nCERTIFICATES BROKEN.")
    sys.exit(0 if all(held) else 1)


if __name__ == "__main__":
    main()
