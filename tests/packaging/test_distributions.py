"""`python -m build` makes an sdist and, from it, a wheel; both hold the package, and the wheel runs without the tree.

Nothing is downloaded: the build uses the installed setuptools, and the dependencies are those that are installed.
"""

import os
import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

from certmix.version import __version__

ROOT = Path(__file__).parents[2]
WHAT_RUNS = """
import sys
from pathlib import Path
import certmix
from certmix.cli.main import app

assert Path(certmix.__file__).is_relative_to(sys.argv[1]), certmix.__file__
data, promise = ["--dataset", "digits", "--quiet"], ["--failure-probability", "0.5"]
for command in (
    ["train", *data, "--epochs", "1", "--sigma", "0.5", "--out", "h.safetensors"],
    ["sample", *data, "--robust", "h.safetensors", "--sigma", "0.5", "--max", "3", "--N0", "4", "--N", "20", "--out", "run"],
    ["certify", "run", *promise, "--quiet"],
    ["report", "run", *promise, "--out", "report.html", "--quiet"],
):
    app(command, standalone_mode=False)
"""


def _files(folder):
    """Paths below a folder, without what running it left there."""
    return {
        str(path.relative_to(folder.parent).as_posix())
        for path in folder.rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }


def _run(*words, cwd, **environment):
    done = subprocess.run(
        [str(word) for word in words],
        cwd=cwd,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1", **environment},
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout


@pytest.fixture(scope="module")
def distributions(tmp_path_factory):
    """The sdist and the wheel that was built from it, of a copy of this checkout."""
    pytest.importorskip("build", reason="build is absent (pip install -e '.[dev]')")
    setuptools = pytest.importorskip("setuptools", reason="setuptools is absent (pip install -e '.[dev]')")
    if int(setuptools.__version__.split(".")[0]) < 77:
        pytest.skip(f"setuptools must be 77 or newer to build without a network, got {setuptools.__version__}")
    source = tmp_path_factory.mktemp("source") / "certmix"
    for folder in ("certmix", "tests", "notebooks"):
        shutil.copytree(ROOT / folder, source / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for path in ROOT.iterdir():
        if path.is_file():
            shutil.copy(path, source)
    _run(sys.executable, "-m", "build", "--no-isolation", cwd=source)
    (sdist,), (wheel,) = (source / "dist").glob("*.tar.gz"), (source / "dist").glob("*.whl")
    assert __version__ in sdist.name
    assert __version__ in wheel.name
    return sdist, wheel


def test_both_hold_every_file_of_the_package(distributions):
    sdist, wheel = distributions
    package = _files(ROOT / "certmix")
    assert {"certmix/py.typed", "certmix/datasets/digits.npz", "certmix/report/page/page.html"} <= package
    inside = set(zipfile.ZipFile(wheel).namelist())
    assert {name for name in inside if not name.startswith(f"certmix-{__version__}.dist-info/")} == package
    with tarfile.open(sdist) as archive:
        unpacked = {name.partition("/")[2] for name in archive.getnames()}
    assert package <= unpacked
    assert {"README.md", "LICENSE", "Makefile", "constraints.txt", "tests/conftest.py"} <= unpacked


def test_the_wheel_says_what_it_is(distributions):
    text = zipfile.ZipFile(distributions[1]).read(f"certmix-{__version__}.dist-info/METADATA").decode()
    said, _, readme = text.partition("\n\n")
    for line in (
        "License-Expression: MIT",
        "Requires-Python: >=3.11",
        "Provides-Extra: hf",
        "Keywords: certified robustness",
    ):
        assert line in said
    assert "Project-URL: Paper, https://arxiv.org/abs/2301.12554" in said
    assert readme.startswith("# certmix")


def test_the_installed_wheel_trains_samples_certifies_and_reports(distributions, tmp_path):
    pytest.importorskip("pip", reason="pip is absent")
    place, empty = tmp_path / "installed", tmp_path / "empty"
    empty.mkdir()
    pip = ("-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--disable-pip-version-check", "--no-compile")
    _run(sys.executable, *pip, "--target", place, distributions[1], cwd=empty)
    script = place / "bin" / "certmix"
    assert _run(script, "--version", cwd=empty, PYTHONPATH=str(place)) == f"certmix {__version__}\n"
    assert "certify" in _run(script, "--help", cwd=empty, PYTHONPATH=str(place))
    said = _run(sys.executable, "-c", WHAT_RUNS, place, cwd=empty, PYTHONPATH=str(place), OMP_NUM_THREADS="1")
    assert "| exact" in said
    assert "</html>" in (empty / "report.html").read_text()
