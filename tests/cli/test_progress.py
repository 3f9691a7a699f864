"""A bar on a terminal, plain lines now and then in a log, nothing with --quiet."""

import io
import sys

import pytest

from certmix.cli.progress import Log, progress_bar


class _Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def clock():
    """A clock that stands until it is told."""

    class Clock:
        now = 0.0

        def __call__(self):
            return self.now

    return Clock()


def test_a_bar_fits_into_eighty_columns_and_names_its_times(monkeypatch):
    terminal = _Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    for name, value in (("COLUMNS", "80"), ("TERM", "xterm")):
        monkeypatch.setenv(name, value)
    with progress_bar("train [0.5]") as watch:
        watch(3, 6)
        watch(6, 6)
        watch(12, 12, "epoch 12/40, loss 0.512, 93 %")
        watch.say("a line above")
    last = terminal.getvalue().split("\r")[-1].split("\x1b[2K")[-1]
    for text in ("train [0.5]", "100%", "gone", "left", "epoch 12/40, loss 0.512, 93 %"):
        assert text in last
    assert "…" not in terminal.getvalue()
    assert "a line above\n" in terminal.getvalue()


def test_a_log_gets_a_line_per_tenth_but_not_every_few_seconds(capsys, clock):
    log = Log("sampling", clock)
    for done in range(201):
        clock.now = 3.0 * done  # ten minutes; a tenth is a minute
        log(done, 200)
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 9  # 10 % to 90 %; the end is said when the block ends
    assert lines[3] == "sampling: 80 of 200 (40 %), 4 min gone, about 6 min left"
    for done in range(201):
        clock.now += 0.2  # forty seconds
        log(done, 200)
    assert len(capsys.readouterr().err.splitlines()) <= 4


def test_a_slow_log_gets_a_line_every_five_minutes_and_speed_is_that_of_this_command(capsys, clock):
    log = Log("sampling", clock)
    log(50, 100)  # a resumed run
    for minute in range(1, 11):
        clock.now = 60.0 * minute
        log(50 + minute // 2, 100)
    lines = capsys.readouterr().err.splitlines()
    assert lines == [
        "sampling: 52 of 100 (52 %), 5 min gone, about 2 h 0 min left",
        "sampling: 55 of 100 (55 %), 10 min gone, about 90 min left",
    ]


def test_lines_of_epochs_put_off_the_next_one(capsys, clock):
    log = Log("training", clock)
    for epoch in range(1, 31):
        clock.now = 4.0 * epoch
        log(epoch, 40, f"epoch {epoch}/40")
        log.mention(f"epoch {epoch}/40: loss 1")
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 10
    assert lines[0] == "epoch 3/40: loss 1"


def test_a_log_ends_with_one_line_if_the_block_was_finished(capsys):
    with progress_bar("sampling") as report:
        report(3, 6)
        report(6, 6)
    assert capsys.readouterr() == ("", "sampling: 6 of 6, took 0 s\n")
    with progress_bar("sampling") as report:
        report(3, 6)
    assert capsys.readouterr() == ("", "")


def test_quiet_draws_nothing(capsys):
    with progress_bar("sampling", quiet=True) as report:
        report(1, 2)
        report.say("a line")
        report.mention("a line")
    assert capsys.readouterr() == ("", "")
