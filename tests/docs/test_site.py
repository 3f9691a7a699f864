"""The site builds without a warning, loads nothing from the network, and its links lead somewhere."""

import importlib.util
import os
import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

ROOT = Path(__file__).parents[2]
NEEDED = ("sphinx", "furo", "myst_nb", "latex2mathml")
# What a browser fetches by itself: (tag, attribute).
LOADED = {("script", "src"), ("link", "href"), ("img", "src"), ("iframe", "src"), ("source", "src"), ("video", "src")}
NOT_FETCHED = {"canonical", "search", "index", "next", "prev", "author", "copyright", "help"}


class Page(HTMLParser):
    """Links, loads and anchors of one page."""

    def __init__(self, text):
        super().__init__()
        self.links, self.loads, self.anchors = [], [], set()
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        values = dict(attrs)
        self.anchors |= {values[key] for key in ("id", "name") if values.get(key)}
        if tag == "a" and values.get("href"):
            self.links.append(values["href"])
        for key in ("src", "href"):
            if (tag, key) in LOADED and values.get(key) and values.get("rel") not in NOT_FETCHED:
                self.loads.append(values[key])


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    missing = [name for name in NEEDED if importlib.util.find_spec(name) is None]
    if missing:
        pytest.skip(f"the docs extra is absent: {', '.join(missing)}")
    out = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-W", "--keep-going", "-q", "-b", "html", "-d", out / "trees"]
    built = subprocess.run(
        [*command, ROOT / "docs", out / "html"],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        check=False,
    )
    assert built.returncode == 0, built.stderr[-4000:]
    return out / "html"


@pytest.fixture(scope="module")
def pages(site):
    return {path.relative_to(site).as_posix(): Page(path.read_text()) for path in site.rglob("*.html")}


@pytest.mark.slow
def test_nothing_is_loaded_from_the_network(site, pages):
    loads = [load for page in pages.values() for load in page.loads]
    assert len(loads) > 100
    assert not [load for load in loads if urlsplit(load).scheme in ("http", "https") or load.startswith("//")]
    sheets = [path.read_text() for path in site.rglob("*.css")]
    assert sheets
    assert not [
        url for sheet in sheets for url in re.findall(r"(?:@import|url\()\s*['\"]?((?:https?:)?//[^'\")]+)", sheet)
    ]


@pytest.mark.slow
def test_links_inside_the_site_lead_somewhere(site, pages):
    broken = []
    for name, page in pages.items():
        for link in page.links + page.loads:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = Path(os.path.normpath(Path(name).parent / unquote(parts.path))).as_posix() if parts.path else name
            anchors = pages[target].anchors if target in pages else {parts.fragment}
            if not (site / target).exists() or (parts.fragment and unquote(parts.fragment) not in anchors):
                broken.append((name, link))
    assert not broken


@pytest.mark.slow
def test_formulas_commands_and_functions_are_on_their_pages(site):
    assert "<math" in (site / "understand" / "the_picture.html").read_text()
    core = (site / "generated" / "commands" / "core.html").read_text()
    assert all(f"certmix {name}" in core for name in ("demo", "train", "certify", "export"))
    certifiers = (site / "generated" / "api" / "certifiers.html").read_text()
    assert 'id="certmix.certifiers.exact.exact_radius"' in certifiers
    assert "Guarantee" in certifiers


def test_llms_txt_names_pages_that_exist():
    text = (ROOT / "docs" / "llms.txt").read_text()
    pages = re.findall(r"\]\((.+?)\.html\)", text)
    assert len(pages) > 15
    assert [page for page in pages if not (ROOT / "docs" / f"{page}.md").exists()] == []


def test_links_of_the_readme_lead_somewhere():
    links = re.findall(r"\]\((?!http)(.+?)\)", (ROOT / "README.md").read_text())
    assert len(links) > 8
    assert [link for link in links if not (ROOT / link).exists()] == []


def test_the_readme_stays_short():
    assert len((ROOT / "README.md").read_text().splitlines()) <= 90
