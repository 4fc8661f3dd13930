"use strict";
// The table of all rows. Only the rows in sight exist as elements, so that ten thousand scroll as well as ten.

const ROW_HEIGHT = 52;
const SHORT_TABLE = 60;
const PRINTED = 500;

/** Cells of two lines, as in the terminal: the figure, and what goes with it. `by`: the column that sorts it. */
const PLAIN_COLUMNS = [
  { name: "workload", title: "model", by: "model", doc: "model, and what else its rows differ in", width: innerWidth < 620 ? "150px" : "205px", cell: workloadCell },
  { name: "compiler", title: "compiler", by: "compiler", width: "115px", cell: (row) => two(h("span", { title: seriesOf(row) }, breakable(seriesOf(row))), null, "wrap") },
  { name: "speedup", title: "speed-up [95 %]", by: "speedup", width: "195px", cell: speedupCell },
  { name: "latency", title: "latency", by: "latency_ms", width: "128px", cell: latencyCell },
  { name: "compilation", title: "compile", by: "compile_latency_cold_s", width: "108px", cell: compileCell },
  { name: "memory", title: "memory", by: "own_memory_mib", width: "80px", cell: memoryCell },
  { name: "performance", title: "performance", by: "performance", width: "100px", cell: (row) => statusCell(row, "performance") },
  { name: "accuracy", title: "accuracy", by: "accuracy", width: "94px", cell: (row) => statusCell(row, "accuracy") },
  { name: "marks", title: "marks", by: "flags", width: "112px", doc: "! out of the dashboard's bounds, or measured as something else; * measured under disturbance", cell: marksCell },
  { name: "command", title: "command", by: null, width: "68px", doc: "copies the command that runs this row again", cell: commandCell },
];
const MORE_COLUMNS = Object.keys(DATA.summary.columns).filter((name) => name !== "sweep" && name !== "command");

function two(first, second = null, ...classes) {
  return [h("div", { class: `first ${classes.join(" ")}` }, first), h("div", { class: "second" }, second ?? "\u00a0")];
}

function workloadCell(row) {
  const job = jobOfRow(row);
  const name = rows.get(row, "model");
  const varies = ["suite", "mode", "dtype", "device"].filter((column) => distinct(column).length > 1);
  const all = [...varies, "batch_size", "sequence_length", ...TELLING.filter((column) => !varies.includes(column) && !["batch_size", "sequence_length"].includes(column))];
  const rest = all.map((column) => words(column, rows.get(row, column))).filter((part) => part !== null).join(" · ");
  const link = job === undefined ? name : jobLink(job, { title: titleOf(row) }, name);
  return two(link, h("span", { title: rest }, rest));
}

function speedupCell(row) {
  const value = rows.get(row, "speedup");
  if (value === null && rows.get(row, "verdict") === "measured: eager") return two(h("span", { class: "bad" }, "! measured: eager"));
  if (value === null) return two(h("span", { class: "faint" }, rows.get(row, "latency_ms") !== null && isEager(row) ? "baseline" : MISSING));
  const low = rows.get(row, "speedup_low"), high = rows.get(row, "speedup_high"), verdict = rows.get(row, "verdict");
  const sign = { faster: "▲ ", slower: "▼ " }[verdict] ?? "";
  const tone = toneOf(verdict, false);
  return [
    h("div", { class: "first" }, h("strong", { class: tone }, `${figure("speedup", value)}x`), h("span", { class: "interval" }, endsOf("speedup", low, high))),
    h("div", { class: "second with-bar" }, h("span", { class: tone }, `${sign}${verdict}`), intervalBar(low, value, high, tone)),
  ];
}

const SPEEDUP_RANGE = (() => {
  const logs = rows.column("speedup").filter((value) => typeof value === "number").map(Math.log).sort((a, b) => a - b);
  if (!logs.length) return [-1, 1];
  const at = (share) => logs[Math.min(Math.floor(share * logs.length), logs.length - 1)];
  return [Math.min(at(0.01), 0) - 0.05, Math.max(at(0.99), 0) + 0.05];
})();

/** Return a picture of an interval on a logarithmic track with a line at 1. It repeats the text beside it. */
function intervalBar(low, value, high, tone) {
  const place = (ratio) => {
    const [from, to] = SPEEDUP_RANGE;
    return Math.min(Math.max((100 * (Math.log(ratio) - from)) / (to - from), 3), 97);
  };
  const part = (name, left, width = null) => {
    const element = h("i", { class: name });
    element.style.left = `${left}%`;
    if (width !== null) element.style.width = `${width}%`;
    return element;
  };
  const track = h("span", { class: `track ${tone}`, "aria-hidden": "true" }, part("one", place(1)));
  if (low !== null) track.append(part("span", place(low), Math.max(place(high) - place(low), 1)));
  track.append(part("dot", place(value)));
  return track;
}

function latencyCell(row) {
  const value = rows.get(row, "latency_ms");
  if (value === null) return two(MISSING, null, "faint");
  const spread = rows.get(row, "latency_spread_percent"), paired = modelLatency(row);
  return two(typeof paired === "string" ? paired : withUnit("latency_ms", value), spread === null ? null : `± ${figure("latency_spread_percent", spread)} %`);
}

function compileCell(row) {
  const [cold, warm] = ["compile_latency_cold_s", "compile_latency_warm_s"].map((name) => rows.get(row, name));
  const lines = [[cold, "cold"], [warm, "warm"]].filter(([value]) => value !== null).map(([value, word]) => `${withUnit("compile_latency_cold_s", value)} ${word}`);
  const later = rows.get(row, "later_compilations");
  if (later) lines.push(`+ ${withUnit("later_compile_s", rows.get(row, "later_compile_s"))} later (${later})`);
  return lines.length ? two(lines[0], lines.slice(1).join(", ") || null) : two(MISSING, null, "faint");
}

function memoryCell(row) {
  const own = rows.get(row, "own_memory_mib"), ratio = rows.get(row, "compression_ratio");
  if (own === null && ratio === null) return two(MISSING, null, "faint");
  return two(withUnit("own_memory_mib", own), ratio === null ? null : memoryChange(1 / ratio - 1));
}

function statusCell(row, measure) {
  const reason = rows.get(row, `${measure}_reason`);
  const rounds = `${rows.get(row, "rounds")}/${rows.get(row, "rounds_planned")} rounds`;
  const said = reason ?? (measure === "performance" && rows.get(row, "rounds") !== null ? rounds : null);
  const job = measure === "accuracy" && rows.get(row, "accuracy_job") !== null ? jobOfRow(row, "accuracy") : undefined;
  const mark = badge(rows.get(row, measure));
  const weaker = measure === "accuracy" ? rows.get(row, "weaker") : null;
  const second = said === null ? null : h("span", { title: said }, said);
  const third = weaker === null ? null : h("span", { class: "warn", title: weaker }, "~ weaker rules");
  return two(job === undefined ? mark : jobLink(job, { class: "plain" }, mark), second !== null && third !== null ? h("span", {}, third, " ", second) : second ?? third);
}

function marksCell(row) {
  const flags = rows.get(row, "flags"), disturbed = rows.get(row, "disturbed");
  const first = flags === null ? "" : h("span", { class: "bad", title: rows.get(row, "measured") ?? flags }, `! ${flags.split(", ").map((mark) => DATA.marks[mark]?.word ?? mark).join(", ")}`);
  return two(first || "\u00a0", disturbed === null ? null : h("span", { class: "warn", title: disturbed }, "* disturbed"));
}

function commandCell(row) {
  const command = rows.get(row, "command");
  return command === null ? MISSING : copyButton(command, `Copy the command of ${titleOf(row)}`);
}

// -- order

/** Return the rows in the order that is asked for ("-speedup" is largest first). What is missing comes last. */
function ordered(shown) {
  const name = state.sort.replace(/^-/, "");
  if (!name || !(name in DATA.summary.columns)) return shown;
  const values = rows.column(name), sign = state.sort.startsWith("-") ? -1 : 1;
  const compare = (a, b) => {
    const x = values[a], y = values[b];
    if (x === null || y === null) return (x === null) - (y === null);
    if (typeof x === "number" && typeof y === "number") return sign * (x - y);
    return sign * String(x).localeCompare(String(y), "en", { numeric: true });
  };
  return [...shown].sort((a, b) => compare(a, b) || a - b);
}

// -- the element

function shownColumns() {
  const more = state.columns.split(",").filter((name) => MORE_COLUMNS.includes(name));
  const raw = more.map((name) => {
    const { title, unit, doc, form } = DATA.columns[name];
    const cell = (row) => h("span", { title: String(rows.get(row, name) ?? "") }, figure(name, rows.get(row, name)));
    return { name, title: unit ? `${title} (${unit})` : title, by: name, doc, width: form === "text" ? "190px" : "130px", cell };
  });
  return [...PLAIN_COLUMNS.filter(holdsSomething), ...raw];
}

/** Columns that no row of the page fills are left out. */
function holdsSomething({ by }) {
  return by === null || ["model", "compiler"].includes(by) || rows.column(by).some((value) => value !== null) || (by === "flags" && rows.column("disturbed").some((value) => value !== null));
}

class RowTable {
  constructor() {
    this.head = h("thead");
    this.columns = h("colgroup");
    this.above = h("tbody", { "aria-hidden": "true" }, h("tr", {}, h("td")));
    this.body = h("tbody", { class: "rows" });
    this.below = h("tbody", { "aria-hidden": "true" }, h("tr", {}, h("td")));
    this.table = h("table", { class: "all", id: "rows" }, this.columns, this.head, this.above, this.body, this.below);
    this.scroller = h("div", { class: "scroller", tabindex: "0", role: "region", "aria-label": "Table of all rows" }, this.table);
    this.note = h("p", { class: "note print-only" });
    this.element = h("div", {}, this.scroller, this.note);
    this.order = [];
    this.shown = new Map();
    this.scroller.addEventListener("scroll", () => requestAnimationFrame(() => this.fill()), { passive: true });
    new ResizeObserver(() => this.fill()).observe(this.scroller);
    addEventListener("beforeprint", () => this.printable(true));
    addEventListener("afterprint", () => this.printable(false));
    onChange(["sort", "columns"], () => this.show());
  }

  show() {
    this.order = ordered(visibleRows());
    this.cells = shownColumns();
    this.showHead();
    this.body.replaceChildren();
    this.shown.clear();
    this.table.setAttribute("aria-rowcount", this.order.length + 1);
    this.scroller.classList.toggle("short", this.order.length <= SHORT_TABLE);
    this.scroller.scrollTop = 0;
    this.fill();
  }

  showHead() {
    const active = document.activeElement?.closest?.("#rows thead") ? document.activeElement.dataset.by : null;
    this.columns.replaceChildren(...this.cells.map(({ width }) => {
      const column = h("col");
      column.style.width = width;
      return column;
    }));
    const heads = this.cells.map((column) => {
      const [name, down] = [state.sort.replace(/^-/, ""), state.sort.startsWith("-")];
      const sorted = column.by !== null && name === column.by;
      const label = sorted ? `${column.title} ${down ? "▼" : "▲"}` : column.title;
      const doc = column.doc ?? DATA.columns[column.by]?.doc;
      const next = sorted && !down ? `-${column.by}` : sorted ? "" : column.by;
      const control = column.by === null ? label : h("button", { type: "button", class: "sort", "data-by": column.by, "data-tip": doc, click: () => update({ sort: next }) }, label);
      return h("th", { scope: "col", "aria-sort": sorted ? (down ? "descending" : "ascending") : column.by === null ? null : "none" }, control);
    });
    this.head.replaceChildren(h("tr", { "aria-rowindex": 1 }, heads));
    if (active) this.head.querySelector(`[data-by="${CSS.escape(active)}"]`)?.focus();
  }

  /** Make the rows that are in sight, keep those that already exist, drop the others. */
  fill(everything = false) {
    const short = this.order.length <= SHORT_TABLE;
    const height = this.scroller.clientHeight || 600;
    const first = everything || short ? 0 : Math.max(Math.floor(this.scroller.scrollTop / ROW_HEIGHT) - 5, 0);
    const last = everything ? Math.min(this.order.length, PRINTED) : short ? this.order.length : Math.min(first + Math.ceil(height / ROW_HEIGHT) + 12, this.order.length);
    for (const [place, element] of this.shown) {
      if (place < first || place >= last) {
        element.remove();
        this.shown.delete(place);
      }
    }
    let next = this.body.firstElementChild;
    for (let place = first; place < last; place++) {
      const element = this.shown.get(place) ?? this.row(place);
      if (element === next) next = next.nextElementSibling;
      else this.body.insertBefore(element, next);
      this.shown.set(place, element);
    }
    this.space(this.above, first);
    this.space(this.below, everything ? 0 : this.order.length - last);
  }

  space(body, count) {
    body.hidden = count === 0;
    const cell = body.firstElementChild.firstElementChild;
    cell.colSpan = this.cells.length;
    cell.style.height = `${count * ROW_HEIGHT}px`;
  }

  row(place) {
    const row = this.order[place];
    const cells = this.cells.map((column, i) => h(i === 0 ? "th" : "td", i === 0 ? { scope: "row" } : {}, column.cell(row)));
    const bad = ["performance", "accuracy"].some((name) => DATA.statuses[rows.get(row, name)] === "bad");
    const element = h("tr", { "aria-rowindex": place + 2, class: `${place % 2 ? "odd" : "even"}${bad ? " failed" : ""}` }, cells);
    opens(element, jobOfRow(row));
    return element;
  }

  printable(on) {
    this.note.textContent = this.order.length > PRINTED ? `The first ${PRINTED} of ${plural(this.order.length, "row")}; tables/summary.csv has all.` : "";
    this.fill(on);
  }
}

/** Return the list of all other columns of the table, to be added one by one. */
function columnChooser() {
  const boxes = MORE_COLUMNS.map((name) => {
    const box = h("input", { type: "checkbox", value: name });
    box.addEventListener("change", () => {
      const chosen = new Set(state.columns.split(",").filter(Boolean));
      if (box.checked) chosen.add(name);
      else chosen.delete(name);
      update({ columns: [...chosen].join(",") });
    });
    return box;
  });
  onState(() => {
    const chosen = new Set(state.columns.split(","));
    for (const box of boxes) box.checked = chosen.has(box.value);
  });
  const items = boxes.map((box) => h("label", { title: DATA.columns[box.value].doc }, box, " ", DATA.columns[box.value].title));
  return h("details", { class: "chooser" }, h("summary", {}, "More columns"), h("div", { class: "choices" }, items));
}
