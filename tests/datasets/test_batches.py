import numpy as np
import pytest
import torch

from certmix.datasets import ArrayDataset, Subset
from certmix.datasets.batches import batches, stack
from certmix.errors import InvalidArgument

RNG = np.random.default_rng(5)
DATA = ArrayDataset(RNG.random((7, 1, 2, 3), dtype=np.float32), np.arange(7) % 3)


@pytest.mark.parametrize("size", [1, 3, 7, 100])
def test_batches_are_all_inputs_once_in_order(size):
    parts = list(batches(DATA, size))
    assert [len(inputs) for inputs, _ in parts[:-1]] == [size] * (len(parts) - 1)
    assert torch.equal(torch.cat([inputs for inputs, _ in parts]), DATA.inputs)
    assert torch.equal(torch.cat([labels for _, labels in parts]), torch.as_tensor(DATA.labels))


def test_one_batch_is_read_at_a_time():
    read = []

    class Counting(ArrayDataset):
        def __getitem__(self, position):
            read.append(position)
            return super().__getitem__(position)

    first = next(batches(Counting(DATA.inputs, DATA.labels), 2))
    assert len(first[0]) == 2
    assert read == [0, 1]


def test_a_stack_is_the_inputs_and_labels_of_a_part():
    inputs, labels = stack(Subset(DATA, [4, 1]))
    assert torch.equal(inputs, DATA.inputs[[4, 1]])
    assert labels.tolist() == [1, 1]


def test_an_input_of_another_shape_is_refused_not_broadcast():
    class Uneven(ArrayDataset):
        def __getitem__(self, position):
            return super().__getitem__(position)[0][..., :1], 0

    with pytest.raises(InvalidArgument, match=r"input 0 of array must have shape \(1, 2, 3\), got \(1, 2, 1\)"):
        stack(Uneven(DATA.inputs, DATA.labels))


def test_what_does_not_fit_into_memory_is_one_line():
    class Huge(ArrayDataset):
        def __len__(self):
            return 2**50

    with pytest.raises(InvalidArgument, match="must fit into memory"):
        stack(Huge(DATA.inputs, DATA.labels))
