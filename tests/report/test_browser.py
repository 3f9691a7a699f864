"""The page in a real browser, from file://: it certifies as Python does, and asks nothing of the network."""

import numpy as np
import pytest

from certmix.certification.certify import certify
from certmix.certifiers import CERTIFIERS
from certmix.curves import certified_accuracy
from certmix.report import Pictures, picture, render_page
from certmix.report.payload import PAGE_CERTIFIERS
from certmix.rules import LinearRule, ThresholdRule
from certmix.tables import percent_text
from tests.report.made import CLASSES, report_of, write_chain, write_run

SIGMAS = (0.25, 0.5)
HOSTILE = "<img src=x onerror=window.hacked=1>"


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs")
    names = [HOSTILE, *(f"class {number}" for number in range(1, CLASSES))]
    runs = [write_run(folder / f"{sigma}", sigma) for sigma in SIGMAS]
    chained = write_chain(folder / "chained", *runs, rows=np.arange(0, 60, 2))
    return report_of(*runs, classes=names, certificates=chained)


@pytest.fixture(scope="module")
def address(report, tmp_path_factory):
    path = tmp_path_factory.mktemp("page") / "report.html"
    path.write_text(render_page(report))
    return path.as_uri()


@pytest.fixture
def page(chromium, address):
    """The page opened; what it asked for and what it complained of are judged when the test ends."""
    context = chromium.new_context(viewport={"width": 1280, "height": 900})
    opened, asked, said = context.new_page(), [], []
    opened.on("request", lambda request: asked.append(request.url.split("#")[0]))
    opened.on("console", lambda message: said.append(message.text))
    opened.on("pageerror", lambda error: said.append(str(error)))
    opened.goto(address)
    yield opened
    settle(opened)
    context.close()
    assert set(asked) == {address}
    assert said == []


def settle(page):
    """Wait until all that was changed is drawn."""
    page.evaluate(
        """() => new Promise((done) => {
        const look = () => document.documentElement.classList.contains("stale") ? requestAnimationFrame(look) : done();
        requestAnimationFrame(look); })"""
    )


def put(page, name, value):
    page.locator(f"#{name}").evaluate(
        "(input, value) => { input.value = value; input.dispatchEvent(new Event('input', { bubbles: true })); }",
        str(value),
    )
    settle(page)


def shown(page, sigma, cell):
    return page.locator(f"#accuracy-numbers tr[data-sigma='{sigma}'] [data-of={cell}]").inner_text()


def expected(report, rule, certifier, r):
    """Certified accuracy by Python, a text per run."""
    found = []
    for one in report.runs:
        made = certify(one.bounds, rules=rule, certifier=certifier)
        found.append(percent_text(float(certified_accuracy(made, one.labels, [r]).accuracy[0, 0])))
    return found


@pytest.mark.parametrize("weight, r", [(0.7, 0.2), (0.93, 0.31), (1.0, 0.05)])
def test_a_moved_weight_certifies_as_python_does(page, report, weight, r):
    put(page, "r", r)
    put(page, "parameter", weight)
    for certifier in ("exact", "theorem-a1", "theorem-3.5"):
        page.select_option("#certifier", certifier)
        settle(page)
        assert [shown(page, sigma, "at") for sigma in SIGMAS] == expected(report, LinearRule(weight), certifier, r)


def test_a_moved_threshold_certifies_as_python_does_and_clean_accuracy_moves_along(page, report):
    page.locator("input[name=rule][value=threshold]").check(force=True)
    put(page, "r-number", 0.15)
    seen = set()
    for threshold in (0.0, 0.45, 0.9):
        put(page, "parameter", threshold)
        assert [shown(page, sigma, "at") for sigma in SIGMAS] == expected(
            report, ThresholdRule(threshold), "exact", 0.15
        )
        clean = [percent_text(float(one.clean["threshold"](threshold))) for one in report.runs]
        assert [shown(page, sigma, "clean") for sigma in SIGMAS] == clean
        seen.add(tuple(clean))
    assert len(seen) > 1
    assert page.locator("#certifier option[value=theorem-a1]").is_disabled()


def test_the_drawn_curve_is_the_certified_accuracy(page, report):
    put(page, "parameter", 0.85)
    sizes = page.evaluate(
        """() => { const svg = document.querySelector("#accuracy-chart svg"), path = svg.querySelector(".line.hue1");
        const at = path.getAttribute("d").match(/[MHV][^MHV]*/g).map((part) => [part[0], part.slice(1)]);
        const { width, height } = svg.viewBox.baseVal;
        return { at, height, width, reach: Number(document.getElementById("r").max) }; }"""
    )
    x, steps = 50.0, []
    for kind, rest in sizes["at"]:
        if kind == "M":
            x, y = map(float, rest.split())
            steps.append((0.0, y))
        elif kind == "H":
            x = float(rest)
        else:
            steps.append(((x - 50) / (sizes["width"] - 62) * sizes["reach"] * 1.02, float(rest)))
    made = certify(report.runs[1].bounds, rules=LinearRule(0.85))
    r = np.array([step[0] for step in steps])
    wanted = certified_accuracy(made, report.runs[1].labels, r).accuracy[0]
    shares = 1 - (np.array([step[1] for step in steps]) - 12) / (sizes["height"] - 54)
    assert len(steps) > 10
    np.testing.assert_allclose(shares, wanted, atol=1 / 600)


def test_a_chain_stands_still_beside_the_live_curves(page, report):
    (chain,), row = report.chains, page.locator("#accuracy-numbers tr[data-chain]")
    line = page.locator("#accuracy-chart .line.chain")
    drawn = line.get_attribute("d")
    for weight, r in ((0.9, 0.1), (0.7, 0.25)):
        put(page, "r", r)
        put(page, "parameter", weight)
        curve = certified_accuracy(chain.made, chain.made.labels, [0.0, r])
        cells = [percent_text(chain.clean / 30), *map(percent_text, curve.accuracy[0].tolist())]
        interval = f"{percent_text(curve.lower[0, 1])} – {percent_text(curve.upper[0, 1], up=True)}"
        assert row.locator("td").all_inner_texts()[:4] == [*cells, interval]
        assert line.get_attribute("d") == drawn
    assert "over 30 of the 60 inputs" in page.locator("main").inner_text()


def group_counts(page, number):
    """Inputs right and certified at r in every group, of the page's run of that number."""
    return [
        int(row.locator("td").nth(number).get_attribute("data-at"))
        for row in page.locator("#group-numbers tbody tr").all()
    ]


def test_accuracy_by_difficulty_and_by_class_follows_the_sliders(page, report):
    seen = set()
    for threshold, r in ((0.5, 0.1), (0.8, 0.02)):
        page.locator("input[name=rule][value=threshold]").check(force=True)
        put(page, "r", r)
        put(page, "parameter", threshold)
        for number, one in enumerate(report.runs):
            made = certify(one.bounds, rules=ThresholdRule(threshold))
            kept = (made.prediction == one.labels) & (made.radius[0] > 0) & (made.radius[0] >= r)
            assert np.bincount(one.quarter).tolist() == [15] * 4
            for name, group, size in (("difficulty", one.quarter, 4), ("class", one.labels, CLASSES)):
                page.locator(f"input[name=by][value={name}]").check(force=True)
                settle(page)
                assert group_counts(page, number) == np.bincount(group[kept], minlength=size).tolist()
                seen.add((number, name, *group_counts(page, number)))
    assert len(seen) == 8
    assert HOSTILE in page.locator("#group-numbers").inner_text()


def test_the_frontier_keeps_the_clean_accuracy(page, report):
    target = 0.9  # out of reach of one pair
    put(page, "target", target)
    for row in page.locator("#frontier-pairs tbody tr").all():
        sigma, rule = float(row.get_attribute("data-sigma")), row.get_attribute("data-rule")
        one = next(one for one in report.runs if one.bounds.sigma == sigma)
        cells = row.locator("td").all_inner_texts()
        if one.clean[rule].at.max() < target:
            assert cells[1] == "out of reach"
            continue
        best = one.clean[rule].best(target)
        assert cells[1] == f"{best:.4f}"
        assert cells[2] == percent_text(float(one.clean[rule](best)))


def test_the_table_sorts_filters_and_pages(page, report):
    one = report.runs[0]
    page.locator("#inputs thead button[data-sort=radius]").click()
    page.locator("#inputs thead button[data-sort=radius]").click()
    settle(page)
    radius = certify(one.bounds, rules=LinearRule(0.8)).radius[0]
    values = [float(text) for text in page.locator("#inputs tbody [data-of=radius]").all_inner_texts()]
    np.testing.assert_allclose(values, np.sort(radius)[::-1][:25], atol=1.1e-4)
    assert page.locator("#inputs th[aria-sort=descending]").count() == 1
    page.locator("#next").click()
    settle(page)
    assert page.locator("#found").inner_text().startswith("26–50 of 60")
    page.locator("#filter").fill("class 3")
    settle(page)
    wanted = int(((one.labels == 3) | (one.bounds.prediction == 3)).sum())
    assert f"of {wanted} inputs" in page.locator("#found").inner_text()


def test_a_hostile_class_name_stays_text(page):
    page.locator("#filter").fill("onerror")
    settle(page)
    assert HOSTILE in page.locator("#inputs tbody td").first.inner_text()
    page.locator("#inputs tbody button").first.click()
    settle(page)
    assert HOSTILE in page.locator("#detail").inner_text()
    assert page.locator("img").count() == 0
    assert page.evaluate("window.hacked") is None


def test_a_chosen_input_shows_its_picture_and_the_margin_it_keeps(chromium, tmp_path):
    pictures = Pictures("f" * 64, {3: picture(np.eye(8)[None])})
    path = tmp_path / "report.html"
    path.write_text(render_page(report_of(write_run(tmp_path / "run"), pictures=pictures)))
    page = chromium.new_page()
    page.goto(f"{path.as_uri()}#row=3&weight=0.7&certifier=theorem-a1")
    settle(page)
    assert page.locator("#inputs img").count() == 1
    assert page.locator("#detail img").evaluate("image => image.decode().then(() => image.naturalWidth)") == 8
    figure = page.locator("#detail figure.margins")
    assert figure.locator("path.margin").count() == sum(CERTIFIERS[name].norm == "l2" for name in PAGE_CERTIFIERS)
    assert figure.locator("path.chosen").get_attribute("class") == "margin theorem-a1 chosen"
    radius = page.locator("#inputs tr[data-row='3'] [data-of=radius]").inner_text()
    assert f"needs 0.429, which holds up to radius {radius}" in figure.locator("svg").get_attribute("aria-label")
    page.locator("input[value=threshold]").evaluate("radio => radio.click()")
    settle(page)
    assert "probability of h’s class" in page.locator("#detail figcaption").inner_text()
    page.close()


def test_a_link_holds_the_view(page, address):
    put(page, "parameter", 0.9)
    page.locator("#inputs tbody button").nth(2).click()
    settle(page)
    link = page.evaluate("location.hash")
    assert {"weight=0.9", "row=2"} <= set(link[1:].split("&"))
    before = page.locator("#headline").inner_text()
    put(page, "parameter", 0.6)
    assert page.locator("#headline").inner_text() != before
    opened = page.context.new_page()
    opened.goto(address + link)
    settle(opened)
    assert opened.locator("#headline").inner_text() == before
    assert opened.locator("#detail h3").inner_text().startswith("Input 2 ")


def test_a_nonsense_link_is_no_error(page, address):
    page.goto(
        f"{address}#rule=x&certifier=y&r=-4&run=99&row=1e9&sort=__proto__&scale=z&show=q&weight=NaN&filter=%3Cb%3E"
    )
    settle(page)
    assert page.locator("#headline").inner_text()


def test_the_keyboard_moves_a_slider(page):
    page.locator("#parameter").focus()
    before = page.locator("#parameter-number").input_value()
    for _ in range(5):
        page.keyboard.press("ArrowRight")
    settle(page)
    assert float(page.locator("#parameter-number").input_value()) == pytest.approx(float(before) + 0.005)


def test_the_page_fits_a_phone_and_a_sheet(page):
    page.set_viewport_size({"width": 390, "height": 800})
    settle(page)
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert len(page.pdf(format="A4")) > 10_000


def test_without_a_script_the_tables_are_there(chromium, address):
    context = chromium.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto(address)
    assert page.locator("table.static").count() == len(SIGMAS) + 1  # and that of the chain
    assert page.locator("#accuracy-chart").is_hidden()
    assert "Without JavaScript" in page.locator("header").inner_text()
    context.close()
