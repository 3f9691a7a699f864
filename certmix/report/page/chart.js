// A chart in SVG: axes, paths and marks. Colours and widths are CSS, so that themes and print need no redrawing.

const SVG = "http://www.w3.org/2000/svg";

function svg(tag, attributes = {}, text = null) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  if (text !== null) made.textContent = text;
  return made;
}

/** Round numbers from low to high, about `wanted` of them. */
function ticks(low, high, wanted) {
  const raw = (high - low) / wanted, scale = 10 ** Math.floor(Math.log10(raw));
  const step = scale * ([1, 2, 2.5, 5, 10].find((s) => s * scale >= raw * 0.999) || 10);
  const found = [];
  for (let k = Math.ceil(low / step - 1e-9); k * step <= high + 1e-9 * step; k++) found.push(Number((k * step).toPrecision(12)));
  return found;
}

class Chart {
  /** host: element; axes: {x, y: {low, high, label, ticks?, text?}}; draw: called after every layout. */
  constructor(host, axes, draw, ratio = 0.42) {
    Object.assign(this, { host, axes, draw, ratio, layers: new Map() });
    this.root = svg("svg", { role: "img", class: "chart" });
    host.append(this.root);
    let width = 0;
    new ResizeObserver(() => { if (host.clientWidth !== width) { width = host.clientWidth; this.layout(); } }).observe(host);
  }

  get ready() { return Boolean(this.width); }
  x(value) { return this.left + (value - this.axes.x.low) / (this.axes.x.high - this.axes.x.low) * (this.right - this.left); }
  y(value) { return this.bottom - (value - this.axes.y.low) / (this.axes.y.high - this.axes.y.low) * (this.bottom - this.top); }
  valueAt(pixel) {
    const share = Math.min(Math.max((pixel - this.left) / (this.right - this.left), 0), 1);
    return this.axes.x.low + share * (this.axes.x.high - this.axes.x.low);
  }

  layout() {
    this.width = Math.max(this.host.clientWidth, 240);
    this.height = Math.round(Math.min(Math.max(this.width * this.ratio, 250), 620));
    [this.left, this.right, this.top, this.bottom] = [50, this.width - 12, 12, this.height - 42];
    this.root.setAttribute("viewBox", `0 0 ${this.width} ${this.height}`);
    this.root.setAttribute("width", this.width);
    this.root.setAttribute("height", this.height);
    this.layers.clear();
    this.root.replaceChildren();
    this.grid = svg("g", { class: "grid" });
    this.body = svg("g");
    this.root.append(this.grid, this.body);
    this.drawAxes();
    this.draw();
  }

  drawAxes() {
    const { x, y } = this.axes, { left, right, top, bottom } = this;
    this.grid.replaceChildren();
    let free = 0; // where the next label of the axis may begin
    for (const at of x.ticks || ticks(x.low, x.high, Math.max(4, (right - left) / 90))) {
      this.grid.append(svg("line", { x1: this.x(at), x2: this.x(at), y1: top, y2: bottom }));
      const name = String(x.text ? x.text(at) : at), half = 3.4 * name.length;
      if (this.x(at) - half < free) continue;
      free = this.x(at) + half + 5;
      this.grid.append(svg("text", { x: this.x(at), y: bottom + 16, "text-anchor": "middle" }, name));
    }
    for (const at of y.ticks || ticks(y.low, y.high, Math.max(3, (bottom - top) / 55))) {
      this.grid.append(svg("line", { x1: left, x2: right, y1: this.y(at), y2: this.y(at) }));
      this.grid.append(svg("text", { x: left - 7, y: this.y(at) + 3.5, "text-anchor": "end" }, y.text ? y.text(at) : at));
    }
    this.grid.append(svg("text", { x: (left + right) / 2, y: bottom + 35, "text-anchor": "middle", class: "name" }, x.label));
    this.grid.append(svg("text", { transform: `translate(11 ${(top + bottom) / 2}) rotate(-90)`, "text-anchor": "middle",
      class: "name" }, y.label));
  }

  /** The element of that key, made once and then updated: tag, attributes, and text where given. */
  set(key, tag, attributes, text = null) {
    let layer = this.layers.get(key);
    if (!layer) { layer = svg(tag); this.layers.set(key, layer); this.body.append(layer); }
    for (const [name, value] of Object.entries(attributes)) layer.setAttribute(name, value);
    if (text !== null) layer.textContent = text;
    return layer;
  }

  drop(prefix) {
    for (const [key, layer] of this.layers) if (key.startsWith(prefix)) { layer.remove(); this.layers.delete(key); }
  }

  /** Counts of inputs at every pixel column: count[k] holds at radius x(left + k). */
  columns(reached) {
    const steps = Math.round(this.right - this.left), found = new Int32Array(steps + 1), { low, high } = this.axes.x;
    let gone = 0;
    for (let k = 0; k <= steps; k++) {
      const r = low + (high - low) * k / steps;
      while (gone < reached.length && reached[gone] < r) gone++;
      found[k] = reached.length - gone;
    }
    return found;
  }

  /** Path of shares at every pixel column, up to where no input is left, drawn only where they change. */
  steps(counts, share) {
    const parts = [`M${this.left} ${this.y(share(counts[0])).toFixed(1)}`];
    for (let k = 1; k < counts.length && counts[k - 1]; k++) {
      if (counts[k] !== counts[k - 1]) parts.push(`H${this.left + k}V${this.y(share(counts[k])).toFixed(1)}`);
    }
    return parts.join("") + (counts.at(-1) ? `H${this.left + counts.length - 1}` : "");
  }

  /** Area between two functions of the counts, as far as `steps` goes. */
  band(counts, lower, upper) {
    const edge = (share) => {
      const points = [];
      for (let k = 0; k < counts.length && (k === 0 || counts[k - 1]); k++) {
        const y = this.y(share(counts[k])).toFixed(1);
        if (k && counts[k] !== counts[k - 1]) points.push(`${this.left + k} ${this.y(share(counts[k - 1])).toFixed(1)}`);
        if (k === 0 || counts[k] !== counts[k - 1] || k === counts.length - 1) points.push(`${this.left + k} ${y}`);
      }
      return points;
    };
    return counts[0] ? `M${[...edge(upper), ...edge(lower).reverse()].join("L")}Z` : "";
  }

  /** Calls `moved` with the x value under a pressed pointer. */
  onDrag(moved) {
    const report = (event) => { if (event.buttons & 1) moved(this.valueAt(event.clientX - this.root.getBoundingClientRect().left)); };
    this.root.addEventListener("pointerdown", (event) => { this.root.setPointerCapture(event.pointerId); report(event); });
    this.root.addEventListener("pointermove", report);
  }
}
