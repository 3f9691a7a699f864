// View 3: at a chosen clean accuracy, the best pair of a rule's parameter and a sigma at every radius.

class FrontierView {
  constructor(report, state, changed) {
    Object.assign(this, { report, state });
    this.section = document.getElementById("frontier");
    const percent = (share) => Math.round(100 * share);
    this.chart = new Chart(document.getElementById("frontier-chart"), {
      x: { low: 0, high: report.reach * 1.02, label: report.radiusAxis },
      y: { low: 0, high: 1, label: "inputs right and certified (%)", ticks: [0, 0.2, 0.4, 0.6, 0.8, 1], text: percent },
    }, () => this.update());
    this.chart.onDrag((r) => changed({ r }));
    this.body = document.querySelector("#frontier-pairs tbody");
  }

  /** Every run by every rule at the parameter that keeps the target. */
  pairs() {
    const { report, state } = this, wanted = Math.ceil(state.target * report.runs[0].size - 1e-9), found = [];
    for (const { kind } of report.rules) {
      const certifier = RADIUS[kind][state.certifier] ? state.certifier : null;
      for (const run of report.runs) {
        const parameter = certifier && run.steps[kind] ? run.steps[kind].best(wanted) : null;
        found.push({ run, kind, how: parameter === null ? null : { rule: kind, certifier, parameter } });
      }
    }
    return found;
  }

  update() {
    const { report, state } = this, size = report.runs[0].size, pairs = this.pairs(), able = pairs.filter((pair) => pair.how);
    const at = able.map((pair) => pair.run.count(pair.how, state.r)), most = Math.max(0, ...at);
    this.body.replaceChildren(...pairs.map((pair) => {
      const { title } = report.rule(pair.kind), count = pair.how ? pair.run.count(pair.how, state.r) : 0;
      const cells = pair.how ? [pair.how.parameter.toFixed(4), percentDown(pair.run.clean(pair.how) / size),
        percentDown(count / size)] : ["out of reach", "–", "–"];
      const row = element("tr", { "data-sigma": pair.run.sigma, "data-rule": pair.kind });
      row.append(element("th", { scope: "row" }, [swatch(pair.run.number, pair.kind), ` ${pair.run.name}`]),
        element("td", { class: "text" }, [title]), ...cells.map((cell) => element("td", {}, [cell])));
      row.classList.toggle("best", pair.how !== null && count === most && most > 0);
      return row;
    }));
    document.getElementById("frontier-radius").textContent = report.atRadius(state.r);
    document.getElementById("target-text").textContent = `${(100 * state.target).toFixed(1)} %`;
    if (this.chart.ready) this.draw(able, size);
  }

  draw(able, size) {
    const { chart, state } = this, counts = able.map((pair) => chart.columns(pair.run.certify(pair.how).reached));
    chart.drop("pair"); chart.drop("best"); chart.drop("strip");
    if (able.length) {
      const steps = counts[0].length, best = new Int32Array(steps), who = new Int32Array(steps);
      for (let k = 0; k < steps; k++) {
        counts.forEach((one, pair) => { if (one[k] > best[k]) { best[k] = one[k]; who[k] = pair; } });
        if (k && best[k] && counts[who[k - 1]][k] === best[k]) who[k] = who[k - 1];
      }
      chart.set("best", "path", { class: "frontier", d: chart.steps(best, (k) => k / size) });
      this.strip(able, best, who);
    }
    able.forEach((pair, number) => chart.set(`pair${number}`, "path", { class: `line thin ${hue(pair.run.number)} ${pair.kind}`,
      d: chart.steps(counts[number], (k) => k / size) }));
    const x = chart.x(Math.min(state.r, chart.axes.x.high));
    chart.drop("cursor");
    chart.set("cursor", "line", { class: "cursor", x1: x, x2: x, y1: chart.top, y2: chart.bottom });
    chart.set("target", "line", { class: "target", x1: chart.left, x2: chart.right, y1: chart.y(state.target), y2: chart.y(state.target) });
    chart.set("target-name", "text", { class: "label", x: chart.right - 4, y: chart.y(state.target) + 14, "text-anchor": "end" },
      "clean accuracy kept");
    chart.root.setAttribute("aria-label", `Frontier at clean accuracy ${(100 * state.target).toFixed(1)} %: best certified ` +
      `accuracy at every radius over ${able.length} pairs of a sigma and a rule; the table below has the numbers.`);
  }

  /** Along the axis, the pair that attains each radius. */
  strip(able, best, who) {
    const { chart } = this;
    for (let k = 0, from = 0; k <= best.length; k++) {
      if (k < best.length && who[k] === who[from] && (best[k] > 0) === (best[from] > 0)) continue;
      if (best[from] > 0) {
        const pair = able[who[from]];
        chart.set(`strip${from}`, "rect", { class: `strip ${hue(pair.run.number)} ${pair.kind}`, x: chart.left + from,
          y: chart.bottom - 7, width: k - from, height: 7 });
      }
      from = k;
    }
  }
}
