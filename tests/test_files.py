import errno
import os
import stat

import pytest

from certmix.errors import CertmixError, FileError, InvalidArgument
from certmix.files import check_target, write_whole


def _one_line(error):
    assert "\n" not in str(error.value)


def test_a_file_is_written_whole_with_its_folders_and_the_usual_mode(tmp_path):
    path = tmp_path / "a" / "b" / "out.txt"
    write_whole(path, "ä")
    assert path.read_bytes() == "ä".encode()
    assert stat.S_IMODE(path.stat().st_mode) == 0o644
    assert os.listdir(path.parent) == ["out.txt"]


def test_a_file_is_replaced_only_when_asked(tmp_path):
    path = tmp_path / "out"
    write_whole(path, b"old")
    with pytest.raises(InvalidArgument, match="must not exist, but does.*--force"):
        write_whole(path, b"new")
    assert path.read_bytes() == b"old"
    write_whole(path, b"new", force=True)
    assert path.read_bytes() == b"new"


@pytest.mark.parametrize("target", ["victim", "absent"])
def test_a_link_is_replaced_and_never_followed(tmp_path, target):
    victim = tmp_path / "victim"
    victim.write_bytes(b"mine")
    link = tmp_path / "link"
    link.symlink_to(tmp_path / target)
    with pytest.raises(InvalidArgument, match="must not exist"):
        write_whole(link, b"new")
    write_whole(link, b"new", force=True)
    assert victim.read_bytes() == b"mine"
    assert not link.is_symlink()
    assert link.read_bytes() == b"new"
    assert not (tmp_path / "absent").exists()


@pytest.mark.parametrize(
    "name, message",
    [
        ("", "must have a name"),
        (".", "must have a name"),
        ("..", "is a folder"),
        ("a\0b", "must have a name"),
        ("x" * 256, "at most 255 bytes"),
        ("ä" * 128, "at most 255 bytes"),
        ("x" * 256 + "/out", "at most 255 bytes"),
        ("folder", "is a folder; add a file name"),
        ("file/out", "but file is none"),
        ("file/deeper/out", "but file is none"),
    ],
)
def test_names_that_cannot_be_written_are_refused_before_any_work(tmp_path, monkeypatch, name, message):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_bytes(b"mine")
    for attempt in (check_target, lambda path: write_whole(path, b"new")):
        with pytest.raises(InvalidArgument, match=message) as error:
            attempt(name)
        _one_line(error)
    assert sorted(os.listdir(tmp_path)) == ["file", "folder"]


def test_a_colon_is_part_of_a_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    write_whole("a:b/x", b"new")
    assert (tmp_path / "a:b" / "x").read_bytes() == b"new"


def test_a_full_disk_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch):
    path = tmp_path / "out"
    write_whole(path, b"old")

    def full(descriptor):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(FileError, match="No space left on device"):
        write_whole(path, b"new", force=True)
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["out"]


def test_a_folder_without_permission_is_named(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "access", lambda path, mode: False)  # root may write anywhere
    with pytest.raises(FileError, match="no permission in") as error:
        check_target(tmp_path / "deeper" / "out")
    assert isinstance(error.value, CertmixError)
    _one_line(error)


@pytest.mark.parametrize("place", ["counts", "log", "shard", "certificates", "partial"])
def test_a_pipe_is_refused_wherever_a_file_is_read(tmp_path, place):
    from certmix.errors import CertmixError
    from certmix.formats.certificates import FILE, read_certificates
    from certmix.formats.certification_log import read_certification_log
    from certmix.formats.count_table import read_count_table
    from certmix.runs.store import read_statistics
    from certmix.runs.writer import RunWriter
    from tests.records import manifest, record

    run = tmp_path / "run"
    with RunWriter(run, manifest()) as writer:
        writer.add(record(0))
    pipes = {
        "shard": next((run / "shards").iterdir()),
        "certificates": run / FILE,
        "partial": run / "partial-0.parquet",
    }
    pipe = pipes.get(place, tmp_path / "pipe")
    pipe.unlink(missing_ok=True)
    os.mkfifo(pipe)
    if place == "partial":
        with RunWriter(run, manifest()) as writer:
            assert writer.read_partial() == {}
        return
    read = {
        "counts": lambda: read_count_table(pipe),
        "log": lambda: read_certification_log(pipe, sigma=0.5),
        "shard": lambda: read_statistics(run),
        "certificates": lambda: read_certificates(run),
    }[place]
    with pytest.raises(CertmixError, match="must be a regular file, got a folder, pipe or device"):
        read()
