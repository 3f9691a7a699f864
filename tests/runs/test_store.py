"""Run folders: whole shards only, resume after a kill, refusal of anything that does not belong."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from certmix.errors import RunError
from certmix.runs import writer as writer_module
from certmix.runs.store import read_statistics, shard_rows
from certmix.runs.writer import RunWriter
from tests.records import manifest, record


def _write(folder, indices=range(5), made=None):
    with RunWriter(folder, made or manifest(), flush_seconds=0.0) as writer:
        for index in indices:
            writer.add(record(index))
    return folder


def _first_shard(folder) -> Path:
    return min((folder / "shards").glob("*.parquet"))


def test_what_is_written_is_read(tmp_path):
    statistics = read_statistics(_write(tmp_path / "run"))
    assert statistics.indices.tolist() == [0, 1, 2, 3, 4]
    assert statistics.labels.tolist() == [0, 1, 2, 0, 1]
    assert statistics.estimation_counts.tolist() == [[7, 2, 1]] * 5
    assert (statistics.num_classes, statistics.draws.num_selection, statistics.draws.num_estimation) == (3, 4, 10)
    assert statistics.accurate_probabilities is None
    assert sorted(p.name for p in (tmp_path / "run").iterdir()) == [".lock", "manifest.json", "shards"]


def test_parts_of_one_run_are_merged_and_the_same_votes_count_once(tmp_path):
    _write(tmp_path / "a", range(3))
    _write(tmp_path / "b", range(2, 6))
    assert read_statistics(tmp_path / "a", tmp_path / "b").indices.tolist() == [0, 1, 2, 3, 4, 5]


def test_different_votes_for_one_input_are_refused(tmp_path):
    _write(tmp_path / "run", [1])
    with RunWriter(tmp_path / "other", manifest()) as writer:
        writer.add(record(1, (6, 3, 1)))
    with pytest.raises(RunError, match="input 1 was drawn twice with different votes"):
        read_statistics(tmp_path / "run", tmp_path / "other")


def test_parts_of_different_runs_are_refused(tmp_path):
    other = manifest(sigma=0.25)
    with pytest.raises(RunError, match=r"disagrees on sigma: the run has 0\.5, asked for is 0\.25"):
        read_statistics(_write(tmp_path / "a"), _write(tmp_path / "b", made=other))


def test_a_truncated_shard_is_named_with_its_remedy(tmp_path):
    shard = _first_shard(_write(tmp_path / "run"))
    shard.write_bytes(shard.read_bytes()[:-20])
    for action in (lambda: read_statistics(tmp_path / "run"), lambda: RunWriter(tmp_path / "run", manifest())):
        with pytest.raises(RunError, match=r"shard .*parquet is damaged .*delete that file") as caught:
            action()
        assert "\n" not in str(caught.value)
    shard.unlink()
    _write(tmp_path / "run", [0])  # the lock is free again after the refusal
    assert len(read_statistics(tmp_path / "run")) == 5


def test_a_flipped_byte_is_noticed(tmp_path):
    shard = _first_shard(_write(tmp_path / "run", [0]))
    clean = shard.read_bytes()
    for position in range(0, len(clean), 5):
        shard.write_bytes(clean[:position] + bytes([clean[position] ^ 0x10]) + clean[position + 1 :])
        with pytest.raises(RunError, match="is damaged"):
            read_statistics(tmp_path / "run")


def test_a_shard_whose_votes_do_not_add_up_is_refused(tmp_path):
    with RunWriter(tmp_path / "run", manifest()) as writer:
        writer.add(record(0, (7, 2, 2)))
    with pytest.raises(RunError, match="must hold 10 estimation votes for every input, and does not for input 0"):
        read_statistics(tmp_path / "run")


def test_a_shard_of_another_seed_is_refused(tmp_path):
    other = manifest(seed=2)
    shard = _first_shard(_write(tmp_path / "other", made=other))
    _write(tmp_path / "run", [9])
    shard.rename(tmp_path / "run" / "shards" / shard.name)
    with pytest.raises(RunError, match="belongs to another run"):
        read_statistics(tmp_path / "run")


def test_two_writers_of_one_run_are_refused(tmp_path):
    with (
        RunWriter(tmp_path / "run", manifest()),
        pytest.raises(RunError, match="being written by another process"),
    ):
        RunWriter(tmp_path / "run", manifest())


@pytest.mark.parametrize(
    "content", [None, "{", "[]", '{"schema_version": 2}', '{"schema_version": 99, "draws": {"sigma": 1}}']
)
def test_a_damaged_or_foreign_manifest_is_refused(tmp_path, content):
    _write(tmp_path / "run")
    path = tmp_path / "run" / "manifest.json"
    path.unlink() if content is None else path.write_text(content)
    with pytest.raises(RunError, match=r"manifest\.json"):
        read_statistics(tmp_path / "run")
    with pytest.raises(RunError, match=r"manifest\.json"):
        RunWriter(tmp_path / "run", manifest())


def test_a_text_file_is_no_run(tmp_path):
    (tmp_path / "notes.txt").write_text("hello")
    for path, what in ((tmp_path / "notes.txt", "a file"), (tmp_path / "absent", "missing"), (tmp_path, "manifest")):
        with pytest.raises(RunError, match=f"is not a run folder.*{what}"):
            read_statistics(path)


def test_a_folder_that_cannot_be_written_gives_one_line(tmp_path):
    (tmp_path / "blocked").write_text("a file where the run should be")
    with pytest.raises(RunError, match="cannot write"):
        RunWriter(tmp_path / "blocked", manifest())


SCRIPT = """
import sys, time
from certmix.runs.writer import RunWriter
from tests.records import manifest, record
print("ready", flush=True)
with RunWriter(sys.argv[1], manifest(), flush_seconds=0.0) as writer:
    for index in range(60):
        if index not in writer.done:
            time.sleep(0.003)
            writer.add(record(index))
"""


@pytest.mark.slow
def test_killed_at_random_moments_nothing_is_lost_damaged_or_counted_twice(tmp_path):
    def start():
        place = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
        return subprocess.Popen(
            [sys.executable, "-c", SCRIPT, str(tmp_path / "run")], stdout=subprocess.PIPE, env=place
        )

    def _shards():
        return len(list(tmp_path.glob("run/shards/*.parquet")))

    chance, seen, kills = random.Random(0), 0, 0
    for _ in range(10):
        with start() as process:
            assert process.stdout is not None
            process.stdout.readline()
            wanted = _shards() + chance.randint(0, 4)
            while process.poll() is None and _shards() < wanted:
                time.sleep(0.001)
            time.sleep(chance.uniform(0.0, 0.005))
            process.send_signal(signal.SIGKILL)
        if (tmp_path / "run" / "manifest.json").exists():
            done = len(read_statistics(tmp_path / "run"))  # every shard on disk is whole
            assert done >= seen  # and nothing stored is lost
            kills += 0 < done < 60
            seen = done
    with start() as process:
        assert process.wait(timeout=300) == 0
    statistics = read_statistics(tmp_path / "run")
    assert statistics.indices.tolist() == list(range(60))
    assert statistics.estimation_counts.tolist() == [[7, 2, 1]] * 60
    assert not list((tmp_path / "run" / "shards").glob(".writing-*"))
    assert kills  # it really was interrupted


def test_runs_are_read_where_there_are_no_file_locks(tmp_path):
    _write(tmp_path / "run")
    code = "import sys; sys.modules['fcntl'] = None; import certmix.runs.writer, certmix.cli.main, certmix; "
    code += f"print(len(certmix.read_statistics({str(tmp_path / 'run')!r})))"
    place = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=place)
    assert said.stdout == "5\n"


def test_small_shards_are_merged_and_no_row_is_lost(tmp_path, monkeypatch):
    monkeypatch.setattr(writer_module, "_MOST_PENDING", 4)
    run, order = tmp_path / "run", [6, 0, 3, 1, 9, 4, 2]
    with RunWriter(run, manifest(), flush_seconds=0.0) as writer:
        for index in order:
            writer.add(record(index, votes=(index, 9 - index, 1)))
        shards = {path: path.read_bytes() for path in (run / "shards").iterdir()}
        before = read_statistics(run)
        writer.merge_shards()
    assert sorted(shard_rows(path) for path in (run / "shards").iterdir()) == [3, 4]
    assert np.array_equal(read_statistics(run).estimation_counts, before.estimation_counts)
    for path, content in shards.items():  # as a kill between the new shard and the old ones' end leaves them
        path.write_bytes(content)
    assert np.array_equal(read_statistics(run).estimation_counts, before.estimation_counts)
    with RunWriter(run, manifest()) as writer:
        writer.merge_shards()
    assert np.array_equal(read_statistics(run).estimation_counts, before.estimation_counts)
    assert read_statistics(run).indices.tolist() == sorted(order)


def test_one_small_shard_stays_the_file_that_it_is(tmp_path):
    run = tmp_path / "run"
    with RunWriter(run, manifest()) as writer:
        writer.add(record(0))
        writer.flush()
        (path,) = (run / "shards").iterdir()
        again = path.stat().st_ino
        writer.merge_shards()
    assert path.stat().st_ino == again
