"""Draws, manifests and records made by hand, for tests that need no model."""

from dataclasses import replace

import numpy as np

from certmix.runs.draws import DataRecord, Draws, ModelRecord, NoiseRecord
from certmix.runs.manifest import Environment, Manifest
from certmix.runs.records import InputRecord

DRAWS = Draws(
    model=ModelRecord(None, "a" * 64),
    accurate=None,
    dataset=DataRecord("by-hand", "f" * 64, {"split": "test"}, 60, (1, 8, 8)),
    num_classes=3,
    sigma=0.5,
    num_selection=4,
    num_estimation=10,
    votes="hard",
    noise=NoiseRecord("float", "philox4x64-10"),
    seed=1,
)
ENVIRONMENT = Environment("0", "2", "2", "3", "cpu", 100, 1, False, "highest", True, None)


def manifest(**changes: object) -> Manifest:
    """A manifest of DRAWS with some fields changed."""
    return Manifest(replace(DRAWS, **changes), ((0.5, 0.25),), ENVIRONMENT)  # type: ignore[arg-type]


def record(index: int, votes: tuple[int, ...] = (7, 2, 1), invalid: int = 0) -> InputRecord:
    """A record of hard votes in three classes."""
    return InputRecord(index, index % 3, np.array([4, 0, 0]), np.array(votes), 0, invalid, None, 0.1)
