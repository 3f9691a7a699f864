"""Every command and Python block of the README and the documentation runs, in order, and prints no empty results."""

import contextlib
import fcntl
import re

import pytest

from certmix.cli import demo
from tests.docs import blocks
from tests.docs.blocks import PAGES, ROOT, Block, blocks_of, commands_of, cut, run_command, run_page

FIRST = ROOT / "docs" / "start" / "five_minutes.md"
RUNNABLE = [page for page in PAGES if any(not block.not_run for block in blocks_of(page))]
MANY = [page for page in RUNNABLE if page != FIRST]
NOT_RUN = {  # every block that is not run, by page: a new one is a decision
    "README.md": 3,
    "docs/how_to/denoised_smoothing.md": 1,
    "docs/how_to/many_gpus.md": 2,
    "docs/start/cifar10.md": 1,
    "docs/start/five_minutes.md": 1,
    "docs/start/your_own.md": 3,
}
pytestmark = pytest.mark.filterwarnings("default")  # as a reader runs them; elsewhere a warning is an error


def _name(page):
    return str(page.relative_to(ROOT))


@pytest.fixture(scope="session")
def first(tmp_path_factory):
    """Folder after the first page, which trains the models that the others use; made once, whatever the processes."""
    base = tmp_path_factory.getbasetemp()
    shared = (base.parent if base.name.startswith("popen-") else base) / "first-page"
    with (shared.parent / "first-page.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        done = shared / "printed.txt"
        if not done.exists():
            shared.mkdir()
            with pytest.MonkeyPatch.context() as patch, contextlib.chdir(shared):
                patch.setattr(demo, "ACCURATE", {"sigma": 0.15, "epochs": 12})
                patch.setattr(demo, "ROBUST", {"epochs": 12})
                run_command(["certmix", "demo", "--out", "demo"])
            done.write_text("\f".join(run_page(FIRST, None, shared)))
    return shared


@pytest.mark.slow
def test_the_first_page_runs(first):
    check_printed((first / "printed.txt").read_text().split("\f"))


@pytest.mark.slow
@pytest.mark.parametrize("page", MANY, ids=_name)
def test_a_page_runs(page, first, tmp_path):
    check_printed(run_page(page, first, tmp_path / "page"))


def check_printed(printed):
    """Something was printed, and no table of it is all zeros."""
    assert any(text.strip() for text in printed)
    for text in printed:
        for table in re.findall(r"(?:^\|.*\n)+", text, re.MULTILINE):
            assert _numbers(table), f"a table without a number above 0:\n{table}"


def _numbers(table):
    """Numbers above 0 in a table's cells, without its head, its first column and intervals in brackets."""
    cells = [cell for row in table.splitlines()[2:] for cell in re.sub(r"\[.*?\]", "", row).split("|")[2:]]
    return [number for cell in cells for number in re.findall(r"\d+\.?\d*", cell) if float(number) > 0]


def test_a_table_of_zeros_is_noticed():
    with pytest.raises(AssertionError, match="without a number above 0"):
        check_printed(["| r | c |\n|---|---|\n| 0.25 | 0.0 [0.0, 1.3] |\n"])


def test_blocks_that_are_not_run_are_these_and_say_why():
    found = {_name(page): sum(block.not_run is not None for block in blocks_of(page)) for page in PAGES}
    assert {page: count for page, count in found.items() if count} == NOT_RUN


def test_every_page_with_commands_is_found():
    assert len(RUNNABLE) >= 14
    assert sum(len(commands_of(block)) for page in RUNNABLE for block in blocks_of(page) if block.language == "sh") > 50


def test_sizes_are_cut_and_nothing_else():
    words = ["certify", "--robust", "h", "--max", "300", "--mixing-weight", "1"]
    assert cut(words) == ["certify", "--robust", "h", "--max", "24", "--mixing-weight", "1", "--N", "500"]
    assert cut(["certify", "runs/half", "--mixing-weight", "1"]) == ["certify", "runs/half", "--mixing-weight", "1"]


def test_a_command_that_is_no_longer_there_fails(tmp_path):
    page = tmp_path / "page.md"
    page.write_text("```sh\ncertmix nonsense\n```\n")
    with pytest.raises(AssertionError, match="certmix nonsense"):
        run_page(page, None, tmp_path)
    block = Block("sh", "rm -rf x\n", 1, None, None)
    with pytest.raises(AssertionError, match="only certmix commands"):
        blocks.run_command(commands_of(block)[0])
