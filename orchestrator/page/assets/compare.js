"use strict";
// Several sweeps: each row in every sweep, and how it differs from the first.

const METRICS = {
  speedup: "speed-up", latency_ms: "latency", compile_latency_cold_s: "compile latency, cold",
  compile_latency_warm_s: "compile latency, warm", own_memory_mib: "own share of memory", performance: "performance status", accuracy: "accuracy status",
};
const CHANGE_SIGNS = { better: "▲", worse: "▼", changed: "◆", "within noise": "≈" };
const CHANGE_ORDER = { worse: 0, changed: 1, better: 2 };
const COMPARED = 50;

function compareSection() {
  if (!SEVERAL) return null;
  const body = h("tbody");
  const note = h("p", { class: "note" });
  const more = h("button", { type: "button", class: "small" });
  const choice = h("select", { id: "metric" }, Object.entries(METRICS).map(([value, text]) => h("option", { value }, text)));
  choice.addEventListener("change", () => update({ metric: choice.value === "speedup" ? "" : choice.value }));
  const heads = columnHeads(["model", "compiler", ...DATA.sweeps.map(({ name }) => name)]);
  let entries = [], metric = "speedup";
  const extend = (count) => {
    body.append(...entries.slice(body.children.length, count).map((entry) => compareRow(entry, metric)));
    more.hidden = body.children.length >= entries.length;
    more.textContent = `Show more of ${plural(entries.length, "row")}`;
  };
  more.addEventListener("click", () => extend(body.children.length + 4 * COMPARED));
  onChange(["metric"], () => {
    metric = state.metric in METRICS ? state.metric : "speedup";
    choice.value = metric;
    const shown = new Set(visibleRows());
    entries = DATA.side_by_side.filter((entry) => entry.rows.some((row) => row !== null && shown.has(row)) && entry.rows.some((row) => row !== null && rows.get(row, metric) !== null));
    entries.sort((a, b) => urgency(a, metric) - urgency(b, metric));
    note.textContent = entries.length ? counts(entries, metric) : "No row that is filtered has this figure.";
    body.replaceChildren();
    extend(COMPARED);
  });
  const rule = "Compared with the first sweep, with 95 % intervals and Holm's correction over all rows (docs/measuring.md, Two sweeps). A change needs significance and size.";
  return section("compare", "Side by side",
    h("div", { class: "controls" }, h("label", { class: "field inline" }, h("span", {}, "Figure"), choice), tip(rule, "changes")), note,
    h("div", { class: "scroll framed", tabindex: "0", role: "region", "aria-label": "Side by side" }, h("table", { class: "plain compare" }, h("thead", {}, h("tr", {}, heads)), body)), more);
}

/** Order entries: the worst change first, by its size; what is the same last. */
function urgency(entry, metric) {
  const found = entry.changes.filter((changes) => metric in changes).map((changes) => changes[metric]);
  const ranks = found.map(([word, ratio]) => (CHANGE_ORDER[word] ?? 9) - Math.min(Math.abs(Math.log(ratio ?? 1)), 0.9));
  return ranks.length ? Math.min(...ranks) : 10;
}

function counts(entries, metric) {
  const words = {};
  for (const { changes } of entries) for (const change of changes) if (metric in change) words[change[metric][0]] = (words[change[metric][0]] ?? 0) + 1;
  const said = Object.entries(words).map(([word, count]) => `${count.toLocaleString("en")} ${word}`).join(", ");
  return `${plural(entries.length, "row")}. Against the first sweep: ${said || "nothing can be compared"}.`;
}

function compareRow(entry, metric) {
  const first = entry.rows.find((row) => row !== null);
  const keys = entry.keys.flatMap((changed) => Object.entries(changed)).map(([name, [before, after]]) => `${name}: ${before} → ${after}`);
  const name = workloadOf(first);
  return h("tr", {}, h("th", { scope: "row" }, name, keys.length ? h("div", { class: "second" }, [...new Set(keys)].join(", ")) : null), h("td", {}, rows.get(first, "compiler")),
    entry.rows.map((row, i) => compareCell(row, metric, entry.changes[i][metric])));
}

function compareCell(row, metric, change) {
  if (row === null) return h("td", { class: "faint" }, "not in it");
  const job = jobOfRow(row, metric);
  const value = rows.get(row, metric);
  const status = metric === "performance" || metric === "accuracy";
  const text = status ? badge(value) : withUnit(metric, value);
  const low = metric === "speedup" ? rows.get(row, "speedup_low") : null;
  const ends = endsOf(metric, low, rows.get(row, "speedup_high"));
  return h("td", {}, h("div", { class: "first" }, job === undefined ? text : jobLink(job, { class: status ? "plain" : null }, text), h("span", { class: "interval" }, ends)), changeLine(change));
}

function changeLine(change) {
  if (!change) return h("div", { class: "second" }, "\u00a0");
  const [word, ratio, low, high] = change;
  const tone = { better: "good", worse: "bad" }[word] ?? "";
  const interval = low === null ? "" : ` [${significant(low, 3)}, ${significant(high, 3)}]`;
  const size = ratio === null ? "" : ` ${significant(ratio, 3)}x${interval}`;
  return h("div", { class: `second ${tone}` }, `${CHANGE_SIGNS[word] ?? ""} ${word}${size}`);
}

function overTimeSection() {
  if (!SEVERAL) return null;
  const cards = CHARTS.several.map((chart) => new ChartCard(chart));
  return section("time", "Over time", h("div", { class: "charts" }, cards.map((card) => card.element)));
}
