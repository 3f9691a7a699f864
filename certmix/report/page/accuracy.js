// View 1: certified accuracy against radius, every sigma in one axis; and the same numbers as a table.

class AccuracyView {
  constructor(report, state, changed) {
    Object.assign(this, { report, state, changed, section: document.getElementById("accuracy-chart").closest("section") });
    const percent = (share) => Math.round(100 * share);
    this.chart = new Chart(document.getElementById("accuracy-chart"), {
      x: { low: 0, high: report.reach * 1.02, label: report.radiusAxis },
      y: { low: 0, high: 1, label: "inputs right and certified (%)", ticks: [0, 0.2, 0.4, 0.6, 0.8, 1], text: percent },
    }, () => this.update());
    this.chart.onDrag((r) => changed({ r }));
    this.body = document.querySelector("#accuracy-numbers tbody");
    this.rows = report.curves.map((run) => {
      const row = element("tr", { [`data-${run.kind === "run" ? "sigma" : "chain"}`]: run.sigma ?? run.number });
      row.append(element("th", { scope: "row" }, [swatch(run.number, run.kind), ` ${run.name}`]));
      for (const name of ["clean", "any", "at", "interval", "largest"]) row.append(element("td", { "data-of": name }));
      this.body.append(row);
      return row;
    });
  }

  update() {
    const { report, state } = this, how = state.how();
    let best = null;
    for (const run of report.curves) {
      const count = run.count(how, state.r), clean = run.clean(how), [low, high] = report.interval(count, run.size);
      const cells = {
        clean: clean === null ? "–" : percentDown(clean / run.size),
        any: percentDown(run.count(how, 0) / run.size),
        at: percentDown(count / run.size),
        interval: `${percentDown(low)} – ${percentUp(high)}`,
        largest: radiusText(run.certify(how).reached.at(-1) || 0),
      };
      const row = this.rows[run.number];
      for (const cell of row.querySelectorAll("td")) cell.textContent = cells[cell.dataset.of];
      row.dataset.count = count;
      if (run.kind === "run" && (!best || count / run.size > best.count / best.run.size)) best = { run, count };
    }
    for (const row of this.rows) row.classList.toggle("best", Number(row.dataset.sigma) === best.run.sigma && best.count > 0);
    document.getElementById("accuracy-radius").textContent = report.atRadius(state.r);
    this.say(best, how);
    if (this.chart.ready) this.draw(how);
  }

  say(best, how) {
    const { report, state } = this, { run, count } = best, share = percentDown(count / run.size);
    const { name: rule, title } = report.rule(how.rule), certifier = report.certifierLabel(how.certifier);
    document.getElementById("headline").replaceChildren(
      element("strong", { id: "headline-share" }, [`${share} %`]),
      ` of ${run.size.toLocaleString("en")} inputs are right and certified at radius ${report.radiusLabel(state.r)}, whatever the accurate model ` +
      `answers (${rule}, ${title} ${parameterText(how.parameter)}, ${run.name}; certificate: ${certifier}).`);
    this.chart.root.setAttribute("aria-label",
      `Certified accuracy against radius, ${title} ${parameterText(how.parameter)}, ${certifier}. At radius ${report.radiusLabel(state.r)}: ` +
      report.curves.map((one) => `${one.name} ${percentDown(one.count(how, state.r) / one.size)} %`).join(", "));
  }

  draw(how) {
    const { chart, report, state } = this;
    const columns = report.curves.map((run) => chart.columns(run.certify(how).reached));
    for (const run of report.curves) {
      const counts = columns[run.number], bounds = report.lower[run.size], n = run.size;
      chart.set(`band${run.number}`, "path", { class: `band ${hue(run.number)}`,
        d: chart.band(counts, (k) => bounds[k], (k) => 1 - bounds[n - k]) });
    }
    for (const run of report.curves) {
      const counts = columns[run.number], clean = run.clean(how);
      chart.set(`line${run.number}`, "path", { class: `line ${hue(run.number)} ${run.kind}`, d: chart.steps(counts, (k) => k / run.size) });
      if (clean !== null) {
        const at = `translate(${chart.left + 9 * run.number} ${chart.y(clean / run.size)})`;
        chart.set(`clean${run.number}`, "path", { class: `clean ${hue(run.number)}`, d: "M-6 0L0-6L6 0L0 6Z", transform: at });
      }
    }
    const x = chart.x(Math.min(state.r, chart.axes.x.high));
    chart.set("cursor", "line", { class: "cursor", x1: x, x2: x, y1: chart.top, y2: chart.bottom });
    for (const run of report.curves) {
      chart.set(`dot${run.number}`, "circle", { class: `dot ${hue(run.number)}`, r: 4, cx: x,
        cy: chart.y(run.count(how, state.r) / run.size) });
    }
  }
}
