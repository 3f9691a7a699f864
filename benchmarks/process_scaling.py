"""What do two processes gain over one? The same run of digits under torchrun with one and two ranks.

Times the sampling itself (the seconds that the shards record are per rank, so the wall clock between the manifest and
the last shard is taken), not the start of Python. A machine with two free cores is assumed.
"""

import os
import subprocess
import sys
import tempfile
from pathlib import Path

import torch

import certmix
from certmix.models import make_architecture
from certmix.training.train import save_model

INPUTS, DRAWS = 300, 10_000


def seconds(model: Path, ranks: int, out: Path) -> float:
    options = ["--robust", model, "--dataset", "digits", "--sigma", 0.5, "--max-inputs", INPUTS, "--seed", 7, "-q"]
    options += ["--num-estimation", DRAWS, "--batch-size", 200, "--out", out]
    subprocess.run(
        [
            *(sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(ranks)),
            *("-m", "certmix", "certify", *map(str, options)),
        ],
        cwd=Path(certmix.__file__).parents[1],
        env={**os.environ, "OMP_NUM_THREADS": "1", "OMP_WAIT_POLICY": "PASSIVE"},
        check=True,
        capture_output=True,
    )
    # The lock is made when the folder is opened; the last shard when the last draw is stored.
    started = (out / ".lock").stat().st_mtime
    return max(path.stat().st_mtime for path in (out / "shards").glob("*.parquet")) - started


def main() -> None:
    torch.manual_seed(0)
    folder = Path(tempfile.mkdtemp(prefix="certmix-scaling-"))
    model = folder / "h.safetensors"
    save_model(make_architecture("digits-cnn"), model, architecture="digits-cnn", settings={"num_classes": 10})
    times = {ranks: min(seconds(model, ranks, folder / f"{ranks}-{turn}") for turn in range(2)) for ranks in (1, 2)}
    print(
        f"=> 1 process {times[1]:.1f} s, 2 processes {times[2]:.1f} s: {times[1] / times[2]:.2f} x ({os.cpu_count()} cores)"
    )


if __name__ == "__main__":
    main()
