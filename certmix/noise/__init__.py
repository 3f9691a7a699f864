"""Gaussian noise streams: addressed, reproducible, audited.

An element's random word depends on (seed, input index, purpose, draw, element) only: not on batch size, on what was
drawn before, on restarts, on sharding or on the device.
"""

from certmix.noise.gaussian import GaussianNoise
from certmix.noise.stream import Noise, Purpose

__all__ = ["GaussianNoise", "Noise", "Purpose"]
