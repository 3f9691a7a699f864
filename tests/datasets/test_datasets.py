"""Data sets: the built-in digits, archives, subsets, fingerprints, and what is refused."""

import numpy as np
import pytest

from certmix.datasets import ArrayDataset, load_dataset
from certmix.datasets.base import spread_order
from certmix.errors import InvalidArgument


def test_digits_are_the_uci_digits_on_their_grid():
    test, train, whole = (load_dataset("digits", split=split) for split in ("test", "train", "all"))
    assert (len(test), len(train), len(whole)) == (599, 1198, 1797)
    assert set(test.indices) | set(train.indices) == set(range(1797))
    assert np.bincount(whole.labels).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]
    assert test.input_shape == (1, 8, 8)
    assert test.num_classes == 10
    values = whole.inputs.numpy() * test.grid_levels
    assert np.array_equal(values, values.round())
    assert (values.min(), values.max()) == (0, 16)
    first = values[0, 0].astype(int)  # the first image of the data set as published
    assert first[0].tolist() == [0, 0, 5, 13, 9, 1, 0, 0]


def test_subsets_keep_their_stable_indices():
    part = load_dataset("digits", skip=20, max=5)
    assert part.indices.tolist() == [0, 60, 120, 180, 240]
    assert part.subset == {"split": "test", "skip": 20, "max": 5, "indices": None}
    chosen = load_dataset("digits", indices="3,60,0")
    assert chosen.indices.tolist() == [3, 60, 0]
    whole = load_dataset("digits")
    assert np.array_equal(chosen[1][0].numpy(), whole[20][0].numpy())


def test_fingerprints_follow_content():
    inputs, labels = np.random.default_rng(0).random((5, 1, 2, 2)), [0, 1, 2, 0, 1]
    one = ArrayDataset(inputs, labels)
    assert one.fingerprint == ArrayDataset(inputs.copy(), labels).fingerprint
    moved = inputs.copy()
    moved[3, 0, 1, 1] += 1e-3
    others = [
        ArrayDataset(np.minimum(moved, 1), labels),
        ArrayDataset(inputs, [0, 1, 2, 0, 2]),
        ArrayDataset(inputs, labels, indices=[0, 1, 2, 3, 9]),
        ArrayDataset(inputs, labels, num_classes=4),
        ArrayDataset(inputs.reshape(5, 4), labels),
    ]
    assert len({one.fingerprint, *(other.fingerprint for other in others)}) == 6


@pytest.mark.parametrize(
    ("inputs", "labels", "options", "message"),
    [
        (np.full((2, 3), np.nan), [0, 1], {}, r"inputs must be in \[0, 1\], got nan at input 0"),
        (np.full((2, 3), -0.1), [0, 1], {}, r"inputs must be in \[0, 1\], got -0\.1 at input 0"),
        (np.zeros((2, 3)), [0, -1], {}, r"labels must be in 0\.\.0, got -1 at input 1"),
        (np.zeros((2, 3)), [0, 0.5], {}, "labels must be integers"),
        (np.zeros((2, 3)), [0, np.inf], {}, "labels must be integers"),
        (np.zeros((2, 3)), ["cat", "dog"], {}, "labels must be integers"),
        (np.zeros((2, 3)), [0, 1, 1], {}, "one first dimension"),
        (np.zeros((0, 3)), [], {}, "at least one input"),
        (np.zeros((2, 3)), [0, 1], {"indices": [4, 4]}, "indices must be unique"),
    ],
)
def test_bad_arrays_are_named(inputs, labels, options, message):
    with pytest.raises(InvalidArgument, match=message):
        ArrayDataset(inputs, labels, **options)


def test_an_index_given_twice_is_named():
    with pytest.raises(InvalidArgument, match="indices must name each input once, got 60 twice"):
        load_dataset("digits", indices="3,60,0,60,3")
    with pytest.raises(InvalidArgument, match="indices choose the inputs themselves, got skip 2 and max None"):
        load_dataset("digits", indices="3,60", skip=2)


def test_one_class_or_billions_are_refused_before_anything_is_drawn(tmp_path):
    np.savez(tmp_path / "one.npz", inputs=np.zeros((3, 1, 2, 2), np.uint8), labels=[0, 0, 0])
    for options, got in (("", "1"), (",num_classes=1000000000000", "1000000000000")):
        with pytest.raises(InvalidArgument, match=f"must have 2 to 100,000 classes, got {got} in npz:"):
            load_dataset(f"npz:{tmp_path / 'one.npz'}{options}")
    assert load_dataset(f"npz:{tmp_path / 'one.npz'},num_classes=2").num_classes == 2


def test_an_option_of_a_spec_may_have_any_name(tmp_path):
    for spec in ("digits,spec=x", "npz:x,path=y", "torchvision:FakeData,reference=x", "hf:x,spec=y"):
        with pytest.raises(InvalidArgument):
            load_dataset(spec)


@pytest.mark.parametrize("count", [1, 2, 10, 300, 500, 10_000])
def test_what_is_done_in_spread_order_lies_evenly_over_the_data_wherever_it_stops(count):
    order = spread_order(count)
    assert sorted(order) == list(range(count))
    tenths = 10 * order // count
    for first in range(min(20, count), count + 1, max(count // 7, 1)):
        held = np.bincount(tenths[:first], minlength=10) / first
        assert np.abs(held - np.bincount(tenths, minlength=10) / count).max() < 2.5 / first
