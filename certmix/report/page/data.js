// The data island, unpacked, and everything that is counted from it.

const TYPES = { u1: Uint8Array, u2: Uint16Array, u4: Uint32Array, i4: Int32Array, f8: Float64Array };

/** An array that Python packed as "type:base64". */
function unpack(text) {
  const [type, body] = text.split(":"), binary = atob(body), bytes = new Uint8Array(binary.length);
  for (let k = 0; k < bytes.length; k++) bytes[k] = binary.charCodeAt(k);
  return new TYPES[type](bytes.buffer);
}

/** Position of the first value >= x in an ascending array. */
function firstAtLeast(values, x) {
  let low = 0, high = values.length;
  while (low < high) { const middle = (low + high) >> 1; if (values[middle] < x) low = middle + 1; else high = middle; }
  return low;
}

/** The float before a positive one. */
function floatBelow(x) {
  const value = new Float64Array([x]), bits = new BigInt64Array(value.buffer);
  bits[0] -= 1n;
  return value[0];
}

/** Clean accuracy as an exact step function of a rule's parameter, in inputs; see certmix.clean_accuracy. */
class CleanSteps {
  constructor(raw) {
    this.points = unpack(raw.points); this.at = unpack(raw.at); this.after = unpack(raw.after); this.grow = raw.grow;
  }

  count(parameter) {
    const place = firstAtLeast(this.points, parameter);
    return this.points[place] === parameter ? this.at[place] : this.after[Math.max(place - 1, 0)];
  }

  /** The parameter of the largest radii with at least so many inputs right; null where none is. */
  best(inputs) {
    const { points, at, after } = this, last = points.length - 1;
    if (!this.grow) {
      for (let i = 0; i < last; i++) if (at[i] >= inputs) return points[i];
      return null;
    }
    for (let i = last; i >= 0; i--) {
      if (at[i] >= inputs) return points[i];
      const below = i > 0 ? floatBelow(points[i]) : 0;
      if (i > 0 && below > points[i - 1] && after[i - 1] >= inputs) return below;
    }
    return null;
  }
}

/** One run: its bounds, votes and clean accuracies. */
class Run {
  constructor(raw, number) {
    Object.assign(this, raw, { number, kind: "run" });
    for (const name of ["index", "label", "prediction", "top", "rival", "votedClass", "votes", "total", "accurate", "quarter"]) {
      if (raw[name] !== null) this[name] = unpack(raw[name]);
    }
    this.size = this.index.length;
    this.zTop = Float64Array.from(this.top, quantile);
    this.zRival = Float64Array.from(this.rival, quantile);
    this.steps = Object.fromEntries(Object.entries(raw.cleanSteps || {}).map(([kind, steps]) => [kind, new CleanSteps(steps)]));
    this.cache = new Map();
  }

  totalOf(row) { return this.total.length === 1 ? this.total[0] : this.total[row]; }
  right(row) { return this.prediction[row] === this.label[row]; }
  accuratePrediction(row) { return this.accurate ? this.accurate[row] : null; }

  /** Radius of one input; `guess` is one near it, such as that at a parameter nearby. */
  radius(row, how, guess = 0) {
    const method = RADIUS[how.rule][how.certifier];
    if (!method || this.prediction[row] === this.none) return 0;
    const t = method(this.top[row], this.rival[row], this.zTop[row], this.zRival[row], how.parameter, (guess + this.moved) / this.sigma);
    const r = t > 0 ? Math.max(t * this.sigma - this.moved, 0) : 0;
    return this.grid ? Math.ceil(r * this.grid - 1e-9) / this.grid : r; // see next_on_grid in certify.py
  }

  /** Radii of all inputs, and, ascending, those of the inputs that are right and certified. */
  certify(how) {
    const key = `${how.rule} ${how.certifier} ${how.parameter}`;
    let made = this.cache.get(key);
    if (!made) {
      const radii = new Float64Array(this.size), kept = new Float64Array(this.size);
      const last = this.last || radii;
      let count = 0;
      for (let row = 0; row < this.size; row++) {
        radii[row] = this.radius(row, how, last[row]);
        if (radii[row] > 0 && this.right(row)) kept[count++] = radii[row];
      }
      this.last = radii;
      made = { radii, reached: kept.slice(0, count).sort() };
      if (this.cache.size >= 12) this.cache.delete(this.cache.keys().next().value);
    }
    this.cache.delete(key); // the oldest goes first, and this is now the youngest
    this.cache.set(key, made);
    return made;
  }

  /** Inputs that are right and certified at radius r; at 0, those with any radius. */
  count(how, r) {
    const { reached } = this.certify(how);
    return reached.length - firstAtLeast(reached, r);
  }

  /** Inputs that the mixture gets right without an attack; null where g was not recorded. */
  clean(how) { return this.steps[how.rule] ? this.steps[how.rule].count(how.parameter) : null; }
}

/** A chain, certified before: its curve stands still whatever is asked for. */
class Chain {
  constructor(raw, number) { Object.assign(this, raw, { number, kind: "chain", reached: unpack(raw.reached) }); }
  certify() { return this; }
  count(how, r) { return this.reached.length - firstAtLeast(this.reached, r); }
  clean() { return this.right; }
}

/** Everything the page knows. */
class Report {
  constructor(raw) {
    Object.assign(this, raw);
    this.runs = raw.runs.map((run, number) => new Run(run, number));
    this.chains = raw.chains.map((chain, number) => new Chain(chain, this.runs.length + number));
    this.curves = [...this.runs, ...this.chains];
    this.lower = Object.fromEntries(Object.entries(raw.lower).map(([size, packed]) =>
      [size, Float64Array.from(unpack(packed), (steps) => steps / raw.shareSteps)]));
    const alone = { rule: "linear", certifier: this.certifiers[0].name, parameter: 1 };
    this.reach = Math.max(1e-3, ...this.curves.map((run) => run.certify(alone).reached.at(-1) || 0));
  }

  get radiusAxis() { return `${this.norm === "l1" ? "ℓ₁" : "ℓ₂"} radius r (pixel units)`; }

  /** Decimals of a radius that a reader chooses: it is certified as it is written. */
  get digits() { return Math.max(3 - Math.floor(Math.log10(this.reach)), 1); }
  chosenRadius(r) { return Number(r.toFixed(this.digits)); }
  radiusLabel(r) { return r.toFixed(this.digits); }
  atRadius(r) { return `r\u00a0=\u00a0${this.radiusLabel(r)}`; }

  /** Interval of an accuracy of `count` of `size` inputs: [lower, upper]. */
  interval(count, size) { return [this.lower[size][count], 1 - this.lower[size][size - count]]; }
  rule(kind) { return this.rules.find((rule) => rule.kind === kind); }
  certifierLabel(name) { return this.certifiers.find((one) => one.name === name).label; }
  className(number) { return this.classes[number] ?? (number === null ? "?" : String(number)); }
}

// Accuracies are counts over sizes and are printed rounded to the side that claims less.
const percentDown = (share) => (Math.floor(Math.round(share * 1e11) / 1e8) / 10).toFixed(1);
const percentUp = (share) => (Math.ceil(Math.round(share * 1e11) / 1e8) / 10).toFixed(1);
const floorText = (x, digits) => (Math.floor(x * 10 ** digits) / 10 ** digits).toFixed(digits);
const ceilText = (x, digits) => (Math.ceil(x * 10 ** digits) / 10 ** digits).toFixed(digits);
const radiusText = (r) => floorText(r, 4);
const parameterText = (parameter) => String(Number(parameter.toFixed(6)));
