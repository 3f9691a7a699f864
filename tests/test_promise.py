"""A promise is checked when made and when read, and says in words what it promises."""

import json

import pytest

from certmix.errors import InvalidArgument, RunError
from certmix.json_fields import Fields
from certmix.promise import Promise

PROMISES = [
    Promise(),
    Promise(0.05, "cohen"),
    Promise(1e-9, votes="soft", mean_bound="hoeffding"),
    Promise(real_valued=True),
    Promise(votes="confident", confidence=0.75),
]


@pytest.mark.parametrize("promise", PROMISES)
def test_what_is_written_is_read(promise):
    assert Promise.from_json(Fields(json.loads(json.dumps(promise.to_json())), "here")) == promise


def test_every_part_of_a_promise_is_in_its_words():
    assert len({promise.text for promise in PROMISES}) == len(PROMISES)
    assert "at most 0.05" in Promise(0.05).text
    assert (Promise().share, Promise(interval="cohen").share) == (0.5, 1.0)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"failure_probability": -0.1}, r"failure_probability must be in \(0, 1\), got -0.1"),
        ({"failure_probability": 0.0, "interval": "cohen"}, "failure_probability 0 is for hard or confident votes"),
        ({"failure_probability": 0.0, "votes": "soft"}, "failure_probability 0 is for hard or confident votes"),
        ({"failure_probability": float("nan")}, r"failure_probability must be in \(0, 1\)"),
        ({"interval": "both"}, "interval must be one of pair, cohen, got 'both'"),
        ({"votes": "both"}, "votes must be one of hard, soft"),
        ({"confidence": 0.75}, "confidence must be given for votes 'confident', and for these alone"),
        ({"votes": "confident"}, "confidence must be given"),
        ({"mean_bound": "student"}, "mean_bound must be one of betting, bernstein, hoeffding"),
    ],
)
def test_bad_values_are_named(change, message):
    with pytest.raises(InvalidArgument, match=message):
        Promise(**change)
    with pytest.raises(RunError, match=next(iter(change))):
        Promise.from_json(Fields({**Promise().to_json(), **change}, "here"))


@pytest.mark.parametrize("name", list(Promise().to_json()))
def test_a_missing_or_unknown_field_is_refused(name):
    tree = Promise().to_json()
    with pytest.raises(RunError, match="known fields only"):
        Promise.from_json(Fields({**tree, "more": 1}, "here"))
    del tree[name]
    if name == "confidence":  # null and absent are one
        assert Promise.from_json(Fields(tree, "here")) == Promise()
        return
    with pytest.raises(RunError, match=name):
        Promise.from_json(Fields(tree, "here"))
