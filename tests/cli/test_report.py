"""`certmix report` as a command: what it writes, and what it refuses."""

import base64
import json
import re

import numpy as np

from tests.report.made import CLASSES, write_run


def test_a_report_of_several_runs_is_written(run, tmp_path):
    folders = [write_run(tmp_path / f"{sigma}", sigma, inputs=12) for sigma in (0.25, 0.5)]
    names = tmp_path / "names.txt"
    names.write_text("".join(f"<class {number}>\n" for number in range(CLASSES)))
    out = tmp_path / "report.html"
    done = run("report", *folders, "--out", out, "--title", "A <b>", "--class-names", names, "--json")
    assert done.code == 0, done.err
    assert json.loads(done.out) == {"file": str(out), "bytes": out.stat().st_size}
    page = out.read_text()
    assert "A &lt;b&gt;" in page
    assert "\\u003cclass 3\\u003e" in page


def test_a_file_that_is_there_needs_force(run, tmp_path):
    folder, out = write_run(tmp_path / "run", inputs=5), tmp_path / "report.html"
    made = run("report", folder, "--out", out)
    assert made.code == 0
    assert "Without pictures of the inputs: digits is not what the run was drawn from" in made.err
    refused = run("report", folder, "--out", out)
    assert refused.code == 2
    assert "--force" in refused.err
    assert run("report", folder, "--out", out, "--force").code == 0


def test_names_that_do_not_fit_and_votes_that_are_absent_are_refused(run, tmp_path):
    folder, names = write_run(tmp_path / "run", inputs=5), tmp_path / "names.txt"
    names.write_text("a\nb\n")
    assert "one per class, 10, got 2" in run("report", folder, "--out", tmp_path / "a.html", "--class-names", names).err
    assert (
        "sample with --votes soft" in run("report", folder, "--out", tmp_path / "a.html", "--certify-votes", "soft").err
    )
    assert not (tmp_path / "a.html").exists()


def test_soft_and_confident_votes_are_shares_of_all_draws(run, tmp_path, model):
    folder = tmp_path / "run"
    draw = ["--robust", model, "--accurate", model, "--dataset", "digits", "--max", 4, "--N0", 20, "--N", 200]
    assert run("sample", *draw, "--sigma", 0.5, "--votes", "both", "--seed", 1, "--out", folder).code == 0
    assert run("report", folder, "--images", 3, "--out", tmp_path / "seen.html").code == 0
    assert (tmp_path / "seen.html").read_text().count("data:image/png;base64,") == 3
    assert run("report", folder, "--images", 0, "--out", tmp_path / "unseen.html").code == 0
    assert "data:image" not in (tmp_path / "unseen.html").read_text()
    for number, votes in enumerate((["--certify-votes", "soft"], ["--confidence", 0.75])):
        out = tmp_path / f"{number}.html"
        done = run("report", folder, *votes, "--out", out)
        assert done.code == 0, done.err
        data = json.loads(re.search(r'id="data">(.*?)</script>', out.read_text(), re.DOTALL).group(1))["runs"][0]
        total, counts = (
            np.frombuffer(base64.b64decode(data[name][3:]), f"<{data[name][:2]}") for name in ("total", "votes")
        )
        assert total.tolist() == ([1_000_000] if number == 0 else [200])
        assert (counts.reshape(4, -1).sum(axis=1, dtype=int) <= total[0] + 5).all()
        said = "mean class probabilities" if number == 0 else "at least 0.75 sure of a class"
        assert said in out.read_text()
