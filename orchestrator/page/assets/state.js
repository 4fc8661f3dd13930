"use strict";
// What is shown: filters, order, columns, the open job. It is the fragment of the address, so a link reproduces it.

const DEFAULTS = {
  q: "", sweep: "", suite: "", mode: "", dtype: "", device: "", compiler: "", status: "", mark: "",
  order: "", sort: "", columns: "", job: "", metric: "",
};
const FILTERS = ["q", "sweep", "suite", "mode", "dtype", "device", "compiler", "status", "mark"];
const UNFILTERED = Object.fromEntries(FILTERS.map((name) => [name, ""]));
const state = { ...DEFAULTS };
const listeners = [];

function onState(listener) {
  listeners.push(listener);
}

/** Return what filters, and others by name, are now. */
function stateOf(others) {
  return [...FILTERS, ...others].map((name) => state[name]).join("\n");
}

/** Call a listener when the filters, or others by name, have changed. */
function onChange(others, listener) {
  let key = null;
  onState(() => {
    const now = stateOf(others);
    if (now === key) return;
    key = now;
    listener();
  });
}

function readAddress() {
  const asked = new URLSearchParams(location.hash.slice(1));
  for (const name of Object.keys(DEFAULTS)) state[name] = asked.get(name) ?? "";
}

function address(changes = {}) {
  const shown = Object.entries({ ...state, ...changes }).filter(([, value]) => value !== "");
  return "#" + new URLSearchParams(shown).toString();
}

/** Change what is shown. `keep`: the step can be undone with the browser's back button. */
function update(changes, keep = false) {
  Object.assign(state, changes);
  history[keep ? "pushState" : "replaceState"](null, "", address());
  for (const listener of listeners) listener();
}

function followAddress() {
  readAddress();
  for (const listener of listeners) listener();
}

// -- filters

const MARKS = {
  flagged: { title: "flagged (any)", holds: (row) => rows.get(row, "flags") !== null },
  ...Object.fromEntries(
    Object.entries(DATA.marks).map(([mark, { rule }]) => [
      `flag:${mark}`,
      { title: `! ${rule}`, holds: (row) => (rows.get(row, "flags") ?? "").split(", ").includes(mark) },
    ]),
  ),
  disturbed: { title: "* disturbed", holds: (row) => rows.get(row, "disturbed") !== null },
  faster: { title: "faster", holds: (row) => rows.get(row, "verdict") === "faster" },
  slower: { title: "slower", holds: (row) => rows.get(row, "verdict") === "slower" },
  noise: { title: "within noise", holds: (row) => rows.get(row, "verdict") === "within noise" },
  failed: { title: "failed", holds: (row) => ["performance", "accuracy"].some((name) => DATA.statuses[rows.get(row, name)] === "bad") },
};
const SEARCHED = ["model", ...WORKLOAD, "compiler", "performance", "accuracy", "performance_reason", "accuracy_reason", "measured", "disturbed", "flags", "job", "accuracy_job"];
const haystacks = [];

function haystack(row) {
  return (haystacks[row] ??= SEARCHED.map((name) => rows.get(row, name) ?? "").join("\n").toLowerCase());
}

let filtered = { key: null, rows: ALL };

/** Return the rows that pass the filters, in the table's own order. */
function visibleRows() {
  const key = stateOf([]);
  if (filtered.key !== key) filtered = { key, rows: ALL.filter(passes()) };
  return filtered.rows;
}

function passes() {
  const wanted = wantedWords();
  const equal = ["suite", "mode", "dtype", "device", "compiler"].filter((name) => state[name] !== "");
  const mark = MARKS[state.mark];
  return (row) =>
    equal.every((name) => rows.get(row, name) === state[name]) &&
    (state.sweep === "" || DATA.sweeps[rows.get(row, "sweep")].name === state.sweep) &&
    (state.status === "" || rows.get(row, "performance") === state.status || rows.get(row, "accuracy") === state.status) &&
    (!mark || mark.holds(row)) &&
    wanted.every((word) => haystack(row).includes(word));
}

/**
 * Return those of a list of the page's data that pass the filters. What rows of the table share its keys passes with one
 * of these; what has no rows by its own keys, for it has neither status nor mark.
 */
function visibleEntries(entries) {
  if (!entries.length || FILTERS.every((name) => state[name] === "")) return entries;
  const names = ["sweep", "model", ...SECTION, "compiler"].filter((name) => name in entries[0]);
  const keys = (some) => new Set(some.map((row) => names.map((name) => rows.get(row, name)).join("\n")));
  const known = keys(ALL), visible = keys(visibleRows());
  return entries.filter((entry) => {
    const key = names.map((name) => entry[name]).join("\n");
    return known.has(key) ? visible.has(key) : passesAlone(entry);
  });
}

function passesAlone(entry) {
  const text = SEARCHED.map((name) => entry[name] ?? "").join("\n").toLowerCase();
  const named = { ...entry, sweep: DATA.sweeps[entry.sweep].name };
  const equal = FILTERS.filter((name) => name !== "q" && state[name] !== "");
  return equal.every((name) => named[name] === state[name]) && wantedWords().every((word) => text.includes(word));
}

function wantedWords() {
  return state.q.toLowerCase().split(/\s+/).filter(Boolean);
}

let grouped = { key: null, groups: [] };

/** Return the workloads that pass the filters, each with its rows, in the order that is asked for: that of all charts. */
function workloads() {
  const key = stateOf(["order"]);
  if (grouped.key === key) return grouped.groups;
  const groups = [...groupBy(visibleRows(), workloadOf)].map(([name, own]) => ({ name, rows: own }));
  const order = state.order in CHARTS.orders ? state.order : Object.keys(CHARTS.orders)[0];
  const column = order.replace(/^-/, ""), sign = order.startsWith("-") ? -1 : 1;
  for (const group of groups) {
    group.rows.sort((a, b) => DATA.series.indexOf(seriesOf(a)) - DATA.series.indexOf(seriesOf(b)));
    const has = (row) => typeof rows.get(row, column) === "number";
    const row = group.rows.find((one) => has(one) && !isEager(one)) ?? group.rows.find(has);
    group.at = row === undefined ? Infinity : sign * rows.get(row, column);
    group.wrong = group.rows.reduce((most, one) => Math.max(most, rows.get(one, "accuracy") === "fail_accuracy" ? Infinity : errorShare(one) ?? 0), 0);
  }
  const byName = (a, b) => a.name.localeCompare(b.name, "en", { numeric: true });
  const compare = column === "model" ? byName : (a, b) => (a.at === b.at ? (LEAD === "error" && b.wrong - a.wrong) || byName(a, b) : a.at - b.at);
  grouped = { key, groups: groups.sort(compare) };
  return grouped.groups;
}

/** Return in which order the workloads are. */
function orderWords() {
  const first = LEAD === "error" ? "largest error first" : Object.values(CHARTS.orders)[0];
  return CHARTS.orders[state.order] ?? first;
}

const distinctValues = new Map();

function distinct(name) {
  if (!distinctValues.has(name)) distinctValues.set(name, [...new Set(rows.column(name))].filter((value) => value !== null));
  return distinctValues.get(name);
}

/** Return the bar of filters: it holds for the table and the charts. */
function filterBar() {
  const choices = [
    ...(SEVERAL ? [["sweep", "Sweep", DATA.sweeps.map((sweep) => [sweep.name, sweep.name])]] : []),
    ...["suite", "mode", "dtype", "device", "compiler"].map((name) => [name, name[0].toUpperCase() + name.slice(1), distinct(name).map((v) => [v, v])]),
    ["status", "Status", Object.keys(DATA.statuses).filter(occurs).map((v) => [v, v.replaceAll("_", " ")])],
    ["mark", "Mark", Object.entries(MARKS).filter(([, mark]) => ALL.some(mark.holds)).map(([v, mark]) => [v, mark.title])],
  ].filter(([, , values]) => values.length > 1 || values.some(([value]) => value in MARKS));
  const text = h("input", { id: "filter-q", type: "search", placeholder: "model, reason, job …", autocomplete: "off", spellcheck: "false" });
  let waiting = null;
  text.addEventListener("input", () => {
    clearTimeout(waiting);
    waiting = setTimeout(() => update({ q: text.value }), 120);
  });
  const selects = choices.map(([name, title, values]) => {
    const options = [["", "all"], ...values].map(([value, words]) => h("option", { value }, words));
    const select = h("select", { id: `filter-${name}` }, options);
    select.addEventListener("change", () => update({ [name]: select.value }));
    return { name, title, select };
  });
  const orders = Object.entries(CHARTS.orders).filter(([name]) => rows.column(name.replace(/^-/, "")).some((value) => value !== null));
  const order = h("select", { id: "order" }, orders.map(([value, title], i) => h("option", { value: i === 0 ? "" : value }, title)));
  order.addEventListener("change", () => update({ order: order.value }));
  const count = h("output", { id: "filter-count", for: "filter-q" });
  const reset = h("button", { type: "button", id: "filter-reset", click: () => update(UNFILTERED) }, "Reset");
  const show = () => {
    if (document.activeElement !== text) text.value = state.q;
    order.value = state.order;
    for (const { name, select } of selects) {
      select.value = state[name];
      select.classList.toggle("active", state[name] !== "");
    }
    const shown = visibleRows().length;
    count.textContent = shown === rows.length ? plural(rows.length, "row") : `${shown.toLocaleString("en")} of ${plural(rows.length, "row")}`;
    reset.disabled = FILTERS.every((name) => state[name] === "");
  };
  onState(show);
  const field = (title, control) => h("label", { class: "field" }, h("span", {}, title), control);
  return h("form", { class: "filters", role: "search", "aria-label": "Filter rows", submit: (event) => event.preventDefault() },
    field("Filter", text), selects.map(({ title, select }) => field(title, select)), orders.length > 1 && field("Order of models", order), h("div", { class: "field count" }, count, reset));
}

function occurs(status) {
  return rows.column("performance").includes(status) || rows.column("accuracy").includes(status);
}
