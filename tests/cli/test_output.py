"""What is printed: results on stdout, notes on stderr, and nothing that steers a terminal."""

import json

from certmix.cli.output import Output, printable


def test_control_characters_are_written_out():
    assert printable("a\x1b]0;title\x07b\r") == r"a\x1b]0;title\x07b\r"
    assert printable("one\n\ttwo, é, 漢") == "one\n\ttwo, é, 漢"
    assert printable("\udcff\u202e") == r"\udcff\u202e"


def test_a_result_goes_to_stdout_and_notes_to_stderr(capsys):
    Output().show({"a": 1}, "table", ["note"])
    assert tuple(capsys.readouterr()) == ("table\n", "note\n")
    Output(quiet=True).show({"a": 1}, "table", ["note"])
    assert tuple(capsys.readouterr()) == ("table\n", "")
    Output(as_json=True).show({"a": "\x1b"}, "table", ["note"])
    shown = capsys.readouterr()
    assert (json.loads(shown.out), shown.err) == ({"a": "\x1b"}, "")
    assert "\x1b" not in shown.out
