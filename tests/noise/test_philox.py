"""The generator against the published answers and against NumPy; the streams against their addresses."""

import numpy as np
import pytest
import torch

from certmix.noise.philox import device_words, host_words, philox4x64
from certmix.noise.stream import WordStream

CPU = torch.device("cpu")

# Random123's published known answers for philox4x64-10: (counter, key) -> output.
ONES = 2**64 - 1
KNOWN = [
    (
        (0, 0, 0, 0),
        (0, 0),
        (0x16554D9ECA36314C, 0xDB20FE9D672D0FDC, 0xD7E772CEE186176B, 0x7E68B68AEC7BA23B),
    ),
    (
        (ONES, ONES, ONES, ONES),
        (ONES, ONES),
        (0x87B092C3013FE90B, 0x438C3C67BE8D0224, 0x9CC7D7C69CD777B6, 0xA09CAEBF594F0BA0),
    ),
    (
        (0x243F6A8885A308D3, 0x13198A2E03707344, 0xA4093822299F31D0, 0x082EFA98EC4E6C89),
        (0x452821E638D01377, 0xBE5466CF34E90C6C),
        (0xA528F45403E61D95, 0x38C72DBD566E9788, 0xA5A1610E72FD18B5, 0x57BD43B5E52B7FE6),
    ),
]


@pytest.mark.parametrize(("counter", "key", "answer"), KNOWN)
def test_known_answers(counter, key, answer):
    lowest = torch.tensor([counter[0] - 2**64 if counter[0] >> 63 else counter[0]], dtype=torch.int64)
    words = philox4x64(key, (lowest, *counter[1:]))
    assert tuple(int(word) % 2**64 for word in words) == answer


@pytest.mark.parametrize("seed", [0, 5, 2**127 + 12345, 2**128 - 1])
def test_the_host_and_the_device_generate_the_same_words(seed):
    host = host_words(seed, (0, 7, 2), 5, 300)
    assert np.array_equal(host.view(np.int32), device_words(seed, (0, 7, 2), 5, 300, CPU).numpy())


@pytest.mark.parametrize("size", [1, 7, 8, 64, 193])
def test_a_range_of_draws_can_be_split_anywhere(size):
    stream = WordStream(99, size, CPU)
    whole = stream.words(3, "estimation", 0, 50)
    parts = [stream.words(3, "estimation", a, b - a) for a, b in ((0, 1), (1, 8), (8, 50))]
    assert torch.equal(whole, torch.cat(parts))


def test_every_part_of_an_address_matters():
    words = [
        WordStream(seed, 64, CPU).words(index, purpose, start, 1)
        for seed, index, purpose, start in [
            (1, 0, "estimation", 0),
            (2, 0, "estimation", 0),
            (1 + 2**32, 0, "estimation", 0),  # torch's own generator keeps 32 bits of a seed only
            (1 + 2**64, 0, "estimation", 0),
            (1, 1, "estimation", 0),
            (1, 0, "selection", 0),
            (1, 0, "estimation", 1),
        ]
    ]
    for i, left in enumerate(words):
        for right in words[i + 1 :]:
            assert (left == right).float().mean() < 0.05


def test_extra_words_agree_one_by_one_and_differ_from_the_first_plane():
    stream = WordStream(11, 3072, CPU)
    draw, element = torch.tensor([0, 5, 9]), torch.tensor([0, 17, 3071])
    many = stream.extra_words(2, "selection", draw, element).tolist()
    one = [stream.extra_word(2, "selection", int(d), int(e)) for d, e in zip(draw, element, strict=True)]
    assert many == one
    first_plane = stream.words(2, "selection", 0, 10).numpy().view(np.uint32)
    assert all(first_plane[d, e] != word for d, e, word in zip(draw, element, many, strict=True))
