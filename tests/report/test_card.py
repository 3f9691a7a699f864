"""The card: what a reader needs, and nothing of a manifest that could become markup."""

import re
from dataclasses import replace

import pytest

from certmix.certification.bounds import promise_of
from certmix.report.card import model_card
from certmix.report.words import draw_command
from certmix.runs.grouping import read_runs
from tests.report.made import write_run

HOSTILE = "x`y``<img src=x onerror=alert(1)>\n\n# [Certified](https://evil.example)\u2028|"


def _card(folder, **changes):
    (run,) = read_runs([write_run(folder, inputs=12, **changes)])
    commands = ["certmix certify run --threshold 0.6", "certmix verify run --sample 16"]
    return run, model_card(run, [promise_of(run.statistics)], "| a |\n|---|\n| 1 |", commands)


def test_it_states_promise_hashes_and_the_commands_that_make_and_check_it(tmp_path):
    run, card = _card(tmp_path / "run", seed=77)
    draws = run.statistics.draws
    assert card.startswith("# Certified robustness at sigma 0.5\n")
    for said in (draws.model.sha256, draws.accurate.sha256, draws.dataset.fingerprint, promise_of(run.statistics).text):
        assert said in card
    assert "    certmix sample --robust h.safetensors --accurate g.safetensors --dataset digits --split test" in card
    assert "--on-invalid error --seed 77 --out redrawn\n" in card
    assert "\n    certmix certify run --threshold 0.6\n    certmix verify run --sample 16\n" in card
    assert len(card.splitlines()) < 60


@pytest.mark.parametrize("where", ["spec", "data"])
def test_what_a_manifest_says_stays_text(tmp_path, where):
    _, card = _card(tmp_path / "run", **{where: HOSTILE})
    outside = "\n".join(line for line in card.splitlines() if not line.startswith("    "))
    outside = re.sub(r"(?<!`)(`+)(?!`)(.+?)(?<!`)\1(?!`)", "", outside)  # code spans, as CommonMark ends them
    assert "<" not in outside
    assert "evil" not in outside
    assert "evil" in card
    assert "\u2028" not in card


def test_the_whole_runs_command_names_its_part_of_the_data(tmp_path):
    run, _ = _card(tmp_path / "run")
    draws = run.statistics.draws
    part = replace(draws.dataset, subset={"split": "test", "skip": 20, "max": 7, "indices": None})
    command = draw_command(replace(draws, dataset=part), "again")
    assert command.endswith("--skip 20 --max-inputs 7 --out again")
    assert draw_command(replace(draws, model=replace(draws.model, spec=None)), "again") is None
