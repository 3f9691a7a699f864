"""CIFAR's binary files and MNIST's IDX files: every image comes back, from disk; damage and other formats are named."""

import gzip
import os
import pickle
import re

import numpy as np
import pytest
import torch

from certmix.datasets import load_dataset
from certmix.errors import InvalidArgument
from tests.datasets.files import write_cifar10, write_cifar100, write_mnist


def _bytes(data):
    return np.stack([(data[i][0].numpy() * 255).round().astype(np.uint8) for i in range(len(data))])


@pytest.mark.parametrize("inside", ["", "cifar-10-batches-bin"])
def test_cifar10_images_come_back_bit_for_bit(tmp_path, inside):
    images, labels = write_cifar10(tmp_path / inside, count=30)
    data = load_dataset(f"cifar10:{tmp_path}")
    assert (len(data), data.input_shape, data.num_classes, data.grid_levels) == (30, (3, 32, 32), 10, 255)
    assert np.array_equal(_bytes(data), images)
    assert np.array_equal(data.labels, labels)
    assert [data[i][1] for i in range(30)] == labels.tolist()
    assert data.subset == {"split": "test"}
    image, _ = data[7]
    assert image.dtype == torch.float32
    assert torch.equal(image, torch.from_numpy(images[7].astype(np.float32) / np.float32(255)))


def test_training_batches_follow_each_other(tmp_path):
    write_cifar10(tmp_path, count=20)
    data = load_dataset(f"cifar10:{tmp_path}", split="train")
    assert len(data) == 100
    stored = [
        np.frombuffer((tmp_path / f"data_batch_{p}.bin").read_bytes(), np.uint8).reshape(20, 3073) for p in range(1, 6)
    ]
    stored = np.concatenate(stored)
    assert np.array_equal(data.labels, stored[:, 0])
    assert np.array_equal(_bytes(data).reshape(100, -1), stored[:, 1:])
    part = load_dataset(f"cifar10:{tmp_path}", split="train", skip=7, max=4)
    assert part.indices.tolist() == [0, 7, 14, 21]
    assert np.array_equal(_bytes(part).reshape(4, -1), stored[[0, 7, 14, 21], 1:])
    assert part.subset == {"split": "train", "skip": 7, "max": 4, "indices": None}


def test_cifar100_has_fine_and_coarse_labels(tmp_path):
    images, coarse, fine = write_cifar100(tmp_path)
    data = load_dataset(f"cifar100:{tmp_path}")
    assert (data.num_classes, data.spec) == (100, f"cifar100:{tmp_path}")
    assert np.array_equal(data.labels, fine)
    assert np.array_equal(_bytes(data), images)
    superclasses = load_dataset(f"cifar100:{tmp_path},labels=coarse")
    assert superclasses.num_classes == 20
    assert np.array_equal(superclasses.labels, coarse)
    assert superclasses.fingerprint != data.fingerprint


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("inside", ["", "MNIST/raw"])
def test_mnist_images_come_back_bit_for_bit(tmp_path, packed, inside):
    images, labels = write_mnist(tmp_path / inside, packed=packed)
    data = load_dataset(f"mnist:{tmp_path}")
    assert (data.input_shape, data.num_classes, data.grid_levels) == ((1, 28, 28), 10, 255)
    assert np.array_equal(_bytes(data)[:, 0], images)
    assert np.array_equal(data.labels, labels)


def test_a_fingerprint_covers_the_images_of_the_subset(tmp_path):
    write_cifar10(tmp_path, count=10)
    spec, path = f"cifar10:{tmp_path}", tmp_path / "test_batch.bin"
    before = load_dataset(spec).fingerprint, load_dataset(spec, max=5).fingerprint
    assert before[0] == load_dataset(spec).fingerprint
    content = bytearray(path.read_bytes())
    content[-1] ^= 1  # the last image
    path.write_bytes(content)
    after = load_dataset(spec).fingerprint, load_dataset(spec, max=5).fingerprint
    assert after[0] != before[0]
    assert after[1] == before[1]


def test_a_tilde_is_the_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    write_cifar10(tmp_path / "data", count=3)
    assert len(load_dataset("cifar10:~/data")) == 3


def _refused(spec, message, **options):
    with pytest.raises(InvalidArgument, match=message) as caught:
        load_dataset(spec, **options)
    assert "\n" not in str(caught.value)


def test_cifar_folders_that_cannot_be_read_are_named(tmp_path):
    _refused(f"cifar10:{tmp_path / 'absent'}", r"must be a folder that holds test_batch\.bin .* \(no such folder\)")
    _refused(f"cifar10:{tmp_path}", r"a folder without test_batch\.bin")
    write_cifar10(tmp_path / "cut", count=10)
    path = tmp_path / "cut" / "test_batch.bin"
    path.write_bytes(path.read_bytes()[:-100])
    _refused(f"cifar10:{tmp_path / 'cut'}", r"records of 3073 bytes, got 9 and 2973 bytes more; it is truncated")
    path.write_bytes(b"")
    _refused(f"cifar10:{tmp_path / 'cut'}", "got 0 and 0 bytes more")
    path.write_bytes(bytes([10]) + bytes(3072))
    _refused(f"cifar10:{tmp_path / 'cut'}", r"must be in 0\.\.9, got 10 at input 0")
    (tmp_path / "cut" / "data_batch_3.bin").unlink()
    _refused(f"cifar10:{tmp_path / 'cut'}", r"got no data_batch_3\.bin", split="train")
    _refused(f"cifar10:{tmp_path / 'cut'}", "must be train or test, got 'val'", split="val")
    _refused(f"cifar10:{tmp_path / 'cut'},resize=3", "options of")
    _refused(f"cifar100:{tmp_path},labels=both", "must be fine or coarse, got 'both'")


@pytest.mark.parametrize(
    ("source", "inside", "files"),
    [
        ("cifar10", "cifar-10-batches-py", ["data_batch_1", "test_batch"]),
        ("cifar10", "", ["data_batch_1", "test_batch"]),
        ("cifar100", "cifar-100-python", ["train", "test"]),
    ],
)
def test_the_python_pickle_version_is_recognised_and_never_loaded(tmp_path, source, inside, files):
    class Hostile:
        def __reduce__(self):
            return (open, (str(tmp_path / "ran"), "w"))

    (tmp_path / inside).mkdir(exist_ok=True)
    for name in files:
        (tmp_path / inside / name).write_bytes(pickle.dumps({b"data": Hostile()}))
    _refused(
        f"{source}:{tmp_path}",
        r"holds the python-pickle version .* get the binary version \(cifar-100?-binary\.tar\.gz\)",
    )
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(("source", "split"), [("cifar10", "test"), ("cifar10", "train"), ("cifar100", "test")])
def test_the_command_that_converts_the_pickle_version_does(tmp_path, monkeypatch, source, split):
    wanted = np.random.default_rng(0).integers(0, 256, (10, 3, 32, 32), dtype=np.uint8)
    names = {"cifar100": [split]}.get(source, ["test_batch"])
    if (source, split) == ("cifar10", "train"):
        names = [f"data_batch_{part}" for part in range(1, 6)]
    parts = zip(names, np.split(wanted, len(names)), np.split(np.arange(10), len(names)), strict=True)
    for name, images, labels in parts:
        content = {
            b"data": images.reshape(len(images), -1),
            b"labels": labels.tolist(),
            b"fine_labels": labels.tolist(),
        }
        (tmp_path / name).write_bytes(pickle.dumps(content))
    with pytest.raises(InvalidArgument) as caught:
        load_dataset(f"{source}:{tmp_path}", split=split)
    code, spec = re.search('python -c "(.*)", and use (npz:.*[.]npz)[.]$', str(caught.value)).groups()
    monkeypatch.chdir(tmp_path)
    exec(compile(code, "converts", "exec"), {})
    data = load_dataset(spec)
    assert data.labels.tolist() == list(range(10))
    assert torch.equal(data[7][0], torch.from_numpy(wanted[7] / np.float32(255)))


def test_a_file_cut_while_in_use_is_named(tmp_path):
    write_cifar10(tmp_path, count=5)
    data = load_dataset(f"cifar10:{tmp_path}")
    with (tmp_path / "test_batch.bin").open("r+b") as handle:
        handle.truncate(3073 * 4 + 10)
    with pytest.raises(InvalidArgument, match=r"test_batch\.bin is truncated: it ends inside image 4"):
        data[4]
    with pytest.raises(IndexError):
        data[5]


def test_idx_files_that_cannot_be_read_are_named(tmp_path):
    _refused(f"mnist:{tmp_path}", "must be a folder that holds t10k-images-idx3-ubyte")
    write_mnist(tmp_path)
    images = tmp_path / "t10k-images-idx3-ubyte"
    whole = images.read_bytes()
    images.write_bytes(whole[:-1])
    _refused(f"mnist:{tmp_path}", r"is truncated: 31375 of 31376 bytes")
    images.write_bytes(b"<!DOCTYPE html>" + whole)
    _refused(f"mnist:{tmp_path}", r"must be an IDX file of bytes with 3 dimension\(s\), got one that starts '3c21444f'")
    images.write_bytes(whole)
    _refused(f"mnist:{tmp_path},num_classes=3", r"must be in 0\.\.2")
    labels = tmp_path / "t10k-labels-idx1-ubyte"
    labels.write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 2, 1, 1]))
    _refused(f"mnist:{tmp_path}", "must hold as many items, got 40 and 2")
    images.rename(tmp_path / "t10k-images-idx3-ubyte.gz")
    _refused(f"mnist:{tmp_path}", "must be a whole gzip file")
    _refused(f"mnist:{tmp_path}", "split of mnist must be train or test", split="val")


def test_a_packed_idx_file_that_inflates_to_gigabytes_is_refused(tmp_path, monkeypatch):
    write_mnist(tmp_path, packed=True)
    path = tmp_path / "t10k-images-idx3-ubyte.gz"
    path.write_bytes(gzip.compress(gzip.decompress(path.read_bytes()) + bytes(3 * 10**7)))
    monkeypatch.setattr("certmix.datasets.records._UNPACKED", 10**6)
    _refused(f"mnist:{tmp_path}", r"idx3-ubyte\.gz must unpack to at most [0-9,]+ bytes, got more")


@pytest.mark.parametrize("sizes", [(2**32 - 1,) * 3, (40, 0, 28), (0, 28, 28)])
def test_idx_sizes_that_hold_no_images_are_refused(tmp_path, sizes):
    write_mnist(tmp_path)
    content = bytes([0, 0, 8, 3]) + b"".join(size.to_bytes(4, "big") for size in sizes)
    (tmp_path / "t10k-images-idx3-ubyte").write_bytes(content)
    labels = bytes([0, 0, 8, 1]) + sizes[0].to_bytes(4, "big") + bytes(min(sizes[0], 40))
    (tmp_path / "t10k-labels-idx1-ubyte").write_bytes(labels)
    _refused(f"mnist:{tmp_path}", "is truncated|at least one input")


def test_files_are_read_where_the_system_has_no_pread(tmp_path, monkeypatch):
    images, _ = write_mnist(tmp_path)
    monkeypatch.delattr(os, "pread")
    assert np.array_equal(_bytes(load_dataset(f"mnist:{tmp_path}"))[:, 0], images)
