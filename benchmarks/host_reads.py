"""How often does the host read from the device while it samples, and how often does the device run dry meanwhile?

Needs no GPU: the loop runs on the pretended device of the tests, which counts every read. The device runs dry at a read
where it has been given nothing more to do since what is read was sent for; further reads before its next pass are the same
spell.
"""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

sys.path.append(str(Path(__file__).parents[1]))

from certmix.certification.schedule import make_schedule
from certmix.datasets import ArrayDataset
from certmix.noise import NoiseAudit
from certmix.noise.host_copy import HostCopy
from certmix.sampling.loop import DrawLoop, DrawPlan
from tests.pretend_device import device, pretended

INPUTS, CLASSES, BATCH, SIGMA = 64, 10, 2048, 0.5


class Noise:
    """Gaussian noise from torch, with the audit's share kept."""

    def __init__(self) -> None:
        self.audit = NoiseAudit()
        self.check = self.audit.check

    def accept(self, clean: torch.Tensor, index: int) -> None:
        pass

    def add_to(self, noisy: torch.Tensor, clean: torch.Tensor, **where: object) -> None:
        normal = torch.randn(noisy.shape, device=noisy.device)
        self.audit(normal)
        noisy.copy_(clean.view(noisy.shape[1:]) + SIGMA * normal)


class Pixels(torch.nn.Module):
    """The first values as logits."""

    passes = 0

    def forward(self, inputs: torch.Tensor) -> torch.Tensor:
        self.passes += len(inputs) > 1
        return inputs[:, :CLASSES]


def count(votes: str, draws: int, radius: float | None, monkeypatch: pytest.MonkeyPatch) -> tuple[float, float, float]:
    """(passes, reads, spells in which the device is dry) an input."""
    values = np.random.default_rng(0).random((INPUTS, 16)).astype(np.float32)
    data = ArrayDataset(values, values[:, :CLASSES].argmax(axis=1), num_classes=CLASSES)
    schedule = None if radius is None else make_schedule(draws, sigma=SIGMA, target_radius=radius)
    plan = DrawPlan(CLASSES, 100, schedule.looks if schedule else (draws,), soft=votes != "hard")
    model, dry, sent_at = Pixels(), set(), {}
    init, numpy = HostCopy.__init__, HostCopy.numpy

    def send(copy: HostCopy, tensor: torch.Tensor) -> None:
        init(copy, tensor)
        sent_at[id(copy)] = copy, model.passes

    def read(copy: HostCopy) -> np.ndarray:
        if sent_at[id(copy)][1] == model.passes:
            dry.add(model.passes)
        return numpy(copy)

    monkeypatch.setattr(HostCopy, "__init__", send)
    monkeypatch.setattr(HostCopy, "numpy", read)
    with pretended(monkeypatch) as reads:
        loop = DrawLoop(model, Pixels(), data, plan, Noise(), device(), BATCH, schedule)
        list(loop.records(iter(range(INPUTS)), {}))
    assert sum(reads.values()) == len(sent_at)  # nothing is read but what was sent for
    return model.passes / INPUTS, sum(reads.values()) / INPUTS, len(dry) / INPUTS


def main() -> None:
    print(
        f"| {INPUTS} inputs, {BATCH} rows a pass | passes an input | reads an input | dry spells an input |\n"
        "|---|---|---|---|"
    )
    for name, votes, radius in (
        ("hard votes", "hard", None),
        ("soft votes too", "both", None),
        ("stop at 0.5", "hard", 0.5),
    ):
        with pytest.MonkeyPatch.context() as monkeypatch:
            found = count(votes, 10_000, radius, monkeypatch)
        print(f"| {name} | " + " | ".join(f"{value:.2f}" for value in found) + " |", flush=True)


if __name__ == "__main__":
    main()
