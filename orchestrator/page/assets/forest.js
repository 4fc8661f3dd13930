"use strict";
// Forest plots: marks on one logarithmic scale, drawn as one small SVG a line, so that a table can hold them.

const SVG = "http://www.w3.org/2000/svg";
const RATIOS = [0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.98, 0.99, 1, 1.01, 1.02, 1.05, 1.1, 1.2, 1.3, 1.4, 1.5, 1.75, 2, 2.5, 3, 4, 5, 6, 8, 10, 15, 20, 50, 100];
const POWERS = Array.from({ length: 25 }, (_, i) => 10 ** (i - 18));
const TICK_GAP = 13;

/** Return a new SVG element: as `h`, in the other namespace. */
function s(tag, attributes = {}, ...children) {
  return filled(document.createElementNS(SVG, tag), attributes, children);
}

/** A logarithmic scale with 1 on it. `values` fit; of `ends` of intervals so much as leaves room for the values. */
class LogScale {
  constructor(values, ends, ticks, unit) {
    const logs = [...values].filter((value) => value > 0).map(Math.log).sort((a, b) => a - b);
    const at = (share) => logs[Math.round(share * (logs.length - 1))] ?? 0;
    const cut = logs.length > 200 ? 0.01 : 0;
    const inner = [Math.min(at(cut), 0), Math.max(at(1 - cut), 0)];
    const room = Math.max(inner[1] - inner[0], 0.1);
    const outer = ends.filter((value) => value > 0).map(Math.log);
    this.low = Math.max(outer.reduce((a, b) => Math.min(a, b), inner[0]), inner[0] - room) - 0.04 * room;
    this.high = Math.min(outer.reduce((a, b) => Math.max(a, b), inner[1]), inner[1] + room) + 0.04 * room;
    this.unit = unit;
    this.ticks = this.choose(ticks);
  }

  /** Return where a value stands, in per cent of the width; what is beyond an end stands at it. */
  place(value) {
    const share = (Math.log(value) - this.low) / (this.high - this.low);
    return 3 + 94 * Math.min(Math.max(share, 0), 1);
  }

  /** Return those ticks that have room for their words, 1 always among them. */
  choose(ticks) {
    const inside = ticks.filter((tick) => Math.log(tick) >= this.low && Math.log(tick) <= this.high);
    const chosen = [1];
    for (const tick of [...inside.filter((t) => t > 1), ...inside.filter((t) => t < 1).reverse()]) {
      if (chosen.every((other) => Math.abs(this.place(other) - this.place(tick)) >= TICK_GAP)) chosen.push(tick);
    }
    return chosen.sort((a, b) => a - b);
  }

  percent(value) {
    return `${this.place(value).toFixed(2)}%`;
  }

  /** Return the words of the ticks, for the head of a column of plots. */
  axis() {
    const words = this.ticks.map((tick) => s("text", { x: this.percent(tick), y: 12, "text-anchor": "middle" }, `${tick < 0.001 ? tick.toExponential(0) : tick}${this.unit}`));
    return s("svg", { class: "axis", "aria-hidden": "true" }, words);
  }

  /** Return a plot of marks, which says in words what it shows. */
  plot(label, height, ...marks) {
    const many = marks.flat().length > 30;
    const lines = this.ticks.map((tick) => s("line", { class: tick === 1 ? "one" : "grid", x1: this.percent(tick), x2: this.percent(tick), y1: 0, y2: "100%" }));
    return s("svg", { class: many ? "forest-plot many" : "forest-plot", role: "img", "aria-label": label, height }, lines, marks);
  }

  interval(low, high, y, tone) {
    if (low === null) return null;
    return s("line", { class: `interval-line ${tone}`, x1: this.percent(low), x2: this.percent(high), y1: y, y2: y });
  }

  dot(value, y, { tone = "", hollow = false, small = false, title = null } = {}) {
    return s("circle", { class: `${hollow ? "hollow" : "filled"} ${tone}`, cx: this.percent(value), cy: y, r: small ? 3.2 : 4.2 }, title === null ? null : s("title", {}, title));
  }

  diamond(value, y, tone) {
    return s("svg", { x: this.percent(value), y, overflow: "visible" }, s("path", { class: `filled ${tone}`, d: "M-6.5 0L0-6.5L6.5 0L0 6.5Z" }));
  }
}

/** The share of what is allowed that the worst tensor's error is; null where the rule has no such limit. */
function errorShare(row) {
  return shareOfLimit(rows.get(row, "rmse"), rows.get(row, "limit"), rows.get(row, "rule"));
}

function shareOfLimit(rmse, limit, rule) {
  return typeof rmse === "number" && typeof limit === "number" && limit > 0 && rule !== "cosine" ? rmse / limit : null;
}

const COMPARED_ROWS = ALL.filter((row) => !isEager(row));
const speedups = COMPARED_ROWS.map((row) => rows.get(row, "speedup")).filter((value) => typeof value === "number");
const shares = speedups.length ? [] : ALL.map(errorShare).filter((value) => value !== null);
/** What the page is about: speed-ups, where none was measured errors, or neither. */
const LEAD = speedups.length ? "speedup" : shares.length ? "error" : null;
/** The scale of all forest plots of the page. */
const FOREST = LEAD === "error"
  ? new LogScale(shares.map((value) => Math.max(value, 1e-9)), [], POWERS, "")
  : new LogScale(speedups, COMPARED_ROWS.flatMap((row) => [rows.get(row, "speedup_low"), rows.get(row, "speedup_high")]), RATIOS, "x");

/** Return the tone of a verdict: nothing is claimed of one process that was disturbed. */
function toneOf(verdict, doubtful) {
  return doubtful ? "" : { faster: "good", slower: "bad" }[verdict] ?? "";
}

function isDoubtful(row) {
  return rows.get(row, "disturbed") !== null && [null, "in-process"].includes(rows.get(row, "interval"));
}
