"""How large is a report, how soon is it painted, and how smoothly does a slider move?  Random votes of ten classes.

Usage: python benchmarks/report_size.py [--inputs 300,10000,100000]
Needs Chromium and Playwright (pip install certmix[report-test]). Results: benchmarks/results/report.md.
"""

import argparse
import shutil
import statistics
import sys
import tempfile
import time
from pathlib import Path

from playwright.sync_api import CDPSession, Page, sync_playwright

sys.path.insert(0, str(Path(__file__).parents[1]))

from certmix.report import render_page
from tests.report.conftest import FLAGS
from tests.report.made import report_of, write_run

REPEATS, FRAMES = 5, 60
_PAINTED = """() => new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(() => done(
    [performance.getEntriesByName("first-contentful-paint")[0]?.startTime ?? performance.now(), performance.now()]))))"""
_SLIDE = """([id, low, high, frames]) => new Promise((done) => {
    const input = document.getElementById(id), started = performance.now(); let frame = 0;
    const step = () => {
        if (frame === frames) return done(1000 * frames / (performance.now() - started));
        input.value = low + (high - low) * frame++ / frames;
        input.dispatchEvent(new Event("input", { bubbles: true }));
        requestAnimationFrame(step);
    };
    requestAnimationFrame(step);
})"""


def measure(page: Page, address: str) -> list[float]:
    """First paint and all drawn in ms, median; then of the weight's and the radius's slider frames per second, and ms of
    processor time that the page's thread takes for a frame, which other work on the machine does not change.
    """
    times, devtools = [], page.context.new_cdp_session(page)
    devtools.send("Performance.enable", {"timeDomain": "threadTicks"})
    for _ in range(REPEATS):
        page.goto("about:blank")
        page.goto(address)
        times.append(page.evaluate(_PAINTED))
    reach = page.evaluate("Number(document.getElementById('r').max)")
    frames = []
    for slider in (["parameter", 0.6, 0.99], ["r", 0, reach]):
        before = _processor_time(devtools)
        frames += [page.evaluate(_SLIDE, [*slider, FRAMES]), (_processor_time(devtools) - before) / FRAMES]
    return [*(statistics.median(column) for column in zip(*times, strict=True)), *frames]


def _processor_time(devtools: CDPSession) -> float:
    """Of the page's thread so far, in ms."""
    metrics = devtools.send("Performance.getMetrics")["metrics"]
    return 1000 * next(one["value"] for one in metrics if one["name"] == "TaskDuration")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--inputs", default="300,10000,100000")
    sizes = [int(part) for part in parser.parse_args().inputs.split(",")]
    print(
        "| inputs | runs | written, s | size, MB | first paint, ms | all drawn, ms | weight, fps (ms) | radius, fps (ms) |"
    )
    print("|--:|--:|--:|--:|--:|--:|--:|--:|")
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=shutil.which("chromium"), args=FLAGS)
        for inputs in sizes:
            sigmas = (0.25, 0.5, 1.0)
            made = [write_run(Path(folder, f"{inputs}-{sigma}"), sigma, inputs, 10_000) for sigma in sigmas]
            for runs in (1, len(sigmas)):
                started, path = time.perf_counter(), Path(folder, f"{inputs}-{runs}.html")
                path.write_text(render_page(report_of(*made[:runs])))
                took, page = time.perf_counter() - started, browser.new_page(viewport={"width": 1280, "height": 900})
                paint, drawn, weight, cost, radius, less = measure(page, path.as_uri())
                size = path.stat().st_size / 1e6
                sliders = f"{weight:.0f} ({cost:.1f}) | {radius:.0f} ({less:.1f})"
                measured = f"{took:.1f} | {size:.2f} | {paint:.0f} | {drawn:.0f} | {sliders}"
                print(f"| {inputs:,} | {runs} | {measured} |", flush=True)
                page.close()
        browser.close()


if __name__ == "__main__":
    main()
