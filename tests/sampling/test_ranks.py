"""Several processes on one run: the same draws as one process, whatever is killed."""

import json
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

import certmix
from certmix.datasets import load_dataset
from certmix.errors import InvalidArgument, RunError
from certmix.models import make_architecture
from certmix.sampling.ranks import ProcessGroup, join_group, parse_shard
from certmix.training.train import save_model

ROOT = Path(certmix.__file__).parents[1]
SAMPLING = {
    "sigma": 0.5,
    "num_estimation": 2000,
    "seed": 7,
    "execution": certmix.Execution(device="cpu", batch_size=100),
}
INPUTS = 40
PROBE = 400  # rows that the probe of a model takes at this batch size
DRAWS = {key: value for key, value in SAMPLING.items() if key != "execution"}


def _shard(number, total):
    return certmix.Execution(device="cpu", batch_size=100, shard=(number, total))


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("models") / "h.safetensors"
    save_model(make_architecture("digits-cnn"), path, architecture="digits-cnn", settings={"num_classes": 10})
    return path


@pytest.fixture(scope="module")
def alone(model):
    return certmix.sample(certmix.load_model(str(model)), load_dataset("digits", max=INPUTS), **SAMPLING)


def _same(one, other):
    return (
        np.array_equal(one.indices, other.indices)
        and np.array_equal(one.selection_counts, other.selection_counts)
        and np.array_equal(one.estimation_counts, other.estimation_counts)
    )


def _launch(model, out, *launcher):
    """The command line under torchrun, as a user types it."""
    options = [
        "--robust",
        model,
        "--dataset",
        "digits",
        "--sigma",
        0.5,
        "--max-inputs",
        INPUTS,
        "--out",
        out,
        "--json",
        "-q",
    ]
    options += ["--num-estimation", 2000, "--seed", 7, "--batch-size", 100]
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", *launcher]
    return subprocess.Popen(
        [*command, "-m", "certmix", "certify", *map(str, options)],
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def _ranks(launcher):
    listed = subprocess.run(
        ["ps", "-o", "pid=", "--ppid", str(launcher.pid)], capture_output=True, text=True, check=False
    )
    return [int(pid) for pid in listed.stdout.split()]


@pytest.mark.slow
def test_two_processes_draw_what_one_draws(model, alone, tmp_path):
    launcher = _launch(model, tmp_path / "run")
    out, err = launcher.communicate(timeout=300)
    assert launcher.returncode == 0, err[-2000:]
    assert json.loads(out)["runs"][0]["inputs"] == INPUTS  # rank 0 alone prints, once
    stored = certmix.read_statistics(tmp_path / "run")
    assert _same(stored, alone)
    assert 1 <= len(stored.manifest.audits) <= 2  # a rank that found nothing left has none
    assert not list((tmp_path / "run").glob("partial-*"))


@pytest.mark.slow
def test_killed_ranks_lose_nothing(model, alone, tmp_path):
    generator = random.Random(1)
    launcher = _launch(model, tmp_path / "run", "--max-restarts", "5")
    kills = 0
    until = time.monotonic() + 240
    while launcher.poll() is None and kills < 3 and time.monotonic() < until:
        time.sleep(3.0 + 2.0 * generator.random())
        ranks = _ranks(launcher)
        if ranks and launcher.poll() is None:
            os.kill(generator.choice(ranks), signal.SIGKILL)
            kills += 1
    _, err = launcher.communicate(timeout=300)
    assert launcher.returncode == 0, err[-2000:]
    assert kills >= 1
    assert _same(certmix.read_statistics(tmp_path / "run"), alone)


@pytest.mark.slow
def test_ranks_end_when_their_launcher_is_killed(model, alone, tmp_path):
    launcher = _launch(model, tmp_path / "run")
    ranks, until = [], time.monotonic() + 180
    while not (len(ranks) == 2 and (tmp_path / "run" / "manifest.json").exists()) and time.monotonic() < until:
        time.sleep(0.2)
        ranks = _ranks(launcher)
    assert len(ranks) == 2
    launcher.kill()
    launcher.communicate(timeout=60)
    until = time.monotonic() + 120
    while any(Path(f"/proc/{pid}").exists() for pid in ranks) and time.monotonic() < until:
        time.sleep(0.2)
    assert not any(Path(f"/proc/{pid}").exists() for pid in ranks)
    resumed = certmix.sample(
        certmix.load_model(str(model)),
        load_dataset("digits", max=INPUTS),
        **SAMPLING,
        out=tmp_path / "run",
    )
    assert _same(resumed, alone)


def test_shards_merge_into_the_whole(model, alone, tmp_path):
    h, data = certmix.load_model(str(model)), load_dataset("digits", max=INPUTS)
    for number in range(3):
        part = certmix.sample(h, data, **DRAWS, out=tmp_path / str(number), execution=_shard(number, 3))
        assert len(part) == len(range(number, INPUTS, 3))
    assert _same(certmix.read_statistics(*(tmp_path / str(number) for number in range(3))), alone)
    with pytest.raises(InvalidArgument, match="shard needs a seed that all parts share"):
        certmix.sample(h, data, **{**DRAWS, "seed": None}, out=tmp_path / "x", execution=_shard(0, 2))
    with pytest.raises(InvalidArgument, match="shard must be"):
        _shard(2, 2)
    other = {**DRAWS, "seed": 8}
    certmix.sample(h, data, **other, out=tmp_path / "other", execution=_shard(1, 3))
    with pytest.raises(RunError, match="disagrees on seed"):
        certmix.read_statistics(tmp_path / "0", tmp_path / "other")


def test_a_process_alone_claims_everything_and_shard_texts_are_checked():
    group = join_group()
    assert (group.rank, group.size, group.leads) == (0, 1, True)
    assert list(ProcessGroup().claim([3, 1, 2])) == [3, 1, 2]
    assert group.share("x", lambda: {"a": 1}) == {"a": 1}
    assert parse_shard("0/2") == (0, 2)
    for text in ("2/2", "1", "a/b", "-1/2", "1/0"):
        with pytest.raises(InvalidArgument, match="--shard must be I/N"):
            parse_shard(text)


class _Slow(torch.nn.Module):
    """Counts its rows, and ends after so many of them, as a killed process would."""

    def __init__(self, rows):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.randn(64, 10, generator=torch.Generator().manual_seed(0)))
        self.rows = rows

    def forward(self, inputs):
        self.rows -= len(inputs)
        if self.rows < 0:
            raise KeyboardInterrupt
        return inputs.flatten(1) @ self.weight


@pytest.mark.parametrize("votes", ["hard", "both"])
def test_progress_inside_an_input_is_kept(tmp_path, votes):
    data = load_dataset("digits", max=2)
    options = {**SAMPLING, "votes": votes, "execution": certmix.Execution("cpu", 100, flush_seconds=0.0)}
    whole = certmix.sample(_Slow(10**9), data, **options)
    model = _Slow(1500 + PROBE)
    with pytest.raises(KeyboardInterrupt):
        certmix.sample(model, data, **options, out=tmp_path / "run")
    assert len(certmix.read_statistics(tmp_path / "run")) == 0
    model.rows = 10**9
    resumed = certmix.sample(model, data, **options, out=tmp_path / "run")
    assert _same(resumed, whole)
    if votes == "both":
        assert np.array_equal(resumed.soft.estimation.sums, whole.soft.estimation.sums)
    assert 10**9 - model.rows < 2 * 2100 - 1000 + PROBE  # what was drawn before was not drawn again


class _Hungry(_Slow):
    """Runs out of memory beyond so many rows."""

    def forward(self, inputs):
        if len(inputs) > 30:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        return super().forward(inputs)


def test_out_of_memory_shrinks_the_batch_and_goes_on(monkeypatch, tmp_path):
    data = load_dataset("digits", max=2)
    whole = certmix.sample(_Slow(10**9), data, **SAMPLING)
    monkeypatch.setattr("certmix.sampling.sample._probe", lambda *how: ((), how[3]))  # it runs out of memory later
    for votes in ("hard", "soft"):
        small = certmix.sample(_Hungry(10**9), data, **SAMPLING, out=tmp_path / votes, votes=votes)
        assert _same(small, whole)
        assert small.manifest.audits[0]["batch_size"] == 25
