"""Folders of images: order, colour, resizing as the field does it, laziness, and every broken image named."""

import errno
import json
import os
import subprocess
import sys
import zlib

import numpy as np
import pytest
from PIL import Image

from certmix.datasets import load_dataset
from certmix.datasets.images import ImageReader
from certmix.errors import FileError, InvalidArgument
from tests.datasets.files import write_folder


def _refused(message, make):
    with pytest.raises(InvalidArgument, match=message) as caught:
        make()
    assert "\n" not in str(caught.value)


def test_classes_and_images_come_in_order_of_name(tmp_path):
    write_folder(tmp_path, suffix="png")
    (tmp_path / "n01" / "notes.txt").write_text("no image")
    (tmp_path / ".cache").mkdir()
    (tmp_path / "n02" / "deeper").mkdir()
    Image.new("RGB", (16, 16), (255, 0, 128)).save(tmp_path / "n02" / "deeper" / "z.PNG")
    data = load_dataset(f"folder:{tmp_path}")
    assert data.classes == ["n00", "n01", "n02"]
    assert data.labels.tolist() == [0] * 4 + [1] * 4 + [2] * 5
    assert (data.input_shape, data.num_classes, data.grid_levels, len(data)) == ((3, 16, 16), 3, 255, 13)
    stored = np.asarray(Image.open(tmp_path / "n01" / "0002.png"))
    assert np.array_equal((data[6][0].numpy() * 255).round(), stored.transpose(2, 0, 1))
    assert data[12][0][:, 0, 0].tolist() == pytest.approx([1, 0, 128 / 255])


def test_a_split_is_a_folder_and_a_missing_one_is_named(tmp_path):
    write_folder(tmp_path / "val")
    write_folder(tmp_path / "train", per_class=5)
    assert len(load_dataset(f"folder:{tmp_path}", split="val")) == 12
    assert load_dataset(f"folder:{tmp_path}", split="train", max=2).subset["split"] == "train"
    _refused(
        r"holds splits, not classes; choose one with --split train\|val", lambda: load_dataset(f"folder:{tmp_path}")
    )
    _refused("choose --split among train, val", lambda: load_dataset(f"folder:{tmp_path}", split="test"))


def test_resizing_and_cropping_are_those_of_the_field(tmp_path):
    rng = np.random.default_rng(0)
    image = Image.fromarray(rng.integers(0, 256, (60, 90, 3), dtype=np.uint8))
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        image.save(tmp_path / name / "x.png")
    data = load_dataset(f"folder:{tmp_path},resize=32,crop=25")
    assert data.input_shape == (3, 25, 25)
    resized = np.asarray(image.resize((48, 32), Image.Resampling.BILINEAR))
    expected = resized[4:29, 12:37]  # round(3.5) = 4, round(11.5) = 12: halves to even
    assert np.array_equal((data[0][0].numpy() * 255).round(), expected.transpose(2, 0, 1))
    assert load_dataset(f"folder:{tmp_path},resize=30").input_shape == (3, 30, 45)
    tall = load_dataset(f"folder:{tmp_path},mode=grey,resize=30,interpolation=bicubic")
    assert tall.input_shape == (1, 30, 45)
    assert len({data.fingerprint, tall.fingerprint, load_dataset(f"folder:{tmp_path}").fingerprint}) == 3


def test_resizing_agrees_with_torchvision(torchvision):
    from torchvision import transforms

    rng = np.random.default_rng(0)
    for height, width in [(41, 67), (67, 41), (50, 50), (33, 100)]:
        image = Image.fromarray(rng.integers(0, 256, (height, width, 3), dtype=np.uint8))
        theirs = transforms.Compose([transforms.Resize(32), transforms.CenterCrop(27), transforms.ToTensor()])(image)
        ours = ImageReader(mode="rgb", resize=32, crop=27).convert(image, "x")
        assert np.array_equal(theirs.numpy(), ours.numpy())


def test_grey_and_colour_are_kept_apart_or_converted_on_request(tmp_path):
    write_folder(tmp_path, mode="L")
    assert load_dataset(f"folder:{tmp_path}").input_shape == (1, 16, 16)
    assert load_dataset(f"folder:{tmp_path},mode=rgb").input_shape == (3, 16, 16)
    colour = tmp_path / "n01" / "0001.jpg"
    Image.new("RGB", (16, 16)).save(colour)
    data = load_dataset(f"folder:{tmp_path}")
    message = r"0001\.jpg is an RGB image, but the first one is grey; add mode=rgb or mode=grey"
    _refused(message, lambda: data.fingerprint)
    _refused(message, lambda: data[5])
    converted = load_dataset(f"folder:{tmp_path},mode=rgb")
    assert converted[5][0].shape == (3, 16, 16)
    assert len(converted.fingerprint) == 64


def test_broken_images_are_named_before_anything_is_decoded(tmp_path):
    write_folder(tmp_path, per_class=3, side=64)
    path = tmp_path / "n01" / "0002.jpg"
    whole = path.read_bytes()
    for content, message in [
        (whole[: len(whole) // 2], r"0002\.jpg is truncated \(it has no end-of-image marker\)"),
        (b"", r"0002\.jpg is not an image that can be read"),
        (b"<!DOCTYPE html><html></html>", r"0002\.jpg is not an image that can be read"),
    ]:
        path.write_bytes(content)
        data = load_dataset(f"folder:{tmp_path}")
        _refused(message, lambda data=data: data.fingerprint)
        _refused(r"0002\.jpg (is not an image|cannot be decoded)", lambda data=data: data[5])
        assert data[4][0].shape == (3, 64, 64)
        assert len(load_dataset(f"folder:{tmp_path}", indices="0,4").fingerprint) == 64  # not in this subset
    path.write_bytes(whole[:-40] + b"\xff\xd9")  # ends as it should, but lacks data
    Image.new("RGB", (70, 64)).save(tmp_path / "n01" / "0001.jpg")
    _refused(r"0001\.jpg must be 64 x 64 as the first one, got 64 x 70; add resize", lambda: data.fingerprint)
    path.unlink()
    _refused(r"image must exist, got .*0002\.jpg", lambda: data[5])
    _refused(r"image must exist, got .*0002\.jpg", lambda: data.input_bytes(5))


def test_a_fingerprint_decodes_nothing_and_covers_bytes_labels_and_options(tmp_path, monkeypatch):
    write_folder(tmp_path)
    data = load_dataset(f"folder:{tmp_path}")
    before = data.fingerprint
    decoded = []
    monkeypatch.setattr(ImageReader, "read", lambda self, path: decoded.append(path))
    assert load_dataset(f"folder:{tmp_path}").fingerprint == before
    assert decoded == []
    monkeypatch.undo()
    path = tmp_path / "n02" / "0003.jpg"
    path.write_bytes(path.read_bytes() + b"x")
    assert load_dataset(f"folder:{tmp_path}").fingerprint != before
    assert (
        load_dataset(f"folder:{tmp_path}", max=11).fingerprint == load_dataset(f"folder:{tmp_path}", max=11).fingerprint
    )


def test_a_list_of_classes_gives_the_models_order(tmp_path):
    write_folder(tmp_path)
    (tmp_path / "classes.txt").write_text("n05 tench\nn02 goldfish\nn00\nn01\n")
    spec = f"folder:{tmp_path},classes={tmp_path / 'classes.txt'}"
    data = load_dataset(spec)
    assert data.num_classes == 4
    assert data.labels.tolist() == [1] * 4 + [2] * 4 + [3] * 4
    (tmp_path / "classes.txt").write_text("n00\nn01\n")
    _refused(r"got none for \['n02'\]", lambda: load_dataset(spec))


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ("mode=cmyk", "mode must be auto, rgb or grey, got 'cmyk'"),
        ("resize=0", "resize must be >= 1 pixel, got 0"),
        ("resize=big", "resize must be an integer"),
        ("crop=17", "crop must be at most the image's shorter side, got 17"),
        ("interpolation=cubic", "interpolation must be one of bilinear, bicubic"),
        ("classes=absent.txt", "classes file must exist, got 'absent.txt'"),
        ("colour=1", "must be among mode, resize, crop"),
    ],
)
def test_bad_options_are_named(tmp_path, options, message):
    write_folder(tmp_path)
    _refused(message, lambda: load_dataset(f"folder:{tmp_path},{options}"))


def test_folders_without_images_are_named(tmp_path):
    _refused("got none in", lambda: load_dataset(f"folder:{tmp_path}"))
    (tmp_path / "n00").mkdir()
    _refused(r"n00 must hold images \(\.jpg", lambda: load_dataset(f"folder:{tmp_path}"))
    Image.new("I;16", (8, 8)).save(tmp_path / "n00" / "a.png")
    _refused("has mode I;16, neither RGB nor grey", lambda: load_dataset(f"folder:{tmp_path}"))
    _refused("must have 2 to 100,000 classes, got 1 in folder:", lambda: load_dataset(f"folder:{tmp_path},mode=grey"))
    (tmp_path / "n01").mkdir()
    Image.new("L", (8, 8)).save(tmp_path / "n01" / "a.png")
    deep = load_dataset(f"folder:{tmp_path},mode=grey")
    _refused("must have 8 bits per channel, got mode I;16", lambda: deep[0])
    _refused(r"no such folder\); check the path", lambda: load_dataset(f"folder:{tmp_path / 'absent'}"))


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="no FIFOs on this system")
@pytest.mark.parametrize("name", ["n00/0000.jpg", "n01/0001.jpg"])
def test_a_pipe_or_a_device_among_images_is_named_and_not_waited_for(tmp_path, name):
    write_folder(tmp_path)
    (tmp_path / name).unlink()
    os.mkfifo(tmp_path / name)

    def read():
        data = load_dataset(f"folder:{tmp_path}")
        return data[5], data.fingerprint

    _refused(rf"{name} must be a regular file, got a folder, pipe or device", read)
    (tmp_path / name).unlink()
    (tmp_path / name).symlink_to("/dev/zero")
    _refused(rf"{name} must be a regular file, got a folder, pipe or device", read)


def test_huge_images_and_files_are_refused_undecoded(tmp_path, monkeypatch):
    write_folder(tmp_path, suffix="png")
    huge = (tmp_path / "n00" / "0000.png").read_bytes()
    for width, height in ((100_000, 100_000), (2**30, 2**30), (9000, 9000)):
        header = b"IHDR" + width.to_bytes(4, "big") + height.to_bytes(4, "big") + huge[24:29]
        content = huge[:12] + header + zlib.crc32(header).to_bytes(4, "big") + huge[33:]
        (tmp_path / "n00" / "0000.png").write_bytes(content)
        _refused("pixels", lambda: load_dataset(f"folder:{tmp_path}"))
    (tmp_path / "n00" / "0000.png").write_bytes(huge)
    for side in (10_000, 10**9, 10**18):
        _refused(
            "images must have at most 67,108,864 pixels, also resized",
            lambda side=side: load_dataset(f"folder:{tmp_path},resize={side}"),
        )
    monkeypatch.setattr("certmix.datasets.images._MOST_BYTES", 100)
    _refused("must have at most 100 bytes, got more", lambda: load_dataset(f"folder:{tmp_path}"))


@pytest.mark.parametrize("code", [errno.EMFILE, errno.EACCES, errno.EIO])
def test_an_image_that_cannot_be_opened_now_is_not_called_damaged(tmp_path, monkeypatch, code):
    write_folder(tmp_path)
    data = load_dataset(f"folder:{tmp_path}")

    def fail(*arguments, **options):
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(os, "open", fail)
    with pytest.raises(FileError, match="cannot be read now .*it may well be whole"):
        data[0]


_MEASURE = """
import json, resource, sys, torch
torch.set_num_threads(1)
import certmix
from certmix.sampling.execution import Execution

class Mean(torch.nn.Module):
    def forward(self, x):
        return torch.stack([x.mean((1, 2, 3)), 0.5 - 0 * x.mean((1, 2, 3))], dim=1)

def resident():
    with open("/proc/self/statm") as handle:
        return int(handle.read().split()[1]) * resource.getpagesize() / 2**20

seen = []
spec = f"folder:{sys.argv[1]},mode=rgb"
how = {"sigma": 0.25, "num_selection": 4, "num_estimation": 4, "seed": 0}
how["execution"] = Execution(batch_size=8, flush_seconds=0.5)
certmix.sample(Mean(), certmix.load_dataset(spec, max=20), out=sys.argv[2] + "-first", **how)  # brings libraries in
data = certmix.load_dataset(spec)
certmix.sample(Mean(), data, out=sys.argv[2], progress=lambda done, total: seen.append(resident()), **how)
print(json.dumps({"inputs": len(data), "resident": seen}))
"""


@pytest.mark.slow
def test_memory_stays_flat_over_many_images(tmp_path):
    write_folder(tmp_path / "images", classes=2, per_class=1, side=64)
    for label in range(2):
        first = tmp_path / "images" / f"n{label:02d}" / "0000.jpg"
        for number in range(1, 750):
            (first.parent / f"{number:04d}.jpg").hardlink_to(first)
    command = [sys.executable, "-c", _MEASURE, str(tmp_path / "images"), str(tmp_path / "run")]
    measured = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    assert measured["inputs"] == 1500
    resident = measured["resident"]
    # All inputs together, held as float32, would be 70 MiB; what is held is what was drawn since the last shard.
    assert max(resident[200:]) - resident[200] < 16
