"""Data sets of others: a user's Python file, any map-style data set, torchvision and Hugging Face where they import."""

import sys

import numpy as np
import pytest
import torch
from PIL import Image

from certmix.datasets import load_dataset
from certmix.datasets.images import ImageReader
from certmix.datasets.mapped import MappedDataset
from certmix.errors import InvalidArgument
from tests.datasets.files import write_folder

OWN = """
import numpy as np, torch
from PIL import Image

def arrays(count=6):
    return np.full((count, 1, 2, 2), 51, np.uint8), np.arange(count) % 3

class Images(torch.utils.data.Dataset):
    num_classes = 5
    def __init__(self, split="none"):
        self.split = split
    def __len__(self):
        return 4
    def __getitem__(self, i):
        return Image.new("RGB", (6, 4), (i, 255, 0)), i % 2

def dataset():
    from certmix.datasets import load_dataset
    return load_dataset("digits", max=5)

def number():
    return 3
"""


@pytest.fixture
def own(tmp_path):
    (tmp_path / "own.py").write_text(OWN)
    return f"py:{tmp_path / 'own.py'}"


def test_python_data_sets_need_trust(own, tmp_path):
    (tmp_path / "own.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n" + OWN)
    with pytest.raises(InvalidArgument, match="runs code when loaded; add --trust-model"):
        load_dataset(f"{own}:arrays")
    assert not (tmp_path / "ran").exists()


def test_a_factory_may_return_arrays_a_map_style_data_set_or_ours(own):
    arrays = load_dataset(f"{own}:arrays,count=7", trust_model=True)
    assert (len(arrays), arrays.grid_levels, arrays.num_classes) == (7, 255, 3)
    assert arrays[0][0].flatten().tolist() == pytest.approx([0.2] * 4)
    images = load_dataset(f"{own}:Images", trust_model=True, split="val")
    assert (images.input_shape, images.grid_levels, images.num_classes) == ((3, 4, 6), 255, 5)
    assert images.labels.tolist() == [0, 1, 0, 1]
    assert images.subset == {"split": "val"}
    assert images[3][0][:, 0, 0].tolist() == pytest.approx([3 / 255, 1, 0])
    ours = load_dataset(f"{own}:dataset", trust_model=True, skip=2)
    assert (ours.spec, ours.subset) == (f"{own}:dataset", {"skip": 2, "max": None, "indices": None})
    assert (len(ours), ours.input_shape) == (3, (1, 8, 8))
    for name, message in [
        ("number", r"must be a data set of \(image, label\), or \(inputs, labels\), got int"),
        ("absent", "must name a function that returns a data set"),
        ("arrays,size=3", "must be what its factory takes"),
    ]:
        with pytest.raises(InvalidArgument, match=message):
            load_dataset(f"{own}:{name}", trust_model=True)


class Items:
    """A map-style data set of given items."""

    def __init__(self, *items):
        self.items = items

    def __len__(self):
        return len(self.items)

    def __getitem__(self, position):
        return self.items[position]


def test_tensors_are_taken_as_they_are():
    floats = MappedDataset(Items((torch.full((1, 2, 2), 0.5), 1), (torch.zeros(1, 2, 2), 0)), spec="x")
    assert (floats.grid_levels, floats.input_shape, floats.num_classes) == (None, (1, 2, 2), 2)
    eight_bit = MappedDataset(Items((np.full((3, 2, 2), 51, np.uint8), 0)), spec="x", num_classes=4)
    assert (eight_bit.grid_levels, eight_bit[0][0].max().item()) == (255, pytest.approx(0.2))


def test_labels_are_taken_without_reading_inputs_where_the_data_set_has_them():
    class Counting(Items):
        targets = (1, 0, 1)
        read = 0

        def __getitem__(self, position):
            self.read += 1
            return super().__getitem__(position)

    source = Counting(*((torch.zeros(2), label) for label in (1, 0, 1)))
    data = MappedDataset(source, spec="x")
    assert data.labels.tolist() == [1, 0, 1]
    assert source.read == 1
    source.targets, source.labels = None, ["cat", "dog", "owl"]  # names of classes are no labels
    assert MappedDataset(source, spec="x").labels.tolist() == [1, 0, 1]


@pytest.mark.parametrize(
    ("items", "message"),
    [
        ([], "must hold at least one input"),
        (
            [(torch.full((2,), 1.5), 0)],
            r"input 0 of x must be in \[0, 1\], got values in \[1.5, 1.5\] \(a Normalize transform\?\); leave",
        ),
        ([(torch.zeros(2), 0), (torch.full((2,), float("nan")), 0)], r"input 1 of x must be in \[0, 1\]"),
        ([(torch.zeros(2), 0), (torch.zeros(3), 0)], r"must have shape \(2,\) as the first one, got \(3,\)"),
        ([(torch.zeros(2), 0), (torch.zeros(2, dtype=torch.uint8), 0)], "of the first one's kind"),
        ([(torch.zeros(2), 0.5)], "labels of x must be 1 integers"),
        ([(torch.zeros(2), [0]), (torch.zeros(2), [0, 1])], "labels of x must be 2 integers"),
        ([("a word", 0)], "input 0 of x cannot be loaded: ValueError"),
        ([(torch.zeros(2), -1)], r"labels must be in 0\.\.-1, got -1 at input 0"),
        ([torch.zeros(3)], "input 0 of x cannot be read: ValueError"),
    ],
)
def test_items_that_cannot_be_inputs_are_named(items, message):
    with pytest.raises(InvalidArgument, match=message):
        _ = MappedDataset(Items(*items), spec="x")[1]


@pytest.mark.parametrize(
    ("spec", "library", "extra"), [("torchvision:FakeData", "torchvision", "vision"), ("hf:mnist", "datasets", "hf")]
)
def test_a_library_that_is_absent_is_named_with_its_extra(monkeypatch, spec, library, extra):
    for name in (library, f"{library}.datasets"):
        monkeypatch.setitem(sys.modules, name, None)  # what Python does for a module that must not be found
    with pytest.raises(InvalidArgument, match=rf"{library} must be importable, .* 'certmix\[{extra}\]'"):
        load_dataset(spec)


@pytest.mark.parametrize("name", ["LSUNClass", "LSUN", "DatasetFolder", "MNIST", "ImageNet", "Absent", "os"])
def test_torchvision_classes_that_may_run_what_they_read_need_trust(tmp_path, name):
    with pytest.raises(InvalidArgument, match=rf"torchvision:{name} \(not among .*SVHN.*\) runs code when loaded"):
        load_dataset(f"torchvision:{name},root={tmp_path}")


@pytest.mark.parametrize("trust", [False, True])
@pytest.mark.parametrize("option", ["download=1", "loader=x", "transform=x", "target_transform=x", "is_valid_file=x"])
def test_torchvision_data_sets_neither_download_nor_take_code(tmp_path, option, trust):
    name = option.partition("=")[0]
    with pytest.raises(InvalidArgument, match=rf"must not be download, loader, .*, got '{name}'"):
        load_dataset(f"torchvision:SVHN,root={tmp_path},{option}", trust_model=trust)


@pytest.mark.parametrize("trust", ["False", "True", 1])
def test_only_true_is_trust(own, tmp_path, trust):
    (tmp_path / "own.py").write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n" + OWN)
    with pytest.raises(InvalidArgument, match="runs code when loaded"):
        load_dataset(f"{own}:arrays", trust_model=trust)
    assert not (tmp_path / "ran").exists()


@pytest.mark.usefixtures("torchvision")
def test_torchvision_data_sets(tmp_path):
    write_folder(tmp_path / "images")
    theirs = load_dataset(f"torchvision:ImageFolder,root={tmp_path / 'images'},resize=12,crop=10")
    ours = load_dataset(f"folder:{tmp_path / 'images'},resize=12,crop=10")
    assert theirs.num_classes == 3
    assert theirs.labels.tolist() == ours.labels.tolist()
    assert all(torch.equal(theirs[i][0], ours[i][0]) for i in range(len(ours)))
    with pytest.raises(InvalidArgument, match=r"must be a class of torchvision\.datasets, got 'Absent'"):
        load_dataset("torchvision:Absent", trust_model=True)
    random = load_dataset("torchvision:FakeData,size=5,num_classes=3,crop=100")
    assert (len(random), random.input_shape) == (5, (3, 100, 100))
    with pytest.raises(InvalidArgument, match="must be what its factory takes"):
        load_dataset("torchvision:FakeData,width=5")
    with pytest.raises(InvalidArgument, match="split of torchvision:CIFAR10 must be train or test, got 'val'"):
        load_dataset(f"torchvision:CIFAR10,root={tmp_path}", split="val")
    with pytest.raises(InvalidArgument, match="cannot be loaded: RuntimeError: Dataset not found"):
        load_dataset(f"torchvision:CIFAR10,root={tmp_path}")


def test_hugging_face_data_sets(tmp_path, monkeypatch):
    datasets = pytest.importorskip("datasets")
    images = [Image.new("L", (5, 4), 3 * i) for i in range(6)]
    features = datasets.Features({"img": datasets.Image(), "label": datasets.ClassLabel(num_classes=4)})
    table = datasets.Dataset.from_dict({"img": images, "label": [0, 1, 2, 0, 1, 2]}, features=features)
    datasets.DatasetDict({"test": table}).save_to_disk(str(tmp_path / "saved"))
    data = load_dataset(f"hf:{tmp_path / 'saved'}")
    assert (data.input_shape, data.num_classes, data.grid_levels, len(data)) == ((1, 4, 5), 4, 255, 6)
    assert data.labels.tolist() == [0, 1, 2, 0, 1, 2]
    assert data[5][0].unique().tolist() == pytest.approx([15 / 255])
    before = data.fingerprint
    monkeypatch.setattr(ImageReader, "convert", None)  # what a fingerprint must not need
    again = MappedDataset.fingerprint.func(data)
    assert again == before
    for options, message in [
        (",label=y", "must have a column y, got img, label"),
        (",size=3", "must be among image, label, config, mode"),
    ]:
        with pytest.raises(InvalidArgument, match=message):
            load_dataset(f"hf:{tmp_path / 'saved'}{options}")
    with pytest.raises(InvalidArgument, match="cannot be loaded"):
        load_dataset("hf:org/absent-data-set")
