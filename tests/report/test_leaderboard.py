"""The leaderboard: an honest run is in the table, a forged one is refused, and marks are found out, never read."""

import base64
import hashlib
import json
import re
import shutil

import pytest

from certmix.certification.certify import certify
from certmix.errors import InvalidArgument
from certmix.formats.certificates import write_certificates
from certmix.formats.result import result_of, result_text
from certmix.report.leaderboard import render_leaderboard
from certmix.rules import LinearRule, ThresholdRule
from certmix.runs.store import read_statistics
from certmix.verification.entry import judge, run_folders
from tests.report.made import write_run
from tests.verification.forging import certify_again, edit_certificates, edit_manifest, edit_shard, rewrite_logs

HOSTILE = "<img src=x onerror=alert(1)>"


def _publish(folder, **changes):
    """A run of votes made by hand with its certificates and result.json."""
    statistics = read_statistics(write_run(folder, inputs=20, draws=500, **changes))
    made = [certify(statistics, rules=[LinearRule(1.0), ThresholdRule(0.6)])]
    write_certificates(folder, made, summaries={"result.json": result_text(result_of(statistics, made))})
    return folder


def _longer(rows):
    for row in rows:
        row["radius"] *= 1.01


@pytest.fixture(scope="module")
def submissions(tmp_path_factory):
    """Three runs: two honest ones, of which one has a hostile name and spec, and one whose radii were made longer."""
    folder = tmp_path_factory.mktemp("submissions")
    _publish(folder / "quarter", sigma=0.25)
    _publish(folder / HOSTILE, sigma=0.5, spec=f"{HOSTILE}.safetensors")
    _publish(folder / "forged", sigma=1.0)
    edit_certificates(folder / "forged", rows=_longer)
    rewrite_logs(folder / "forged")
    return folder


@pytest.fixture(scope="module")
def page(submissions):
    return render_leaderboard([judge(folder) for folder in run_folders([submissions])], title=f"Board {HOSTILE}")


def _cells(page):
    """Rows of the tables as lists of texts."""
    rows = re.findall(r"<tr>(.*?)</tr>", page.partition("</thead>")[2].partition("</table>")[0], re.DOTALL)
    return [[re.sub(r"<[^>]*>", "", cell).strip() for cell in re.findall(r"<t[hd].*?</t[hd]>", row)] for row in rows]


def test_of_three_runs_the_forged_one_is_refused(page):
    rows = _cells(page)
    assert sorted({row[0] for row in rows}) == ["&lt;img src=x onerror=alert(1)&gt;", "quarter"]
    assert {row[1] for row in rows} == {"recomputed"}  # nothing was drawn again
    assert len(rows) == 4
    refused = page.partition("<h2>Refused</h2>")[2].partition("</section>")[0]
    assert re.search(
        r"<strong>forged</strong>: input \d+, exact, weight 1: radius .* is above what the votes support", refused
    )
    assert "2 runs accepted, 1 refused." in page


def test_the_best_at_the_first_positive_radius_comes_first(page):
    rows = _cells(page)
    shares = [float(row[7]) for row in rows]
    assert shares == sorted(shares, reverse=True)
    assert shares[0] > shares[-1]


def test_names_stay_text_and_nothing_comes_from_elsewhere(page):
    assert "<img" not in page
    assert page.count("</script>") == 1
    text = re.sub(r"<(script|style)[^>]*>.*?</\1>", "", page, flags=re.DOTALL)
    assert not re.search(r"<[^>]*\s(style|on\w+|src|href)=", re.sub(r'"[^"]*"', '""', text))
    policy = re.search(r'Content-Security-Policy" content="([^"]*)"', page).group(1).replace("&#39;", "'")
    (script,) = re.findall(r"<script>(.*?)</script>", page, re.DOTALL)
    assert f"script-src 'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'" in policy
    assert "unsafe" not in policy


def _claim(folder):
    path = folder / "result.json"
    tree = json.loads(path.read_text())
    tree["rows"][0]["certified_accuracy"][0] = 1.0
    path.write_text(json.dumps(tree))


def _verdict(folder):
    path = folder / "result.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "mark": "verified"}))


def _fewer(folder):
    edit_shard(folder, lambda rows: rows.__delitem__(slice(5)))
    certify_again(folder)


FORGERIES = {
    "an accuracy in result.json": (_claim, "result.json: rows[0].certified_accuracy[0]: stated 1.0"),
    "a verdict in result.json": (_verdict, "known fields only, got mark"),
    "hard inputs deleted": (_fewer, "inputs that the manifest names"),
    "another sigma": (lambda folder: edit_manifest(folder, lambda t: t["draws"].update(sigma=2.0)), "sigma of the"),
    "a damaged shard": (lambda folder: next(folder.glob("shards/*")).write_bytes(b"PAR1"), "is damaged"),
    "no certificates": (lambda folder: (folder / "certificates.parquet").unlink(), "must exist; run certmix certify"),
}  # fmt: skip


@pytest.mark.parametrize("name", FORGERIES)
def test_what_does_not_follow_from_the_votes_is_refused(submissions, tmp_path, name):
    forge, reason = FORGERIES[name]
    folder = shutil.copytree(submissions / "quarter", tmp_path / "run")
    assert judge(folder).mark == "recomputed"
    forge(folder)
    entry = judge(folder)
    assert entry.mark == "refused"
    assert any(reason in line for line in entry.found.differences), entry.found.differences
    assert not _cells(render_leaderboard([entry]))


def test_forged_votes_are_not_called_verified(submissions, tmp_path):
    """Only drawing again finds them out; without that, the mark says that votes are taken on trust."""
    folder = shutil.copytree(submissions / "quarter", tmp_path / "run")
    edit_shard(folder, lambda rows: rows[0].update(estimation_counts=[500, *[0] * 9]))
    certify_again(folder)
    assert judge(folder).mark == "recomputed"
    assert judge(folder, lambda run, found: found.note("votes", "500", "400")).mark == "refused"
    assert judge(folder, lambda run, found: found.redrawn.append(0)).mark == "verified"


def test_a_folder_without_runs_is_an_error(tmp_path):
    with pytest.raises(InvalidArgument, match="DIR must be a run folder or hold some"):
        run_folders([tmp_path])


def test_runs_over_other_inputs_are_in_another_table(submissions, tmp_path):
    folder = shutil.copytree(submissions / "quarter", tmp_path / "other")
    edit_manifest(folder, lambda tree: tree["draws"]["dataset"].update(fingerprint="e" * 64))
    (folder / "result.json").unlink()
    page = render_leaderboard([judge(submissions / "quarter"), judge(folder)])
    assert page.count("<table") == 2


def test_a_heading_sorts_without_the_network(chromium, page, tmp_path):
    (tmp_path / "page.html").write_text(page)
    tab, asked, said = chromium.new_page(), [], []
    tab.on("request", lambda request: asked.append(request.url))
    tab.on("console", lambda message: said.append(message.text))
    tab.goto((tmp_path / "page.html").as_uri())
    column = "[...document.querySelectorAll('tbody tr')].map(row => row.cells[2].textContent)"
    before = tab.evaluate(column)
    for order in (sorted(before, reverse=True), sorted(before)):
        tab.click("thead button:text('σ')")
        assert tab.evaluate(column) == order
    assert before != sorted(before)
    assert len(asked) == 1
    assert not said
    tab.close()
