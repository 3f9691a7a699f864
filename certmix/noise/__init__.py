"""Gaussian noise streams: addressed, reproducible, audited.

An element's random word depends on (seed, input index, purpose, draw, element) only: not on batch size, on what was
drawn before, on restarts, on sharding or on the device.
"""

import torch

from certmix.errors import InvalidArgument
from certmix.noise.audit import NoiseAudit
from certmix.noise.gaussian import GaussianNoise
from certmix.noise.integer import IntegerNoise, probabilities, table_hash, total_variation
from certmix.noise.stream import Noise, Purpose
from certmix.runs.draws import NoiseRecord

__all__ = ["GaussianNoise", "IntegerNoise", "Noise", "NoiseAudit", "Purpose", "describe_noise", "make_noise"]


def describe_noise(kind: str, *, sigma: float, size: int, grid_levels: int | None) -> NoiseRecord:
    """What defines the noise besides sigma and the seed, for the manifest.

    Args:
        kind: "integer", "float", or "auto": integer where the inputs lie on a grid.
        sigma: standard deviation, in [0, 1] pixel units.
        size: elements of one input.
        grid_levels: G where every input value is a multiple of 1/G, else None.
    Raises: InvalidArgument: an unknown kind, or integer noise without a grid.
    """
    if kind not in ("auto", "integer", "float"):
        raise InvalidArgument(f"noise must be auto, integer or float, got {kind!r}.")
    if kind == "integer" and grid_levels is None:
        raise InvalidArgument("noise 'integer' needs inputs on a grid, got a data set without grid levels; use float.")
    if kind == "float" or grid_levels is None:
        return NoiseRecord("float", "philox4x64-10")
    return NoiseRecord(
        kind="integer",
        generator="philox4x64-10",
        levels=grid_levels,
        table_sha256=table_hash(sigma, grid_levels),
        total_variation=total_variation(sigma, grid_levels, size),
    )


def make_noise(record: NoiseRecord, *, seed: int, sigma: float, size: int, device: torch.device) -> Noise:
    """The noise of a record, with its audit."""
    if record.levels is None:
        return GaussianNoise(seed, sigma, size, device, audit=NoiseAudit())
    audit = NoiseAudit(probabilities(sigma, record.levels))
    return IntegerNoise(seed, sigma, size, device, levels=record.levels, audit=audit)
