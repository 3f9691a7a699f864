// View 5: inputs as a table that sorts, filters and pages; and everything about the chosen one.

const ROWS = 25;
const STATUS = { certified: "certified", wrong: "wrong", uncertified: "not certified", abstained: "abstained" };

class InputsView {
  constructor(report, state, changed) {
    Object.assign(this, { report, state, changed, section: document.getElementById("inputs").closest("section") });
    this.body = document.querySelector("#inputs tbody");
    for (const button of document.querySelectorAll("#inputs thead button")) {
      button.addEventListener("click", () => changed(state.sort === button.dataset.sort
        ? { descending: !state.descending, page: 0 } : { sort: button.dataset.sort, descending: false, page: 0 }));
    }
    document.getElementById("filter").addEventListener("input", (event) => changed({ filter: event.target.value, page: 0 }));
    document.getElementById("show").addEventListener("change", (event) => changed({ show: event.target.value, page: 0 }));
    document.getElementById("previous").addEventListener("click", () => changed({ page: state.page - 1 }));
    document.getElementById("next").addEventListener("click", () => changed({ page: state.page + 1 }));
  }

  status(run, row, radii) {
    if (run.prediction[row] === run.none) return "abstained";
    if (!(radii[row] > 0 && radii[row] >= this.state.r)) return "uncertified";
    return run.right(row) ? "certified" : "wrong";
  }

  /** Rows that pass the filters, in order. */
  rows(run, radii) {
    const { state, report } = this, text = state.filter.trim().toLowerCase();
    const name = (number) => report.className(number);
    const passes = (row) => {
      const status = this.status(run, row, radii);
      if (state.show === "differ" ? run.accuratePrediction(row) === run.prediction[row] : state.show !== "all" && status !== state.show) return false;
      return !text || String(run.index[row]) === text || name(run.label[row]).toLowerCase().includes(text) ||
        this.predicted(run, row).toLowerCase().includes(text);
    };
    const keys = { index: run.index, label: run.label, prediction: run.prediction, accurate: run.accurate || run.index,
      top: run.top, rival: run.rival, radius: radii }[state.sort];
    const found = [];
    for (let row = 0; row < run.size; row++) if (passes(row)) found.push(row);
    const sign = state.descending ? -1 : 1;
    return found.sort((a, b) => sign * (keys[a] - keys[b]) || a - b);
  }

  predicted(run, row) { return run.prediction[row] === run.none ? "abstains" : this.report.className(run.prediction[row]); }

  update() {
    const { state } = this, run = state.currentRun(), { radii } = run.certify(state.how()), rows = this.rows(run, radii);
    const pages = Math.max(1, Math.ceil(rows.length / ROWS));
    state.page = Math.min(Math.max(state.page, 0), pages - 1);
    const first = state.page * ROWS, shown = rows.slice(first, first + ROWS);
    this.body.replaceChildren(...shown.map((row) => this.line(run, row, radii)));
    document.getElementById("found").textContent = rows.length
      ? `${first + 1}–${first + shown.length} of ${rows.length.toLocaleString("en")} inputs, ${run.name}` : "no input passes the filter";
    document.getElementById("previous").disabled = state.page === 0;
    document.getElementById("next").disabled = state.page === pages - 1;
    for (const button of document.querySelectorAll("#inputs thead button")) {
      const sorted = button.dataset.sort === state.sort;
      button.parentElement.setAttribute("aria-sort", !sorted ? "none" : state.descending ? "descending" : "ascending");
    }
    this.detail(run, radii);
  }

  line(run, row, radii) {
    const { report, state } = this, status = this.status(run, row, radii), made = element("tr", { "data-row": row });
    const pick = element("button", { type: "button", class: "link", "aria-label": `input ${run.index[row]}` }, [String(run.index[row])]);
    made.classList.toggle("chosen", row === state.row);
    made.addEventListener("click", () => this.changed({ row }));
    const g = run.accurate ? report.className(run.accurate[row]) : "–";
    made.append(element("th", { scope: "row" }, [...picture(report, run, row), pick]),
      element("td", { class: "text" }, [report.className(run.label[row])]),
      element("td", { class: `text ${run.right(row) ? "" : "no"}` }, [this.predicted(run, row)]),
      element("td", { class: `text ${!run.accurate || run.accurate[row] === run.label[row] ? "" : "no"}` }, [g]),
      element("td", { class: "votes" }, [bar(run, row, report)]),
      element("td", {}, [floorText(run.top[row], 4)]), element("td", {}, [ceilText(run.rival[row], 4)]),
      element("td", { "data-of": "radius" }, [radiusText(radii[row])]),
      element("td", { class: "text" }, [element("span", { class: `status ${status}` }, [STATUS[status]])]));
    return made;
  }

  detail(run, radii) {
    const { report, state } = this, host = document.getElementById("detail"), row = state.row;
    if (row === null) return;
    const how = state.how(), votes = votesOf(run, row);
    const facts = [["label", report.className(run.label[row])], ["h says", this.predicted(run, row)]];
    if (run.accurate) facts.push(["g says", report.className(run.accurate[row])]);
    facts.push(["h’s class, at least", floorText(run.top[row], 6)], ["any rival, at most", ceilText(run.rival[row], 6)]);
    for (const { name, label } of report.certifiers) {
      if (RADIUS[how.rule][name]) facts.push([marginSwatch(name, label), radiusText(run.radius(row, { ...how, certifier: name }))]);
    }
    host.replaceChildren(element("div", {}, [
      element("h3", {}, [...picture(report, run, row), `Input ${run.index[row]} at ${run.name}`]), bar(run, row, report, true),
      element("p", { class: "legend" }, votes.map(([number, count]) => element("span", {}, [
        element("i", { class: `key ${role(run, row, number)}` }), `${report.className(number)}: ${count.toLocaleString("en")}`]))),
      element("dl", {}, facts.flatMap(([name, value]) => [element("dt", {}, [name]), element("dd", {}, [value])])),
      ...(run.prediction[row] === run.none ? [] : [marginFigure(report, run, row, how)])]),
    element("div", { class: "again" }, [element("p", { class: "hint" }, ["Draw this input again, bit for bit:"]),
      element("code", { class: "command", tabindex: 0 }, [run.command ? run.command.join(String(run.index[row])) : "not possible: its model came from Python"])]));
  }
}

/** The input itself, where the page has it. */
function picture(report, run, row) {
  const uri = run.pictured ? report.pictures[run.index[row]] : undefined;
  return uri ? [element("img", { class: "thumb", src: uri, alt: "" })] : [];
}

/** A certifier's name beside the line that stands for it. */
function marginSwatch(name, label) {
  const line = svg("svg", { class: "swatch", viewBox: "0 0 22 8", "aria-hidden": "true" });
  line.append(svg("path", { class: `margin ${name}`, d: "M1 4H21" }));
  return element("span", {}, [line, ` ${label}`]);
}

const role = (run, row, number) => (number === run.label[row] ? "truth" : number === run.prediction[row] ? "mistake" : "other");

/** [class, votes] of the leading classes, those with votes. */
function votesOf(run, row) {
  const found = [];
  for (let k = 0; k < run.kept; k++) {
    const count = run.votes[row * run.kept + k];
    if (count) found.push([run.votedClass[row * run.kept + k], count]);
  }
  return found;
}

/** Votes as a bar. */
function bar(run, row, report, wide = false) {
  const total = run.totalOf(row), width = wide ? 320 : 120, height = wide ? 16 : 9;
  const made = svg("svg", { viewBox: `0 0 ${width} ${height}`, class: wide ? "bar wide" : "bar", role: "img", preserveAspectRatio: "none" });
  const votes = votesOf(run, row);
  made.setAttribute("aria-label", votes.map(([number, count]) => `${report.className(number)} ${count}`).join(", "));
  made.append(svg("title", {}, votes.map(([number, count]) => `${report.className(number)}: ${count} of ${total}`).join("\n")));
  made.append(svg("rect", { class: "empty", x: 0, y: 0, width, height }));
  let x = 0;
  for (const [number, count] of votes) {
    const part = Math.max(count / total * width, 0.5);
    made.append(svg("rect", { class: role(run, row, number), x: x.toFixed(2), y: 0, width: Math.max(part - 0.4, 0.4).toFixed(2), height }));
    x += part;
  }
  return made;
}
