"""The file: one piece, a strict policy, and nothing of a run that could become code."""

import base64
import hashlib
import json
import re
from dataclasses import replace

import pytest

from certmix.errors import InvalidArgument
from certmix.promise import Promise
from certmix.report import build_report, render_page
from certmix.runs.grouping import read_runs
from tests.report.made import CLASSES, report_of, write_run

HOSTILE = "</script><img src=x onerror=alert(1)><!--"


@pytest.fixture(scope="module")
def hostile(tmp_path_factory):
    folder = tmp_path_factory.mktemp("run") / "<script>alert(2)<" / "script>"
    write_run(folder, spec=f"{HOSTILE}.safetensors", data=f"npz:{HOSTILE}")
    return render_page(report_of(folder, classes=[HOSTILE] * CLASSES, title=f"{HOSTILE}\u2028"))


def test_names_specs_and_paths_stay_text(hostile):
    assert "<img" not in hostile
    assert "<script>alert" not in hostile
    assert hostile.count("</script>") == 2
    assert "<!--" not in hostile
    data = re.search(r'<script type="application/json" id="data">(.*?)</script>', hostile, re.DOTALL).group(1)
    assert not set(data) & set("<>&\u2028")
    assert json.loads(data)["classes"] == [HOSTILE] * CLASSES


def test_the_policy_allows_this_script_and_style_by_hash_and_nothing_else(hostile):
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', hostile).group(1).replace("&#39;", "'")
    assert "unsafe" not in policy
    rules = dict(part.strip().split(" ", 1) for part in policy.split(";"))
    assert rules["default-src"] == "'none'"
    for tag, name in (("style", "style-src"), ("script", "script-src")):
        (content,) = re.findall(rf"<{tag}>(.*?)</{tag}>", hostile, re.DOTALL)
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert rules[name] == f"'sha256-{digest}'"


def test_nothing_is_inline_but_what_the_policy_names_and_nothing_is_remote(hostile):
    text = re.sub(r"<(script|style)[^>]*>.*?</\1>", "", hostile, flags=re.DOTALL)
    assert not re.search(r"<[^>]*\s(style|on\w+)=", text)
    assert not re.search(r"<[^>]*\s(src|href)=\"(?!#)", text)
    assert "eval(" not in hostile
    assert "innerHTML" not in hostile


def test_without_a_script_the_page_has_the_stored_certificates(tmp_path):
    report = report_of(write_run(tmp_path / "run"))
    page = render_page(report)
    assert re.search(r"<th scope=\"row\">weight 0.8</th><td>\d+\.\d</td>", page)
    assert report.sections[0].promise.split("'")[0] in page
    assert "differ by less than 10⁻⁹" in page


def test_what_the_page_leaves_out_is_said(tmp_path):
    folders = [write_run(tmp_path / f"{sigma}", sigma, inputs=5) for sigma in (0.25, 0.5)]
    one, both = report_of(folders[0]), report_of(*folders)
    assert "the family of rules" in one.left_out
    assert "chains" not in one.left_out
    assert "chains of several sigmas" in both.left_out
    assert both.left_out in render_page(both)
    (folders[0] / "adaptive.parquet").write_bytes(b"")
    assert "at the floor of its gate" in report_of(folders[0]).left_out


def test_runs_of_two_norms_are_refused(tmp_path):
    runs = read_runs([write_run(tmp_path / "run", inputs=5)])
    noise = replace(runs[0].statistics.draws.noise, kind="splitting")
    draws = replace(runs[0].statistics.draws, noise=noise)
    statistics = replace(runs[0].statistics, manifest=replace(runs[0].statistics.manifest, draws=draws))
    with pytest.raises(InvalidArgument, match="runs of one norm, got l1 and l2"):
        build_report([runs[0], replace(runs[0], statistics=statistics)], [Promise(), Promise(0.0)])
