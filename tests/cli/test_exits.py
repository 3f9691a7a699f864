"""Exit codes: 1 means "does not hold" and nothing else; everything that goes wrong is one line, never a traceback."""

import errno
import os
import signal
import subprocess
import sys
import time

import pytest
import typer

import certmix
from certmix.cli.exits import checkpoint_kept, if_stopped, run_to_exit
from certmix.errors import RunError


def _outcome(capsys, error):
    app = typer.Typer(add_completion=False, rich_markup_mode=None)

    @app.command()
    def fail() -> None:
        print("begun")
        raise error

    with pytest.raises(SystemExit) as stopped:
        run_to_exit(app, [])
    return stopped.value.code, capsys.readouterr().err


@pytest.mark.parametrize(
    ("error", "code", "line"),
    [
        (RunError("a run\nin two lines"), 2, "certmix: error: a run in two lines"),
        (RunError("\x1b[31mred"), 2, r"certmix: error: \x1b[31mred"),
        (
            OSError(errno.ENOSPC, "No space left on device", "runs/x"),
            2,
            "certmix: error: No space left on device: runs/x.",
        ),
        (PermissionError(errno.EACCES, "Permission denied"), 2, "certmix: error: Permission denied."),
        (MemoryError(), 2, "certmix: error: memory must hold"),
        (BrokenPipeError(errno.EPIPE, "Broken pipe"), 2, "certmix: error: stdout was closed"),
        (KeyboardInterrupt(), 130, "certmix: stopped. The same command again starts anew."),
        (ZeroDivisionError("boom"), 2, "certmix: error: unexpected ZeroDivisionError: boom; with CERTMIX_DEBUG=1"),
        (RecursionError("deep"), 2, "certmix: error: unexpected RecursionError"),
        (typer.Exit(1), 1, ""),
    ],
)
def test_every_error_has_its_code_and_one_line(capsys, error, code, line):
    found = _outcome(capsys, error)
    assert found[0] == code
    assert found[1].startswith(line)
    assert found[1].count("\n") == (1 if line else 0)


def test_the_traceback_is_there_for_who_asks(capsys, monkeypatch):
    monkeypatch.setenv("CERTMIX_DEBUG", "1")
    _, shown = _outcome(capsys, ZeroDivisionError("boom"))
    assert "Traceback (most recent call last)" in shown


def test_a_command_says_what_it_has_kept_and_the_innermost_word_counts(capsys):
    with pytest.raises(KeyboardInterrupt) as stopped, if_stopped("outer"), if_stopped(lambda: "inner"):
        raise KeyboardInterrupt
    assert _outcome(capsys, stopped.value) == (130, "certmix: stopped. inner\n")


def test_a_stopped_training_names_its_checkpoint_and_its_age(tmp_path):
    checkpoint = tmp_path / "h.checkpoint.safetensors"
    assert checkpoint_kept(checkpoint) == "No checkpoint was written yet; the same command again starts anew."
    checkpoint.write_bytes(b"")
    os.utime(checkpoint, (time.time() - 60.0, time.time() - 60.0))
    assert checkpoint_kept(checkpoint).startswith(f"{checkpoint}, written 6")
    assert checkpoint_kept(checkpoint).endswith(" s ago, is kept; the same command again goes on from there.")


def test_a_stopped_training_is_not_said_to_have_drawn_anything(run, monkeypatch, tmp_path):
    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("certmix.training.files.fit", interrupted)
    result = run("train", "--dataset", "digits", "--out", tmp_path / "h.safetensors")
    assert (result.code, result.err) == (
        130,
        "certmix: stopped. No checkpoint was written yet; the same command again starts anew.\n",
    )


def _certmix(*arguments, **how):
    return subprocess.Popen(
        [sys.executable, "-m", "certmix", *map(str, arguments)], stderr=subprocess.PIPE, text=True, **how
    )


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="needs /dev/full")
def test_a_full_or_closed_stdout_is_one_line():
    with open("/dev/full", "w") as full:
        process = _certmix("inspect", "digits", stdout=full)
        assert process.communicate()[1] == "certmix: error: No space left on device.\n"
    assert process.returncode == 2
    reading, writing = os.pipe()
    os.close(reading)
    process = _certmix("inspect", "digits", stdout=writing)
    os.close(writing)
    assert process.communicate()[1] == "certmix: error: stdout was closed before everything was printed.\n"
    assert process.returncode == 2


def test_a_terminated_command_keeps_what_it_drew(model, tmp_path):
    arguments = [
        "sample",
        "--robust",
        model,
        "--dataset",
        "digits",
        "--sigma",
        0.5,
        "--N",
        2000,
        "--out",
        tmp_path / "run",
    ]
    process = _certmix(*arguments, "--quiet", stdout=subprocess.DEVNULL)
    deadline = time.monotonic() + 120
    while not (tmp_path / "run" / "manifest.json").exists() and time.monotonic() < deadline:
        time.sleep(0.05)
    time.sleep(2.0)
    process.send_signal(signal.SIGTERM)
    said = process.communicate(timeout=120)[1]
    assert process.returncode == 130
    assert said == "certmix: stopped. What was drawn is kept; the same command again goes on.\n"
    assert len(certmix.read_statistics(tmp_path / "run")) > 0
