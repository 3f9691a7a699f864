"""Two processes under torchrun, a random one killed with `kill -9` twenty times: is anything lost or counted twice?

Runs `certmix certify` on digits with fresh weights, kills, lets torchrun restart, and compares the statistics with those
of one undisturbed process, vote by vote.
"""

import os
import random
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch

import certmix
from certmix.models import make_architecture
from certmix.training.train import save_model

KILLS, INPUTS, DRAWS = 20, 600, 20_000


def main() -> None:
    torch.set_num_threads(1)
    folder = Path(tempfile.mkdtemp(prefix="certmix-killed-"))
    model = folder / "h.safetensors"
    torch.manual_seed(0)
    save_model(make_architecture("digits-cnn"), model, architecture="digits-cnn", settings={"num_classes": 10})
    options = ["--robust", model, "--dataset", "digits", "--sigma", 0.5, "--max-inputs", INPUTS, "--seed", 7, "-q"]
    options += ["--num-estimation", DRAWS, "--batch-size", 200, "--out", folder / "run"]
    launcher = subprocess.Popen(
        [
            *(sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"),
            *("--max-restarts", str(KILLS + 5), "-m", "certmix", "certify", *map(str, options)),
        ],
        cwd=Path(certmix.__file__).parents[1],
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    generator, kills = random.Random(0), 0
    while launcher.poll() is None and kills < KILLS:
        time.sleep(3.0 + 4.0 * generator.random())
        listed = subprocess.run(
            ["ps", "-o", "pid=", "--ppid", str(launcher.pid)], capture_output=True, text=True, check=False
        )
        ranks = [int(pid) for pid in listed.stdout.split()]
        if ranks and launcher.poll() is None:
            os.kill(generator.choice(ranks), signal.SIGKILL)
            kills += 1
    code = launcher.wait()
    disturbed = certmix.read_statistics(folder / "run")
    alone = certmix.sample(
        certmix.load_model(str(model)),
        certmix.load_dataset("digits", max=INPUTS),
        sigma=0.5,
        num_estimation=DRAWS,
        seed=7,
        execution=certmix.Execution("cpu", 200),
    )
    same = np.array_equal(disturbed.indices, alone.indices) and np.array_equal(
        disturbed.estimation_counts, alone.estimation_counts
    )
    shards = len(list((folder / "run" / "shards").glob("*.parquet")))
    print(
        f"{kills} kills, exit code {code}, {len(disturbed)} inputs in {shards} shards, same votes as undisturbed: {same}"
    )


if __name__ == "__main__":
    main()
