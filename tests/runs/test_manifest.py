"""A manifest that somebody else wrote: whatever is in it, one line or the same manifest again."""

import copy
import json
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from certmix.certification.schedule import make_schedule
from certmix.errors import RunError
from certmix.runs.draws import ModelRecord, NoiseRecord
from certmix.runs.manifest import Manifest, read_manifest
from tests.records import DRAWS, manifest
from tests.strategies import seeded

WHOLE = manifest(
    accurate=ModelRecord("g.safetensors", "b" * 64),
    noise=NoiseRecord("integer", "philox4x64-10", 255, "c" * 64, 1e-12),
    schedule=make_schedule(10, sigma=0.5, failure_probability=0.4, target_radius=0.0),
    seed_source="derived",
    seed_text="a public text",
).with_audit({"elements": 1000})
OPTIONAL = {
    ("model", "spec"),
    ("accurate",),
    ("accurate", "spec"),
    ("schedule",),
    ("schedule", "radius_tolerance"),
    ("seed_text",),
}
JUNK = st.one_of(
    st.none(), st.booleans(), st.integers(-(10**20), 10**20), st.floats(), st.text(max_size=5), st.just([]), st.just({}),
    st.just(["x"]), st.just({"kind": "integer"}),
)  # fmt: skip


def _places(tree, path=()):
    if isinstance(tree, dict):
        for key, value in tree.items():
            yield (*path, key)
            yield from _places(value, (*path, key))


PLACES = list(_places(WHOLE.to_json()))


def _at(tree, path):
    for key in path:
        tree = tree[key]
    return tree


def test_what_is_written_is_read():
    for made in (WHOLE, manifest()):
        assert Manifest.from_json(json.loads(json.dumps(made.to_json())), "here") == made


@settings(seeded, max_examples=800)
@given(st.sampled_from(PLACES), JUNK)
def test_any_field_replaced_is_refused_in_one_line_or_read_as_written(path, junk):
    tree = copy.deepcopy(WHOLE.to_json())
    _at(tree, path[:-1])[path[-1]] = junk
    made = refused = None
    try:
        made = Manifest.from_json(tree, "here")
    except RunError as error:
        refused = str(error)
    if refused is not None:
        assert "\n" not in refused
        assert "here" in refused
    else:
        assert Manifest.from_json(json.loads(json.dumps(made.to_json())), "here").draws == made.draws


@pytest.mark.parametrize("path", [p for p in PLACES if p[0] == "draws" and "subset" not in p], ids=".".join)
def test_a_missing_field_is_named_or_optional(path):
    tree = copy.deepcopy(WHOLE.to_json())
    del _at(tree, path[:-1])[path[-1]]
    if path[1:] in OPTIONAL:
        Manifest.from_json(tree, "here")
    else:
        with pytest.raises(RunError, match=path[-1]):
            Manifest.from_json(tree, "here")


def test_an_unknown_field_is_refused(tmp_path):
    tree = WHOLE.to_json()
    tree["draws"]["sigmas"] = 0.25
    with pytest.raises(RunError, match="must hold known fields only, got sigmas"):
        Manifest.from_json(tree, "here")


def test_deep_or_large_json_is_one_line(tmp_path):
    (tmp_path / "manifest.json").write_text("[" * 200_000)
    with pytest.raises(RunError, match="damaged"):
        read_manifest(tmp_path)


def test_the_schedule_must_spend_what_its_looks_imply():
    tree = WHOLE.to_json()
    tree["draws"]["schedule"]["spending"] = [0.3]
    with pytest.raises(RunError, match="spending must be half on the last look"):
        Manifest.from_json(tree, "here")


def test_disagreement_names_the_first_difference():
    assert DRAWS.disagreement(DRAWS) is None
    assert DRAWS.disagreement(manifest(sigma=0.25).draws) == "sigma: the run has 0.5, asked for is 0.25"


def test_a_derived_seed_depends_on_everything_that_defines_the_draws():
    seeds = {DRAWS.derive_seed("a"), DRAWS.derive_seed("b")}
    seeds |= {
        manifest(**change).draws.derive_seed("a")
        for change in ({"sigma": 0.25}, {"num_estimation": 11}, {"votes": "both"})
    }
    seeds |= {manifest(model=ModelRecord(None, "b" * 64)).draws.derive_seed("a")}
    assert len(seeds) == 6
    assert all(0 <= seed < 2**128 for seed in seeds)
    assert manifest(seed=7, seed_source="fresh").draws.derive_seed("a") == DRAWS.derive_seed("a")


def test_quantisation_distance_is_half_a_step_of_every_element():
    assert WHOLE.draws.quantisation_distance >= math.sqrt(64) / (2 * 255)
