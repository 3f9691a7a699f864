"""Records of noise: chosen, stored, read back and checked."""

import dataclasses
import json

import pytest
import torch

from certmix.errors import InvalidArgument, RunError
from certmix.json_fields import Fields
from certmix.noise import GaussianNoise, IntegerNoise, describe_noise, make_noise
from certmix.runs.draws import NoiseRecord

CPU = torch.device("cpu")
INTEGER = describe_noise("auto", sigma=0.25, size=64, grid_levels=16)
FLOAT = describe_noise("auto", sigma=0.25, size=64, grid_levels=None)


def test_noise_is_chosen_by_the_grid():
    assert (INTEGER.kind, INTEGER.levels) == ("integer", 16)
    assert 0 < INTEGER.total_variation < 1e-14
    assert (
        NoiseRecord("float", "philox4x64-10") == FLOAT == describe_noise("float", sigma=0.25, size=64, grid_levels=16)
    )
    with pytest.raises(InvalidArgument, match="needs inputs on a grid"):
        describe_noise("integer", sigma=0.25, size=64, grid_levels=None)
    with pytest.raises(InvalidArgument, match="must be auto, integer, float or splitting"):
        describe_noise("gauss", sigma=0.25, size=64, grid_levels=None)


@pytest.mark.parametrize("record", [INTEGER, FLOAT])
def test_a_record_survives_json(record):
    assert NoiseRecord.from_json(Fields(json.loads(json.dumps(vars(record))), "here")) == record


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"extra": 1}, "must hold known fields only"),
        ({"kind": "uniform"}, "kind must be"),
        ({"kind": "float"}, "total_variation must be"),
        ({"generator": "mt19937"}, "generator must be"),
        ({"levels": None}, "levels must be"),
        ({"levels": 0}, "levels must be"),
        ({"levels": 16.0}, "levels must be"),
        ({"levels": True}, "levels must be"),
        ({"table_sha256": "abc"}, "table_sha256 must be"),
        ({"table_sha256": None}, "table_sha256 must be"),
        ({"total_variation": -1e-20}, "total_variation must be"),
        ({"total_variation": float("nan")}, "total_variation must be"),
        ({"total_variation": "0"}, "total_variation must be"),
    ],
)
def test_what_no_run_could_have_written_is_refused_in_one_line(changes, message):
    with pytest.raises(RunError, match=message) as caught:
        NoiseRecord.from_json(Fields({**vars(INTEGER), **changes}, "here"))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("stored", [None, [], "integer", {}, {"kind": "float"}])
def test_what_is_no_record_is_refused(stored):
    with pytest.raises(RunError, match="must (be a JSON object|hold)"):
        NoiseRecord.from_json(Fields(stored, "here"))


def test_a_float_record_states_no_distance():
    with pytest.raises(RunError, match="total_variation must be"):
        NoiseRecord.from_json(Fields({**vars(FLOAT), "total_variation": 1e-9}, "here"))


def test_noise_is_made_of_a_record_that_this_version_draws():
    assert isinstance(make_noise(INTEGER, seed=1, sigma=0.25, size=64, device=CPU), IntegerNoise)
    assert isinstance(make_noise(FLOAT, seed=1, sigma=0.25, size=64, device=CPU), GaussianNoise)
    for changed in ({"table_sha256": "0" * 64}, {"total_variation": 0.0}):
        with pytest.raises(RunError, match=f"must be this version's to be drawn again, got .*{next(iter(changed))}"):
            make_noise(dataclasses.replace(INTEGER, **changed), seed=1, sigma=0.25, size=64, device=CPU)
