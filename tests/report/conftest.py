"""A browser, and something that runs the page's own JavaScript: Node.js or that browser; skipped where neither is."""

import json
import shutil
import subprocess

import pytest

from certmix.report.page import SCRIPTS, _read

FLAGS = [
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
]


@pytest.fixture(scope="session")
def chromium():
    """A headless Chromium, driven by Playwright."""
    playwright = pytest.importorskip(
        "playwright.sync_api", reason="playwright is absent (pip install certmix[report-test])"
    )
    executable = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if executable is None:
        pytest.skip("no Chromium is installed (apt-get install chromium)")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=executable, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="session")
def javascript(request):
    """A function (expression, argument) -> value of the expression in the page's scripts, as JSON values."""
    sources = "".join(_read(f"{name}.js") for name in SCRIPTS if name != "main")
    node = shutil.which("node")
    if node is None:
        page = request.getfixturevalue("chromium").new_page()
        return lambda expression, argument: page.evaluate(
            f"argument => {{ {sources}\nreturn {expression}; }}", argument
        )

    def run(expression, argument):
        code = f"const argument = JSON.parse(require('fs').readFileSync(0));{sources}\n"
        code += f"process.stdout.write(JSON.stringify({expression}));"
        done = subprocess.run([node, "-e", code], input=json.dumps(argument), capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    return run
