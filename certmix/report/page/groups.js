// View 2: certified accuracy of groups of inputs: by how hard g finds them, or by class.

const QUARTERS = ["hardest quarter", "second", "third", "easiest quarter"];

class GroupsView {
  constructor(report, state) {
    Object.assign(this, { report, state, section: document.getElementById("groups") });
    this.body = document.querySelector("#group-numbers tbody");
  }

  /** Of every group: inputs, those that are right and certified at all, and at radius r. */
  counts(run, groups) {
    const { radii } = run.certify(this.state.how()), { r } = this.state;
    const found = Array.from({ length: groups }, () => ({ size: 0, any: 0, at: 0 }));
    const of = this.state.by === "class" ? run.label : run.quarter;
    for (let row = 0; row < run.size; row++) {
      const group = found[of[row]];
      group.size++;
      if (radii[row] > 0 && run.right(row)) { group.any++; if (radii[row] >= r) group.at++; }
    }
    return found;
  }

  update() {
    const { report, state } = this, names = state.by === "class" ? report.classes : QUARTERS;
    const columns = report.runs.map((run) => this.counts(run, names.length));
    for (const head of document.querySelectorAll(".group-radius")) head.textContent = report.atRadius(state.r);
    this.body.replaceChildren(...names.map((name, k) => {
      const sizes = [...new Set(columns.map((groups) => groups[k].size))].join(" / "), row = element("tr", { "data-group": k });
      row.append(element("th", { scope: "row", class: "text" }, [name, element("span", { class: "hint" }, [` (${sizes})`])]),
        ...columns.map((groups, number) => this.cell(report.runs[number], groups[k])));
      return row;
    }));
  }

  /** A bar and its numbers. */
  cell(run, { size, any, at }) {
    if (!size) return element("td", { class: "text" }, ["–"]);
    const [low, high] = this.report.interval(at, size), said = `${percentDown(at / size)} [${percentDown(low)}, ${percentUp(high)}]`;
    const made = svg("svg", { viewBox: "0 0 200 12", class: `group ${hue(run.number)}`, preserveAspectRatio: "none", "aria-hidden": "true" });
    const bar = (name, share) => svg("rect", { class: name, x: 0, y: 0, width: (200 * share).toFixed(1), height: 12 });
    made.append(bar("empty", 1), bar("any", any / size), bar("at", at / size),
      svg("path", { class: "whisker", d: `M${(200 * low).toFixed(1)} 6H${(200 * high).toFixed(1)}` }));
    return element("td", { class: "text", "data-at": at, title: `${at} of ${size}; at any radius ${any}` }, [made, said]);
  }
}
