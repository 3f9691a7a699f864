"""What do 20,000 damaged run folders end in?

Shards and manifests damaged at random (bits, bytes, cells, columns, fields; with hashes made anew where a forger would) must
be refused in one line, read as the same statistics, or be caught by the referee: see tests/runs/damage.py.

    OMP_NUM_THREADS=1 python benchmarks/torture.py [CASES]
"""

import random
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path

import torch

import certmix

sys.path.insert(0, str(Path(__file__).parents[1]))

from tests.runs.damage import DAMAGES, Honest, outcome

OUTCOMES = ("refused", "same", "caught", "other draws")


def main() -> None:
    cases = int(sys.argv[1]) if len(sys.argv) > 1 else 20_000
    torch.manual_seed(0)
    h = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(64, 10))
    data = certmix.load_dataset("digits", max=3)
    each = -(-cases // (2 * len(DAMAGES)))
    print("| votes | damage | cases | " + " | ".join(OUTCOMES) + " | failed |\n" + "|---" * (4 + len(OUTCOMES)) + "|")
    started, failed, total = time.monotonic(), 0, 0
    with tempfile.TemporaryDirectory() as folder:
        for votes in ("hard", "both"):
            run = Path(folder) / votes
            draws = {"num_selection": 5, "num_estimation": 40, "seed": 1, "votes": votes}
            certmix.sample(h, data, sigma=0.5, accurate=h, out=run, **draws)
            honest = Honest(run)
            for damage in DAMAGES:
                seen: Counter[str] = Counter()
                chance = random.Random(f"{votes} {damage.__name__} {cases}")
                for _ in range(each):
                    try:
                        damage(honest, chance)
                        seen[outcome(honest)] += 1
                    except Exception as error:
                        seen["failed"] += 1
                        print(f"{damage.__name__}: {error!r:.200}", file=sys.stderr)
                    finally:
                        honest.restore()
                counts = " | ".join(f"{seen[name]:,}" for name in (*OUTCOMES, "failed"))
                print(f"| {votes} | {damage.__name__.replace('_', ' ')} | {each:,} | {counts} |", flush=True)
                failed, total = failed + seen["failed"], total + each
    print(f"\n=> {total:,} damaged folders, {failed} failures, {time.monotonic() - started:.0f} s")


if __name__ == "__main__":
    main()
