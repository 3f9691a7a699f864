// What one input grants: by every certifier, the largest requirement that is still met at each radius.

/** The requirement of a rule's parameter: the margin (1 - a) / a of Eq. 5, or h's own probability c; and its inverse. */
const REQUIREMENT = {
  linear: { of: (a) => (1 - a) / a, parameter: (m) => 1 / (1 + m), label: "margin of h’s class, at least" },
  threshold: { of: (c) => c, parameter: (c) => c, label: "probability of h’s class, at least" },
};
const MARGIN_STEPS = 150;

/** Points [radius, requirement] of one certifier, as the radius grows: radii at every requirement, so that what is drawn is
 * what is certified. */
function marginCurve(run, row, rule, certifier) {
  const { parameter } = REQUIREMENT[rule], points = [];
  const high = Math.max(rule === "linear" ? run.top[row] - run.rival[row] : run.top[row], 0);
  for (let k = MARGIN_STEPS; k >= 0; k--) {
    const need = high * k / MARGIN_STEPS, r = run.radius(row, { rule, certifier, parameter: parameter(need) });
    if (r > 0 || k === MARGIN_STEPS) points.push([r, need]);
  }
  return points;
}

/** The curves as a figure, with what the rule needs as a line and the certificate where they meet. */
function marginFigure(report, run, row, how) {
  const width = 340, height = 200, [left, right, top, bottom] = [38, 330, 10, 164], { of, label } = REQUIREMENT[how.rule];
  const drawn = report.certifiers.filter(({ name }) => RADIUS[how.rule][name]).map(({ name }) => [name, marginCurve(run, row, how.rule, name)]);
  const reach = 1.08 * Math.max(...drawn.flatMap(([, points]) => points.map(([r]) => r)), 0.02), need = of(how.parameter);
  const x = (r) => left + (right - left) * r / reach, y = (value) => bottom - (bottom - top) * value;
  const made = svg("svg", { viewBox: `0 0 ${width} ${height}`, class: "chart margins", role: "img" });
  const grid = svg("g", { class: "grid" }), radius = run.radius(row, how);
  made.setAttribute("aria-label", `${label}, against the radius: the rule needs ${need.toFixed(3)}, which holds up to radius ${radiusText(radius)}.`);
  for (const at of ticks(0, reach, 4)) {
    grid.append(svg("line", { x1: x(at), x2: x(at), y1: top, y2: bottom }), svg("text", { x: x(at), y: bottom + 15, "text-anchor": "middle" }, String(at)));
  }
  for (const at of [0, 0.5, 1]) {
    grid.append(svg("line", { x1: left, x2: right, y1: y(at), y2: y(at) }), svg("text", { x: left - 6, y: y(at) + 3.5, "text-anchor": "end" }, String(at)));
  }
  grid.append(svg("text", { x: (left + right) / 2, y: height - 4, "text-anchor": "middle", class: "name" }, report.radiusAxis));
  made.append(grid);
  for (const [name, points] of drawn) {
    const d = points.map(([r, value]) => `${x(r).toFixed(1)} ${y(value).toFixed(1)}`).join("L");
    made.append(svg("path", { class: `margin ${name} ${name === how.certifier ? "chosen" : ""}`, d: `M${d}` }));
  }
  if (need <= 1) {
    made.append(svg("line", { class: "target", x1: left, x2: right, y1: y(need), y2: y(need) }),
      svg("text", { class: "label", x: right, y: y(need) - 6, "text-anchor": "end" }, "needed"));
    if (radius > 0) made.append(svg("circle", { class: "stop chosen", cx: x(radius), cy: y(need), r: 4.5 }));
  }
  return element("figure", { class: "margins" }, [element("figcaption", {}, [label]), made]);
}
