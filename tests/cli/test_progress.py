"""The progress bar names its times, and survives a total that changes."""

from certmix.cli.progress import progress_bar


def test_times_are_named_and_the_total_may_change(capsys):
    with progress_bar("sampling [0.5]") as report:
        report(3, 6)
        report(6, 6, "loss 0.1")
        report(6, 12, "loss [0.2]")
    last = capsys.readouterr().err.strip().split("\n")[-1]
    assert last.startswith("sampling [0.5]")
    assert "6/12 elapsed 0:00:00 remaining " in last
    assert last.rstrip().endswith("loss [0.2]")
    assert "left" not in last


def test_at_the_end_nothing_remains(capsys):
    with progress_bar("sampling") as report:
        report(6, 6)
    out, err = capsys.readouterr()
    assert "6/6 elapsed 0:00:00 remaining 0:00:00" in err
    assert out == ""


def test_quiet_draws_nothing(capsys):
    with progress_bar("sampling", quiet=True) as report:
        report(1, 2)
    assert capsys.readouterr() == ("", "")
