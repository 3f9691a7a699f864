"""Noise streams: addressed, reproducible, audited.

An element's random word depends on (seed, input index, purpose, draw, element) only: not on batch size, on what was
drawn before, on restarts, on sharding or on the device.
"""

import torch

from certmix.errors import RunError
from certmix.noise.audit import NoiseAudit
from certmix.noise.gaussian import GaussianNoise
from certmix.noise.integer import IntegerNoise
from certmix.noise.record import describe_noise
from certmix.noise.splitting import SplittingNoise
from certmix.noise.stream import Noise, Purpose
from certmix.noise.table import clip_range, probabilities
from certmix.runs.draws import NoiseRecord

__all__ = [
    "GaussianNoise", "IntegerNoise", "Noise", "NoiseAudit", "Purpose", "SplittingNoise", "clip_range",
    "describe_noise", "make_noise",
]  # fmt: skip


def make_noise(record: NoiseRecord, *, seed: int, sigma: float, size: int, device: torch.device) -> Noise:
    """The noise of a record, with its audit.

    Args:
        record: of `describe_noise`, or of a stored run.
        seed: 128-bit seed of the run.
        sigma: standard deviation, or Lambda of splitting noise, in [0, 1] pixel units.
        size: elements of one input.
        device: where it is wanted.
    Raises: RunError: a record of noise that this version does not draw (another table, no clip, another distance).
    """
    own = describe_noise(record.kind, sigma=sigma, size=size, grid_levels=record.levels)
    if record != own:
        apart = {name: value for name, value in vars(record).items() if value != vars(own)[name]}
        raise RunError(f"a run's noise must be this version's to be drawn again, got {apart}; draw a new run.")
    if record.kind == "splitting" and record.levels is not None:
        return SplittingNoise(seed, sigma, size, device, levels=record.levels)
    if record.levels is None:
        return GaussianNoise(seed, sigma, size, device, audit=NoiseAudit())
    audit = NoiseAudit(probabilities(sigma, record.levels))
    return IntegerNoise(seed, sigma, size, device, levels=record.levels, audit=audit)
