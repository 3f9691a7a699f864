"""Archives: what is read is what was stored, and what their headers promise but do not hold is refused."""

import errno
import os
import zipfile

import numpy as np
import pytest

from certmix.datasets import ArrayDataset, load_dataset
from certmix.errors import FileError, InvalidArgument

IMAGES = np.random.default_rng(0).integers(0, 256, (4, 3, 2, 2), dtype=np.uint8)


def _refused(path, message, kind=InvalidArgument):
    with pytest.raises(kind, match=message) as caught:
        load_dataset(f"npz:{path}")
    assert "\n" not in str(caught.value)


def _archive(path, method=zipfile.ZIP_STORED, **members):
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)
    return path


def _array(shape, content, descr="|u1"):
    header = f"{{'descr': {descr!r}, 'fortran_order': False, 'shape': {shape!r}}}".encode()
    header += b" " * (-(len(header) + 11) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header + content


LABELS = _array((4,), np.array([0, 1, 2, 1], "<i8").tobytes(), "<i8")


def test_npz_files_of_bytes_and_of_floats(tmp_path):
    images = np.random.default_rng(0).integers(0, 256, (4, 3, 2, 2), dtype=np.uint8)
    np.savez(tmp_path / "bytes.npz", inputs=images, labels=[0, 1, 2, 1])
    data = load_dataset(f"npz:{tmp_path / 'bytes.npz'}")
    assert (data.grid_levels, data.num_classes, len(data)) == (255, 3, 4)
    assert np.array_equal(np.stack([(data[i][0].numpy() * 255).round() for i in range(4)]), images)
    same = ArrayDataset(images / np.float32(255), [0, 1, 2, 1], grid_levels=255)
    assert data.fingerprint == same.fingerprint  # however it is stored
    for save, order in ((np.savez_compressed, "C"), (np.savez, "F")):
        save(tmp_path / "other.npz", inputs=np.asarray(images, order=order), labels=[0, 1, 2, 1])
        assert load_dataset(f"npz:{tmp_path / 'other.npz'}").fingerprint == data.fingerprint
    np.savez(tmp_path / "floats.npz", inputs_test=images / 255.0, labels_test=[0, 1, 2, 1])
    floats = load_dataset(f"npz:{tmp_path / 'floats.npz'},num_classes=10", split="test")
    assert (floats.grid_levels, floats.num_classes) == (None, 10)
    content = (tmp_path / "bytes.npz").read_bytes()
    place = content.index(images.tobytes())
    (tmp_path / "flipped.npz").write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
    with pytest.raises(InvalidArgument, match=r"must be an \.npz archive of plain arrays, got: Bad CRC-32"):
        load_dataset(f"npz:{tmp_path / 'flipped.npz'}")
    np.savez(tmp_path / "short.npz", inputs=images, labels=[0, 1, 2])
    with pytest.raises(InvalidArgument, match="must be integers, one for each of 4 inputs"):
        load_dataset(f"npz:{tmp_path / 'short.npz'}")
    np.savez(tmp_path / "objects.npz", inputs=np.array([{"a": 1}], dtype=object), labels=[0])
    with pytest.raises(InvalidArgument, match=r"must be an \.npz archive of plain arrays"):
        load_dataset(f"npz:{tmp_path / 'objects.npz'}")


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
@pytest.mark.parametrize(("shape", "descr"), [((4, 3, 2, 2), "|u1"), ((4, 3), "<f4")])
@pytest.mark.parametrize("change", [-1, 1])
def test_an_array_shorter_or_longer_than_its_header_says_is_refused(tmp_path, method, shape, descr, change):
    whole = bytes(int(np.prod(shape)) * np.dtype(descr).itemsize)
    content = whole[:-1] if change < 0 else whole + b"x"
    path = _archive(tmp_path / "a.npz", method, inputs=_array(shape, content, descr), labels=LABELS)
    _refused(path, rf"got 'inputs' of .* in {len(_array(shape, content, descr))} bytes, where it needs")


def test_labels_shorter_than_their_header_says_are_refused(tmp_path):
    path = _archive(tmp_path / "a.npz", inputs=_array((4, 3), bytes(12)), labels=LABELS[:-8])
    _refused(path, "got 'labels' of int64")


@pytest.mark.parametrize(
    "shape", [(-4, -3), (4, -1), (2**40, 2**40), (2**63, 2), (0, 3), (4, 0), (), (4,)], ids=lambda shape: f"{shape}"
)
def test_shapes_that_hold_no_inputs_are_refused(tmp_path, shape):
    path = _archive(tmp_path / "a.npz", inputs=_array(shape, bytes(12)), labels=LABELS)
    _refused(path, None)
    empty = _archive(tmp_path / "b.npz", inputs=_array((0, 3), b""), labels=_array((0,), b"", "<i8"))
    _refused(empty, "at least one input")


@pytest.mark.parametrize("name", ["inputs", "labels"])
def test_an_archive_that_inflates_to_gigabytes_is_refused_unread(tmp_path, monkeypatch, name):
    monkeypatch.setattr("certmix.datasets.records._UNPACKED", 10**6)
    monkeypatch.setattr(zipfile.ZipExtFile, "_read1", _limited(zipfile.ZipExtFile._read1))
    bomb = _array((4, 10**6), bytes(4 * 10**6)) if name == "inputs" else _array((10**6,), bytes(8 * 10**6), "<i8")
    members = {"inputs": _array((4, 3), bytes(12)), "labels": LABELS, name: bomb}
    path = _archive(tmp_path / "bomb.npz", zipfile.ZIP_DEFLATED, **members)
    _refused(path, rf"'{name}' of .* must unpack to at most 1,000,000 bytes, got [48],000,")


def _limited(read):
    def read_a_header(self, count):
        assert count <= 2**16, "the bomb itself must not be read"
        return read(self, count)

    return read_a_header


def test_pipes_folders_and_other_files_are_no_archives(tmp_path):
    _refused(tmp_path / "absent.npz", "npz file must exist, got .*; check the path")
    _refused(tmp_path, "must be a regular file|must be a file that can be read")
    if hasattr(os, "mkfifo"):
        os.mkfifo(tmp_path / "pipe.npz")
        _refused(tmp_path / "pipe.npz", "must be a regular file, got a folder, pipe or device")
    for content in (b"", b"PK", b"<html>", _array((2,), b"ab")):
        (tmp_path / "x.npz").write_bytes(content)
        _refused(tmp_path / "x.npz", "must be an .npz archive of plain arrays, got: File is not a zip file")
    deep = _array((4, 3), bytes(12)).replace(b"(4, 3)", b"(" * 900 + b"4" + b")" * 900)
    _refused(_archive(tmp_path / "deep.npz", inputs=deep, labels=LABELS), None)


def test_every_flipped_bit_is_refused_or_changes_nothing(tmp_path):
    np.savez_compressed(tmp_path / "a.npz", inputs=IMAGES, labels=[0, 1, 2, 1])
    content, fingerprint = (tmp_path / "a.npz").read_bytes(), load_dataset(f"npz:{tmp_path / 'a.npz'}").fingerprint
    rng = np.random.default_rng(1)
    for place, bit in zip(rng.integers(0, len(content), 300), rng.integers(0, 8, 300), strict=True):
        flipped = content[:place] + bytes([content[place] ^ (1 << bit)]) + content[place + 1 :]
        (tmp_path / "b.npz").write_bytes(flipped)
        try:
            assert load_dataset(f"npz:{tmp_path / 'b.npz'}").fingerprint == fingerprint
        except (InvalidArgument, FileError) as error:
            assert "\n" not in str(error)  # noqa: PT017


@pytest.mark.parametrize("code", [errno.EMFILE, errno.EACCES, errno.EIO])
def test_an_archive_that_cannot_be_opened_now_is_not_called_damaged(tmp_path, monkeypatch, code):
    path = _archive(tmp_path / "a.npz", inputs=_array((4, 3), bytes(12)), labels=LABELS)

    def fail(*arguments, **options):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "open", fail)
    _refused(path, "cannot be read now .*it may well be whole", FileError)


def test_an_archive_that_does_not_fit_into_memory_is_not_called_damaged(tmp_path, monkeypatch):
    path = _archive(tmp_path / "a.npz", inputs=_array((4, 3), bytes(48), "<f4"), labels=LABELS)

    def fail(*arguments, **options):
        raise MemoryError

    monkeypatch.setattr(np.lib.format, "read_array", fail)
    _refused(path, "does not fit into memory", FileError)
