"""Does peak memory grow with the number of draws?

A fresh process per case samples one 3 x 32 x 32 input with a small network and reports its peak resident memory.
"""

import subprocess
import sys

CASE = """
import resource, sys, numpy as np, torch, certmix
from certmix.datasets import ArrayDataset
torch.set_num_threads(1)
torch.manual_seed(0)
model = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(3072, 32), torch.nn.ReLU(), torch.nn.Linear(32, 10))
data = ArrayDataset(np.full((1, 3, 32, 32), 0.2, dtype=np.float32), [0], num_classes=10, grid_levels=255)
how = certmix.Execution("cpu", 500)
certmix.sample(model, data, sigma=0.5, num_estimation=int(sys.argv[1]), votes=sys.argv[2], execution=how)
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
"""


def peak_mib(draws: int, votes: str) -> float:
    done = subprocess.run([sys.executable, "-c", CASE, str(draws), votes], capture_output=True, text=True, check=True)
    return float(done.stdout)


def main() -> None:
    print("| votes | n = 1,000 | n = 10,000 | n = 100,000 | growth |\n|---|---|---|---|---|")
    for votes in ("hard", "both"):
        peaks = [peak_mib(draws, votes) for draws in (1_000, 10_000, 100_000)]
        cells = " | ".join(f"{peak:.0f} MiB" for peak in peaks)
        print(f"| {votes} | {cells} | {100 * (peaks[-1] / peaks[0] - 1):+.1f} % |")
        print(f"=> {votes} votes: peak memory {100 * (peaks[-1] / peaks[0] - 1):+.1f} % from n = 1,000 to 100,000")


if __name__ == "__main__":
    main()
