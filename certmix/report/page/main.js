// State, controls, and the link to the state: everything a reader has set is in location.hash.

/** An HTML element; what it holds is text or other elements, never markup. */
function element(tag, attributes = {}, children = []) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

const hue = (number) => `hue${number % 6}`;
const swatch = (number, kind = "linear") => {
  const made = svg("svg", { class: "swatch", viewBox: "0 0 22 8", "aria-hidden": "true" });
  made.append(svg("path", { class: `line ${hue(number)} ${kind}`, d: "M1 4H21" }));
  return made;
};

const NUMBERS = ["r", "target", "run", "page", "row"], WORDS = ["rule", "certifier", "scale", "sort", "filter", "show", "by"];

/** The input of the median radius of those that are right and certified: one to look at before a reader chooses. */
function typical(run, how) {
  const { radii, reached } = run.certify(how), row = radii.findIndex((r, k) => run.right(k) && r === reached[reached.length >> 1]);
  return row < 0 ? null : row;
}

class State {
  constructor(report) {
    this.report = report;
    for (const rule of report.rules) this[rule.title] = rule.start;
    const first = report.runs[0], alone = { rule: "linear", certifier: report.certifiers[0].name, parameter: 1 };
    Object.assign(this, { ...alone, r: Number((0.25 * report.reach).toPrecision(1)), run: 0, row: null, scale: "linear",
      sort: "index", descending: false, filter: "", show: "all", page: 0, by: report.groupings[0] });
    this.row = typical(first, alone);
    this.target = first.steps.linear ? first.clean(alone) / first.size : 0;
    this.initial = { ...this };
  }

  how() { return { rule: this.rule, certifier: this.certifier, parameter: this[this.report.rule(this.rule).title] }; }
  currentRun() { return this.report.runs[this.run]; }

  /** Keep what fits together: a rule's certifier, a run's row. */
  settle() {
    const { report } = this, inside = (value, low, high, other) => (value >= low && value <= high ? value : other);
    if (!report.rules.some((rule) => rule.kind === this.rule)) this.rule = this.initial.rule;
    const known = report.certifiers.some(({ name }) => name === this.certifier);
    if (!known || !(this.certifier in RADIUS[this.rule])) this.certifier = this.initial.certifier;
    for (const rule of report.rules) this[rule.title] = inside(this[rule.title], rule.low, rule.high, rule.start);
    this.r = report.chosenRadius(inside(this.r, 0, report.reach, this.initial.r));
    this.target = inside(this.target, 0, 1, this.initial.target);
    this.run = report.runs[this.run] ? this.run : 0;
    if (this.row !== null && !(this.row in this.currentRun().index)) this.row = null;
    if (!["index", "label", "prediction", "accurate", "top", "rival", "radius"].includes(this.sort)) this.sort = "index";
    if (!["linear", "probit"].includes(this.scale)) this.scale = "linear";
    if (!report.groupings.includes(this.by)) this.by = this.initial.by;
    if (!["all", "differ", ...Object.keys(STATUS)].includes(this.show)) this.show = "all";
  }

  read(hash) {
    Object.assign(this, this.initial);
    const given = new URLSearchParams(hash.replace(/^#/, ""));
    for (const name of [...NUMBERS, ...this.report.rules.map((rule) => rule.title)]) {
      if (given.has(name) && given.get(name) !== "" && Number.isFinite(Number(given.get(name)))) this[name] = Number(given.get(name));
    }
    for (const name of WORDS) if (given.has(name)) this[name] = given.get(name);
    this.descending = given.get("descending") === "1";
    this.settle();
  }

  hash() {
    const made = new URLSearchParams();
    for (const name of [...NUMBERS, ...WORDS, ...this.report.rules.map((rule) => rule.title)]) {
      if (this[name] !== this.initial[name] && this[name] !== null) made.set(name, this[name]);
    }
    if (this.descending) made.set("descending", "1");
    return `#${made}`;
  }
}

function start() {
  const report = new Report(JSON.parse(document.getElementById("data").textContent)), state = new State(report);
  state.read(location.hash);
  let asked = false, views = [], resting = null, stale = new Set();
  const redraw = () => {
    asked = false;
    state.settle();
    show(report, state);
    stale = new Set(views);
    refresh(inSight);
  };
  const refresh = (wanted) => {
    for (const view of stale) if (wanted(view)) { view.update(); stale.delete(view); }
    document.documentElement.classList.toggle("stale", stale.size > 0);
  };
  // While a slider moves only what is in sight is drawn. The rest follows when it rests, and so does the address, of
  // which browsers refuse too many changes in a row.
  const rest = () => {
    refresh(() => true);
    if (state.hash() !== (location.hash || "#")) history.replaceState(null, "", state.hash());
  };
  const changed = (what) => {
    if ("run" in what && what.run !== state.run) Object.assign(state, { page: 0 });
    Object.assign(state, what);
    document.documentElement.classList.add("stale");
    if (!asked) { asked = true; requestAnimationFrame(redraw); }
    clearTimeout(resting);
    resting = setTimeout(rest, 200);
  };
  document.documentElement.classList.add("live");
  bind(report, state, changed);
  views = [AccuracyView, report.groupings.length && GroupsView, report.comparable && FrontierView, PlaneView, InputsView].filter(Boolean).map((View) => new View(report, state, changed));
  window.addEventListener("hashchange", () => { clearTimeout(resting); state.read(location.hash); redraw(); rest(); });
  window.addEventListener("scroll", () => refresh(inSight), { passive: true });
  window.addEventListener("beforeprint", () => refresh(() => true));
  redraw();
  resting = setTimeout(rest, 0);
}

const inSight = (view) => {
  const box = view.section.getBoundingClientRect();
  return box.bottom > 0 && box.top < innerHeight;
};

/** Controls -> state. */
function bind(report, state, changed) {
  const of = (id) => document.getElementById(id);
  for (const radio of document.querySelectorAll("input[type=radio]")) {
    radio.addEventListener("change", () => changed({ [radio.name]: radio.name === "run" ? Number(radio.value) : radio.value }));
  }
  of("certifier").addEventListener("change", (event) => changed({ certifier: event.target.value }));
  for (const id of ["parameter", "parameter-number"]) {
    of(id).addEventListener("input", (event) => {
      const { title, low, high } = report.rule(state.rule), value = Number(event.target.value);
      if (event.target.value !== "" && value >= low && value <= high) changed({ [title]: value });
    });
  }
  for (const id of ["r", "r-number"]) {
    of(id).addEventListener("input", (event) => { if (event.target.value !== "") changed({ r: Math.min(Math.max(Number(event.target.value), 0), report.reach) }); });
  }
  if (of("target")) of("target").addEventListener("input", (event) => changed({ target: Number(event.target.value) }));
}

/** State -> controls. */
function show(report, state) {
  const of = (id) => document.getElementById(id), rule = report.rule(state.rule), put = (input, value) => {
    if (input !== document.activeElement || input.type === "range") input.value = value;
  };
  for (const radio of document.querySelectorAll("input[type=radio]")) radio.checked = radio.value === String(state[radio.name]);
  for (const option of of("certifier").options) option.disabled = !(option.value in RADIUS[state.rule]);
  of("certifier").value = state.certifier;
  of("parameter-name").textContent = rule.title;
  for (const id of ["parameter", "parameter-number"]) Object.assign(of(id), { min: rule.low, max: rule.high });
  put(of("parameter"), state[rule.title]); put(of("parameter-number"), Number(state[rule.title].toFixed(4)));
  for (const id of ["r", "r-number"]) of(id).max = report.reach;
  put(of("r"), state.r); put(of("r-number"), state.r);
  if (of("target")) put(of("target"), state.target);
  put(of("filter"), state.filter);
  of("show").value = state.show;
}

start();
