"""Gaussian noise streams: addressed, reproducible, audited.

An element's random word depends on (seed, input index, purpose, draw, element) only: not on batch size, on what was
drawn before, on restarts, on sharding or on the device.
"""

from collections.abc import Mapping
from typing import Any

import torch

from certmix.errors import InvalidArgument
from certmix.noise.audit import NoiseAudit
from certmix.noise.gaussian import GaussianNoise
from certmix.noise.integer import IntegerNoise, probabilities, table_hash, total_variation
from certmix.noise.stream import Noise, Purpose

__all__ = ["GaussianNoise", "IntegerNoise", "Noise", "NoiseAudit", "Purpose", "describe_noise", "make_noise"]


def describe_noise(kind: str, *, sigma: float, size: int, grid_levels: int | None) -> dict[str, Any]:
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
        return {"kind": "float", "generator": "philox4x64-10"}
    return {
        "kind": "integer",
        "generator": "philox4x64-10",
        "levels": grid_levels,
        "table_sha256": table_hash(sigma, grid_levels),
        "total_variation": total_variation(sigma, grid_levels, size),
    }


def make_noise(description: Mapping[str, Any], *, seed: int, sigma: float, size: int, device: torch.device) -> Noise:
    """The noise of a manifest's description, with its audit."""
    if description["kind"] == "float":
        return GaussianNoise(seed, sigma, size, device, audit=NoiseAudit())
    levels = description["levels"]
    audit = NoiseAudit(probabilities(sigma, levels))
    return IntegerNoise(seed, sigma, size, device, levels=levels, audit=audit)
