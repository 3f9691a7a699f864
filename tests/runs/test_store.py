"""Run folders: whole shards only, resume after a kill, refusal of anything that does not belong."""

import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

import certmix
from certmix.errors import RunError
from certmix.runs.store import InputRecord, RunWriter, read_statistics

MANIFEST = {
    "schema_version": 1,
    "draws": {
        "seed": "0x1",
        "sigma": 0.5,
        "num_classes": 3,
        "num_selection": 4,
        "num_estimation": 10,
        "accurate": None,
        "dataset": {"fingerprint": "f", "subset": {"skip": 1}},
    },
}


def _record(index, votes=(7, 2, 1), invalid=0):
    return InputRecord(index, index % 3, np.array([4, 0, 0]), np.array(votes), 0, invalid, None, 0.1)


def _write(folder, indices=range(5), manifest=MANIFEST):
    with RunWriter(folder, manifest, flush_seconds=0.0) as writer:
        for index in indices:
            writer.add(_record(index))
    return folder


def _first_shard(folder) -> Path:
    return min((folder / "shards").glob("*.parquet"))


def test_what_is_written_is_read(tmp_path):
    statistics = read_statistics(_write(tmp_path / "run"))
    assert statistics.indices.tolist() == [0, 1, 2, 3, 4]
    assert statistics.labels.tolist() == [0, 1, 2, 0, 1]
    assert statistics.estimation_counts.tolist() == [[7, 2, 1]] * 5
    assert (statistics.num_classes, statistics.num_selection, statistics.num_estimation) == (3, 4, 10)
    assert statistics.accurate_probabilities is None
    assert sorted(p.name for p in (tmp_path / "run").iterdir()) == [".lock", "manifest.json", "shards"]


def test_parts_of_one_run_are_merged_and_the_same_votes_count_once(tmp_path):
    _write(tmp_path / "a", range(3))
    _write(tmp_path / "b", range(2, 6))
    assert read_statistics(tmp_path / "a", tmp_path / "b").indices.tolist() == [0, 1, 2, 3, 4, 5]


def test_different_votes_for_one_input_are_refused(tmp_path):
    _write(tmp_path / "run", [1])
    with RunWriter(tmp_path / "other", MANIFEST) as writer:
        writer.add(_record(1, (6, 3, 1)))
    with pytest.raises(RunError, match="input 1 was drawn twice with different votes"):
        read_statistics(tmp_path / "run", tmp_path / "other")


def test_parts_of_different_runs_are_refused(tmp_path):
    other = {**MANIFEST, "draws": {**MANIFEST["draws"], "sigma": 0.25}}
    with pytest.raises(RunError, match=r"disagrees on sigma: the run has 0\.5, asked for is 0\.25"):
        read_statistics(_write(tmp_path / "a"), _write(tmp_path / "b", manifest=other))


def test_a_truncated_shard_is_named_with_its_remedy(tmp_path):
    shard = _first_shard(_write(tmp_path / "run"))
    shard.write_bytes(shard.read_bytes()[:-20])
    for action in (lambda: read_statistics(tmp_path / "run"), lambda: RunWriter(tmp_path / "run", MANIFEST)):
        with pytest.raises(RunError, match=r"shard .*parquet is damaged .*delete that file") as caught:
            action()
        assert "\n" not in str(caught.value)
    shard.unlink()
    _write(tmp_path / "run", [0])  # the lock is free again after the refusal
    assert len(read_statistics(tmp_path / "run")) == 5


def test_a_flipped_byte_is_noticed(tmp_path):
    shard = _first_shard(_write(tmp_path / "run", [0]))
    clean = shard.read_bytes()
    for position in range(8, len(clean) // 3, 7):
        shard.write_bytes(clean[:position] + bytes([clean[position] ^ 0x10]) + clean[position + 1 :])
        try:
            statistics = read_statistics(tmp_path / "run")
        except RunError:
            continue
        assert statistics.estimation_counts.tolist() == [[7, 2, 1]]


def test_a_shard_whose_votes_do_not_add_up_is_refused(tmp_path):
    with RunWriter(tmp_path / "run", MANIFEST) as writer:
        writer.add(_record(0, (7, 2, 2)))
    with pytest.raises(RunError, match="input 0 has 11 estimation votes in 3 classes, the manifest says 10 in 3"):
        read_statistics(tmp_path / "run")


def test_a_shard_of_another_seed_is_refused(tmp_path):
    other = {**MANIFEST, "draws": {**MANIFEST["draws"], "seed": "0x2"}}
    shard = _first_shard(_write(tmp_path / "other", manifest=other))
    _write(tmp_path / "run", [9])
    shard.rename(tmp_path / "run" / "shards" / shard.name)
    with pytest.raises(RunError, match="belongs to another run"):
        read_statistics(tmp_path / "run")


def test_two_writers_of_one_run_are_refused(tmp_path):
    with (
        RunWriter(tmp_path / "run", MANIFEST),
        pytest.raises(RunError, match="being written by another process"),
    ):
        RunWriter(tmp_path / "run", MANIFEST)


@pytest.mark.parametrize(
    "content", [None, "{", '{"schema_version": 1}', '{"schema_version": 99, "draws": {"sigma": 1}}']
)
def test_a_damaged_or_foreign_manifest_is_refused(tmp_path, content):
    _write(tmp_path / "run")
    path = tmp_path / "run" / "manifest.json"
    path.unlink() if content is None else path.write_text(content)
    with pytest.raises(RunError, match=r"manifest\.json"):
        read_statistics(tmp_path / "run")
    with pytest.raises(RunError, match=r"manifest\.json"):
        RunWriter(tmp_path / "run", MANIFEST)


def test_a_text_file_is_no_run(tmp_path):
    (tmp_path / "notes.txt").write_text("hello")
    for path, what in ((tmp_path / "notes.txt", "a file"), (tmp_path / "absent", "missing"), (tmp_path, "manifest")):
        with pytest.raises(RunError, match=f"is not a run folder.*{what}"):
            read_statistics(path)


def test_a_folder_that_cannot_be_written_gives_one_line(tmp_path):
    (tmp_path / "blocked").write_text("a file where the run should be")
    with pytest.raises(RunError, match="cannot write"):
        RunWriter(tmp_path / "blocked", MANIFEST)


SCRIPT = """
import sys, numpy as np, torch, certmix
from certmix.datasets import ArrayDataset
torch.set_num_threads(1)
class Model(torch.nn.Module):
    def forward(self, inputs):
        return torch.stack([inputs.mean((1, 2, 3)), inputs[:, 0, 0, 0], inputs[:, 0, 1, 1]], 1)
generator = np.random.default_rng(0)
inputs = generator.integers(0, 256, (40, 1, 4, 4)).astype(np.float32) / 255
data = ArrayDataset(inputs, generator.integers(0, 3, 40), spec="kill", num_classes=3, grid_levels=255)
print("ready", flush=True)
certmix.sample(Model(), data, sigma=0.5, num_estimation=20_000, seed=3, out=sys.argv[1], device="cpu", flush_seconds=0.0)
"""


@pytest.mark.slow
def test_killed_at_random_moments_nothing_is_lost_damaged_or_counted_twice(tmp_path):
    def start(folder):
        return subprocess.Popen([sys.executable, "-c", SCRIPT, str(folder)], stdout=subprocess.PIPE)

    def finish(folder):
        with start(folder) as process:
            assert process.wait(timeout=300) == 0

    finish(tmp_path / "whole")
    chance, seen = random.Random(0), 0
    for _ in range(20):
        with start(tmp_path / "killed") as process:
            assert process.stdout is not None
            process.stdout.readline()
            time.sleep(chance.uniform(0.0, 0.25))
            process.send_signal(signal.SIGKILL)
        if (tmp_path / "killed" / "manifest.json").exists():
            done = len(read_statistics(tmp_path / "killed"))  # every shard on disk is whole
            assert done >= seen  # and nothing stored is lost
            seen = done
    finish(tmp_path / "killed")
    one, two = certmix.read_statistics(tmp_path / "whole"), certmix.read_statistics(tmp_path / "killed")
    assert one.indices.tolist() == two.indices.tolist() == list(range(40))
    assert np.array_equal(one.estimation_counts, two.estimation_counts)
    assert np.array_equal(one.selection_counts, two.selection_counts)
    assert not list((tmp_path / "killed" / "shards").glob(".writing-*"))
    assert len(list((tmp_path / "killed" / "shards").iterdir())) > 1  # it really was interrupted
