"""The demo in small: every step, and again from what it stored."""

import json
from pathlib import Path

import pytest

from certmix.cli import demo


@pytest.mark.slow
def test_the_demo_runs_and_resumes(run, tmp_path, monkeypatch):
    monkeypatch.setattr(demo, "ACCURATE", {"sigma": 0.15, "epochs": 3})
    monkeypatch.setattr(demo, "ROBUST", {"epochs": 3})
    arguments = ("demo", "--out", tmp_path / "demo", "--max", 6, "--N", 300, "--quiet")
    first = run(*arguments, "--json")
    assert first.code == 0, first.err
    summary = json.loads(first.out)
    rows = summary["certified_accuracy"]
    assert {(row["sigma"], row["certifier"], row["weight"]) for row in rows} == {
        (s, c, w) for s in demo.SIGMAS for c in demo.CERTIFIERS for w in demo.WEIGHTS
    }
    assert all(Path(path).stat().st_size > 0 for path in summary["files"])
    again = json.loads(run(*arguments, "--json").out)
    assert again["certified_accuracy"] == rows
    assert run(*arguments).out.startswith("Certified accuracy in % at l2 radius r")
