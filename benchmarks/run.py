"""Run the CPU benchmarks one after the other and print one table of their conclusions (lines that begin with =>).

Under ten minutes on two free cores. The rest of this folder takes longer, or needs a GPU or published logs.
"""

import os
import subprocess
import sys
import time
from pathlib import Path

SCRIPTS = (
    "certification_throughput",
    "pareto_sweep",
    "sampling_overhead",
    "memory_against_draws",
    "noise_cost",
    "process_scaling",
    "sequential_savings",
)


def main() -> None:
    rows = []
    for name in SCRIPTS:
        started = time.monotonic()
        done = subprocess.run(
            [sys.executable, Path(__file__).parent / f"{name}.py"],
            env={**os.environ, "OMP_NUM_THREADS": "1"},
            stdout=subprocess.PIPE,
            text=True,
            check=False,
        )
        print(f"\n## {name}\n\n{done.stdout}", file=sys.stderr, flush=True)
        found = [line[2:].strip() for line in done.stdout.splitlines() if line.startswith("=>")]
        rows.append((name, "; ".join(found) or f"exit code {done.returncode}", time.monotonic() - started))
    print("| benchmark | result | seconds |\n|---|---|---|")
    for name, result, taken in rows:
        print(f"| {name} | {result} | {taken:.0f} |")


if __name__ == "__main__":
    main()
