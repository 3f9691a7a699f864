// View 4: the plane of (h_y, h_i): every input a point, the rule's region shaded, and one input's path as r grows.

const PROBIT = [0.0001, 0.001, 0.01, 0.1, 0.5, 0.9, 0.99, 0.999, 0.9999];

class PlaneView {
  constructor(report, state, changed) {
    Object.assign(this, { report, state, changed, section: document.getElementById("plane-chart").closest("section") });
    this.chart = new Chart(document.getElementById("plane-chart"), this.axes(), () => this.update(), 0.92);
    this.chart.root.addEventListener("click", (event) => this.pick(event));
  }

  axes() {
    const probit = this.state.scale === "probit", text = (z) => String(Number(cdf(z).toFixed(5)));
    const range = probit ? { low: -4, high: 4, ticks: PROBIT.map(quantile), text } : { low: 0, high: 1 };
    return { x: { ...range, label: "probability of h’s class, at least" }, y: { ...range, label: "of any rival, at most" } };
  }

  scaled(p) { return this.state.scale === "probit" ? Math.min(Math.max(quantile(p), -4), 4) : p; }
  at(p, q) { return [this.chart.x(this.scaled(p)), this.chart.y(this.scaled(q))]; }

  update() {
    if (!this.chart.ready) return;
    if (this.drawnScale !== this.state.scale) {
      this.drawnScale = this.state.scale;
      this.chart.axes = this.axes();
      this.chart.drawAxes();
    }
    this.drawRegion();
    this.drawPoints();
    this.drawPath();
  }

  /** Edge of the region: the largest rival probability that keeps h's class, at every h_y. */
  drawRegion() {
    const { chart } = this, how = this.state.how(), c = how.parameter, mu = (1 - c) / c, outer = [];
    const edge = how.rule === "threshold" ? [this.at(c, Math.min(c, 1 - c))] : [];
    for (let k = 0; k <= 400; k++) {
      const p = k < 200 ? k / 200 : 1 - 10 ** (-5 * (k - 200) / 200) * 0.005;
      const q = how.rule === "threshold" ? (p > c ? p : 0) : Math.max(p - mu, 0);
      if (q > 0) edge.push(this.at(p, Math.min(q, 1 - p)));
    }
    const start = how.rule === "threshold" ? c : mu, floor = this.at(Math.min(start, 1), 0), end = this.at(1, 0);
    const shape = [floor, ...edge, end].map((point) => point.map((v) => v.toFixed(1)).join(" ")).join("L");
    for (let k = 0; k <= 100; k++) outer.push(this.at(k / 100, 1 - k / 100).map((v) => v.toFixed(1)).join(" "));
    chart.set("sum", "path", { class: "sum", d: `M${outer.join("L")}` });
    chart.set("region", "path", { class: "region", d: start < 1 ? `M${shape}Z` : "" });
  }

  /** Every input at (L(r), U(r)), each pixel once. */
  drawPoints() {
    const { chart, state } = this, run = state.currentRun(), how = state.how(), t = state.r / run.sigma;
    const { radii } = run.certify(how), seen = new Set();
    const kinds = ["kept", "lost", "wrong"], parts = { kept: [], lost: [], wrong: [] };
    for (let row = 0; row < run.size; row++) {
      if (run.prediction[row] === run.none) continue;
      const moved = t > 0 ? envelope(how.certifier, run.top[row], run.rival[row], run.zTop[row], run.zRival[row], t)
        : [run.top[row], run.rival[row]];
      const kind = !run.right(row) ? "wrong" : radii[row] > 0 && radii[row] >= state.r ? "kept" : "lost";
      const [x, y] = this.at(...moved), key = (Math.round(2 * x) * 4096 + Math.round(2 * y)) * 3 + kinds.indexOf(kind);
      if (!seen.has(key)) { seen.add(key); parts[kind].push(`M${x.toFixed(1)} ${y.toFixed(1)}h0`); }
    }
    for (const kind of ["lost", "wrong", "kept"]) chart.set(kind, "path", { class: `points ${kind}`, d: parts[kind].join("") });
    const kept = run.count(how, state.r);
    chart.root.setAttribute("aria-label", `Plane of probabilities at ${run.name}: at radius ${this.report.radiusLabel(state.r)}, ${kept} of ` +
      `${run.size} inputs are right and still inside the region in which h's class is kept.`);
  }

  drawPath() {
    const { chart, state } = this, run = state.currentRun(), how = state.how(), row = state.row;
    chart.drop("path"); chart.drop("stop");
    if (row === null || run.prediction[row] === run.none) return;
    const bounds = [run.top[row], run.rival[row], run.zTop[row], run.zRival[row]], path = [];
    const far = Math.max(this.report.reach / run.sigma, 0.1);
    for (let k = 0; k <= 80; k++) path.push(this.at(...envelope(how.certifier, ...bounds, far * k / 80)).map((v) => v.toFixed(1)).join(" "));
    chart.set("path", "path", { class: "path", d: `M${path.join("L")}` });
    const [sx, sy] = this.at(bounds[0], bounds[1]);
    chart.set("path-start", "circle", { class: "start", cx: sx, cy: sy, r: 5 });
    const taken = [];
    for (const { name, label } of this.report.certifiers) {
      const r = run.radius(row, { ...how, certifier: name });
      if (!r || (SLOPES[name] || null) !== (SLOPES[how.certifier] || null)) continue; // on another path
      const [x, y] = this.at(...envelope(name, ...bounds, r / run.sigma));
      chart.set(`stop${name}`, "circle", { class: `stop ${name === how.certifier ? "chosen" : ""}`, cx: x, cy: y, r: 5 });
      let line = y + 4;
      while (taken.some((other) => Math.abs(other - line) < 14)) line += 14;
      taken.push(line);
      const inside = x > chart.right - 150;
      chart.set(`stop-name${name}`, "text", { class: "label", x: inside ? x - 10 : x + 10, y: line,
        "text-anchor": inside ? "end" : "start" }, `${label}: ${radiusText(r)}`);
    }
  }

  /** Select the input nearest to a click. */
  pick(event) {
    const { state, chart } = this, run = state.currentRun(), box = chart.root.getBoundingClientRect(), how = state.how();
    const [px, py] = [event.clientX - box.left, event.clientY - box.top];
    let nearest = null, least = 900;
    for (let row = 0; row < run.size; row++) {
      if (run.prediction[row] === run.none) continue;
      const [x, y] = this.at(...envelope(how.certifier, run.top[row], run.rival[row], run.zTop[row], run.zRival[row], state.r / run.sigma));
      const distance = (x - px) ** 2 + (y - py) ** 2;
      if (distance < least) [least, nearest] = [distance, row];
    }
    if (nearest !== null) this.changed({ row: nearest });
  }
}
