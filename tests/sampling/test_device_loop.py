"""The draw loop on a device that is not the CPU, which is pretended: what is read when, and memory that does not suffice."""

import numpy as np
import pytest
import torch

import certmix
from certmix.datasets import load_dataset
from certmix.noise.host_copy import HostCopy
from certmix.sampling import batch_size
from certmix.sampling.loop import DrawLoop, DrawPlan
from tests.pretend_device import device, pretended


class First(torch.nn.Module):
    """Ten pixels as logits."""

    def __init__(self, most_rows=10**9):
        super().__init__()
        self.most_rows, self.passes = most_rows, 0

    def forward(self, inputs):
        if len(inputs) > self.most_rows:
            raise torch.cuda.OutOfMemoryError("CUDA out of memory")
        self.passes += 1
        return inputs.flatten(1)[:, 20:30]


class NoNoise:
    """Copies of the input, so that all that is counted is the loop's."""

    audit = None

    def check(self):
        pass

    def accept(self, clean, index):
        pass

    def add_to(self, noisy, clean, **where):
        noisy.copy_(clean.view(noisy.shape[1:]))


class SecondLook:
    """Stops at the second of three looks."""

    looks = (100, 300, 400)

    def stops(self, counts, draws, accurate):
        assert counts[1].sum() == draws
        return draws >= 300


@pytest.mark.parametrize("how", ["hard", "both", "stopping"])
def test_the_device_has_its_next_pass_before_counts_are_read(how, monkeypatch):
    data, stopping = load_dataset("digits", max=12), SecondLook() if how == "stopping" else None
    plan = DrawPlan(10, 20, SecondLook.looks if stopping else (400,), soft=how == "both")
    model, sent, early = First(), [], []
    init, numpy = HostCopy.__init__, HostCopy.numpy

    def send(copy, tensor):
        init(copy, tensor)
        sent.append(copy)
        copy.passes = model.passes

    def read(copy):
        early.append(copy.passes == model.passes and not loop._planner.starved)
        return numpy(copy)

    monkeypatch.setattr(HostCopy, "__init__", send)
    monkeypatch.setattr(HostCopy, "numpy", read)
    with pretended(monkeypatch) as reads:
        loop = DrawLoop(model, First(), data, plan, NoNoise(), device(), 64, stopping)
        found = list(loop.records(iter(range(12)), {}))
    assert [record.estimation_counts.sum() for record in found] == [300 if stopping else 400] * 12
    least = -(-12 * (320 if stopping else 420) // 64)
    assert least <= model.passes <= least + (2 if stopping else 0)  # none is padded but the last, and before last looks
    assert len(early) == len(sent)
    assert not any(early)
    assert sum(reads.values()) == len(sent)  # nothing else is read


def test_a_batch_that_memory_does_not_hold_is_halved_from_the_first_question_on(tmp_path):
    data = load_dataset("digits", max=2)
    options = {"sigma": 0.5, "num_selection": 50, "num_estimation": 300, "seed": 3}
    whole = certmix.sample(First(), data, **options, execution=certmix.Execution("cpu", 60))
    small = certmix.sample(First(16), data, **options, execution=certmix.Execution("cpu", 60), out=tmp_path / "run")
    assert small.manifest.environment.batch_size == 15
    assert np.array_equal(small.estimation_counts, whole.estimation_counts)
    with pytest.raises(certmix.CertmixError, match="must fit into the GPU's memory with one input"):
        certmix.sample(First(0), data, **options, execution=certmix.Execution("cpu", 60))


def test_calibration_leaves_memory_free(monkeypatch):
    seen = []
    model = torch.nn.Flatten()
    model.register_forward_hook(lambda _, inputs, output: seen.append(len(output)))
    monkeypatch.setattr(batch_size, "_crowded", lambda device: seen[-1] >= 64)
    assert batch_size.calibrate_batch_size(model, (4, 4), torch.device("cpu")) < 64
    assert max(seen) == 64
