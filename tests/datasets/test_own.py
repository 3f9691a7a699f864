"""A user's own data: torch Datasets and pairs, 8-bit images on their grid, other ranges mapped and seen as they were."""

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Subset, TensorDataset, random_split

import certmix
from certmix.datasets import as_dataset, load_dataset
from certmix.datasets.batches import stack
from certmix.errors import InvalidArgument, SamplingError
from certmix.models.own_range import InRange
from certmix.training.train import accuracy, train

HOW = {"sigma": 0.25, "num_estimation": 60, "num_selection": 10, "seed": 1}
IMAGES = np.random.default_rng(0).integers(0, 256, (6, 3, 2, 2), dtype=np.uint8)
LABELS = np.array([0, 1, 2, 0, 1, 2])


def _net():
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(12, 3))


def test_every_form_of_the_same_data_gives_the_same_votes():
    tensors = torch.from_numpy(IMAGES), torch.from_numpy(LABELS)
    forms = [(IMAGES, LABELS), tensors, TensorDataset(*tensors), Subset(TensorDataset(*tensors), range(6))]
    drawn = [certmix.sample(_net(), form, **HOW) for form in forms]
    for made in drawn:
        assert made.draws.noise.levels == 255
        assert np.array_equal(made.estimation_counts, drawn[0].estimation_counts)
        assert made.labels.tolist() == LABELS.tolist()
    assert [made.draws.dataset.spec for made in drawn] == ["array", "array", "TensorDataset", "Subset"]


def test_a_range_of_their_own_is_what_the_model_sees():
    values = (IMAGES / 127.5 - 1).astype(np.float32)
    seen = []
    net = _net()
    net.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0].min().item()))
    own = as_dataset((values, LABELS), bounds=(-1, 1))
    assert (own.bounds.low, own.bounds.high, own.grid_levels) == (-1, 1, None)
    assert torch.allclose(own[0][0], torch.from_numpy(IMAGES[0] / 255).float(), atol=1e-6)
    drawn = certmix.sample(net, own, **HOW)
    assert min(seen) < -1  # noise on top of inputs in [-1, 1]
    assert drawn.draws.dataset.bounds == own.bounds
    wrapped = certmix.sample(InRange(_net(), (-1, 1)), certmix.datasets.Subset(own, range(6)), **HOW)
    assert np.array_equal(wrapped.estimation_counts, drawn.estimation_counts)
    assert wrapped.draws.model.sha256 == drawn.draws.model.sha256
    mapped = as_dataset(TensorDataset(torch.from_numpy(values), torch.from_numpy(LABELS)), bounds=(-1, 1))
    assert all(torch.equal(mapped[i][0], own[i][0]) for i in range(6))
    gridded = as_dataset((values, LABELS), bounds=(-1, 1), grid_levels=255)
    assert certmix.sample(_net(), gridded, **HOW).draws.noise.kind == "integer"


def test_a_loaded_model_must_say_which_range_it_takes(tmp_path):
    (tmp_path / "own.py").write_text("import torch\ndef build():\n    return torch.nn.Linear(2, 2)\n")
    np.savez(tmp_path / "points.npz", inputs=np.array([[-1.0, 0.5], [2.0, 3.0]]), labels=[0, 1])
    data, spec = load_dataset(f"npz:{tmp_path / 'points.npz'},bounds=-1/3"), f"py:{tmp_path / 'own.py'}:build"
    assert torch.allclose(data[1][0], torch.tensor([0.75, 1.0]))
    x = torch.tensor([[0.75, 1.0]])
    with pytest.raises(
        InvalidArgument, match=r"must say which inputs it takes.*\[-1, 3\]: add bounds=-1/3 .* normalize=none"
    ):
        certmix.sample(certmix.load_model(spec, trust_model=True), data, **HOW)
    own = certmix.load_model(f"{spec},bounds=-1/3", trust_model=True)
    assert torch.allclose(own(x), own.model(torch.tensor([[2.0, 3.0]])))
    assert certmix.sample(own, data, **HOW).draws.model.spec == f"{spec},bounds=-1/3"
    with pytest.raises(InvalidArgument, match=r"must be one range, got \[0, 2\] and \[-1, 3\]"):
        certmix.sample(certmix.load_model(f"{spec},bounds=0/2", trust_model=True), data, **HOW)
    unit = certmix.load_model(f"{spec},normalize=none", trust_model=True)
    assert certmix.sample(unit, data, **HOW).draws.model.spec.endswith("normalize=none")


def test_python_files_may_return_them(tmp_path):
    (tmp_path / "data.py").write_text("def points():\n    return [[-1.0, 1.0], [0.0, 0.5]], [0, 1]\n")
    data = load_dataset(f"py:{tmp_path / 'data.py'}:points,bounds=-1/1", trust_model=True)
    assert torch.equal(data[0][0], torch.tensor([0.0, 1.0]))


@pytest.mark.parametrize(
    ("data", "how", "message"),
    [
        ("digits", {}, r"must be a data set of \(image, label\), or \(inputs, labels\), got str; certmix.load_dataset"),
        (torch.zeros(2, 2), {}, "or .*, got Tensor"),
        (DataLoader(TensorDataset(torch.zeros(2, 2))), {}, "got DataLoader"),
        ((np.zeros((2, 2)), [0, 1, 2]), {}, "one first dimension"),
        ((np.full((2, 2), -0.5), [0, 1]), {}, r"must be in \[0, 1\], got -0.5 at input 0 of array; leave 8-bit"),
        ((np.full((2, 2), -1.5), [0, 1]), {"bounds": (-1, 1)}, r"must be in \[-1, 1\], got -1.5 at input 0"),
        ((np.zeros((2, 2), np.uint8), [0, 1]), {"bounds": (-1, 1)}, "leave out bounds and grid_levels"),
        ((np.zeros((2, 2), np.uint8), [0, 1]), {"grid_levels": 16}, "leave out bounds and grid_levels"),
    ],
)
def test_other_data_are_refused(data, how, message):
    with pytest.raises(InvalidArgument, match=message):
        as_dataset(data, **how)


def test_a_part_with_fewer_classes_says_what_to_give():
    part = random_split(TensorDataset(torch.from_numpy(IMAGES), torch.tensor([0, 1] * 3)), [6, 0])[0]
    with pytest.raises(SamplingError, match=r"the data set's classes \(num_classes=\)"):
        certmix.sample(_net(), part, **HOW)
    assert len(certmix.sample(_net(), as_dataset(part, num_classes=3), **HOW)) == 6
    with pytest.raises(InvalidArgument, match="num_classes must be >= 2, got 1 of array; labels of a part"):
        certmix.sample(_net(), (IMAGES, [0] * 6), **HOW)
    with pytest.raises(InvalidArgument, match="are for your own data"):
        as_dataset(load_dataset("digits", max=2), num_classes=3)


def test_predictors_training_and_accuracy_take_them_too():
    data, signed = (IMAGES, LABELS), ((IMAGES / 127.5 - 1).astype(np.float32), LABELS)
    how = {"sigma": 0.25, "num_classes": 3, "num_estimation": 100, "seed": 1}
    answers = [certmix.MixturePredictor(robust=_net(), **how).predict(form).classes for form in (IMAGES, data)]
    assert answers[0].tolist() == answers[1].tolist()
    own = as_dataset(signed, bounds=(-1, 1))
    shifted = certmix.MixturePredictor(robust=InRange(_net(), (-1, 1)), **how).predict(own).classes
    assert certmix.MixturePredictor(robust=_net(), **how).predict(own).classes.tolist() == shifted.tolist()
    net = _net().eval()
    assert accuracy(net, own) == (net(torch.from_numpy(signed[0])).argmax(1).numpy() == LABELS).mean()
    # What certmix trains takes [0, 1] inputs, whatever range the data had, and says so.
    digits, labels = stack(load_dataset("digits", max=20))
    forms = as_dataset((2 * digits - 1, labels), bounds=(-1, 1)), (digits, labels)
    pairs = [(train(form, epochs=1), form) for form in forms]
    assert accuracy(*pairs[0]) == accuracy(*pairs[1])
    assert np.array_equal(*(certmix.sample(*pair, **HOW).estimation_counts for pair in pairs))
