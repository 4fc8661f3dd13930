"use strict";
// How it was measured, and all figures of each compiler.

function provenance(sweep) {
  const { environment: e } = sweep;
  const changed = sweep.changed_files.length;
  const parts = [
    ["when", dateTime(sweep.created)],
    ["machine", [e.host, e.cpu, e.cores && `${e.cores} cores`, e.gpus ?? e["gpu.name"]].filter(Boolean).join(", ")],
    ["code", sweep.commit ? `${sweep.commit.slice(0, 10)}${changed ? `, ${plural(changed, "file")} changed` : ""}` : null],
    ["torch", e["packages.torch"]],
    ["transformers", e["packages.transformers"]],
    ["python", e.python],
    ["origin", sweep.origin],
  ].filter(([, value]) => value);
  return h("dl", { class: "provenance" }, parts.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, String(value)))));
}

function environment(sweep) {
  const changed = sweep.changed_files.length ? { "changed files": sweep.changed_files } : {};
  return disclosure("Environment and settings", h("div", { class: "columns" }, facts({ ...sweep.environment, ...changed }), facts(sweep.settings)), false);
}

// -- executive summary

function summarySection() {
  return fold("summary", "All figures of each compiler", "pass rates, means for models like these, counts", executive());
}

function measuredSection() {
  if (SEVERAL) return null;
  const [sweep] = DATA.sweeps;
  return fold("measured", "How it was measured", "command, machine, code, environment, settings", commandLine(sweep.command), provenance(sweep), environment(sweep));
}

function percent(part, whole) {
  const value = (100 * part) / whole;
  return `${part < whole && value > 99 ? "> 99" : Math.round(value)} %`;
}

/** Filter the table to some rows and go there. */
function filterRows(filter) {
  update({ ...UNFILTERED, ...filter });
  goTo("table");
}

const EXECUTIVE = [
  ["pass rate", "pass_rate_percent", (row) => [percent(row.passed, row.planned), `${row.passed}/${row.planned} ${passInterval(row)}`, row.passed / row.planned]],
  ["geomean speed-up", "geomean_speedup", (row) => [withUnit("geomean_speedup", row.geomean_speedup) + (row.geomean_disturbed ? " *" : ""), [meanInterval(row, "speedup"), counted(row.geomean_count)].filter(Boolean).join(" ")]],
  ["models like these", "geomean_over_models_low", (row) => [meanInterval(row, "over_models") || MISSING, ""]],
  ["clipped at 1", "geomean_speedup_clipped", (row) => [withUnit("geomean_speedup_clipped", row.geomean_speedup_clipped), counted(row.geomean_count)]],
  ["faster · noise · slower", null, verdicts],
  ["compile, cold", "mean_compile_latency_cold_s", (row) => [withUnit("mean_compile_latency_cold_s", row.mean_compile_latency_cold_s), counted(row.mean_compile_latency_cold_count)]],
  ["memory", "geomean_compression_ratio", (row) => [row.geomean_compression_ratio === null ? MISSING : memoryChange(1 / row.geomean_compression_ratio - 1), counted(row.geomean_compression_count)]],
  ["accuracy", "accuracy_passed", (row) => [row.accuracy_planned ? `${row.accuracy_passed} of ${row.accuracy_planned}` : MISSING, ""]],
];
const VERDICT_RULE = "Workloads whose speed-up interval excludes 1 by more than the threshold, and those of which that cannot be said";

function counted(count) {
  return count ? `n = ${count.toLocaleString("en")}` : "";
}

/** Return the 95 % interval of a geometric mean: of exactly these workloads ("speedup"), or of models like these ("over_models"). */
function meanInterval(row, which) {
  const [low, high] = [row[`geomean_${which}_low`], row[`geomean_${which}_high`]];
  if (low === null) return "";
  return `[${low < 0.01 ? "< 0.01" : figure("geomean_speedup", low)}, ${high > 100 ? "> 100" : figure("geomean_speedup", high)}]`;
}

/** Return Wilson's 95 % interval of the pass rate, for models like these, in per cent. */
function passInterval(row) {
  return `[${Math.round(row.pass_rate_low_percent)}, ${Math.round(row.pass_rate_high_percent)}]`;
}

let verdictCounts = null;

function sectionKey(value) {
  return [value("sweep"), ...SECTION.map(value), value("compiler")].join("\n");
}

function verdicts(row) {
  if (verdictCounts === null) {
    verdictCounts = new Map();
    for (const one of ALL) {
      const key = sectionKey((name) => rows.get(one, name));
      if (!verdictCounts.has(key)) verdictCounts.set(key, { faster: 0, "within noise": 0, slower: 0 });
      const verdict = rows.get(one, "verdict");
      if (verdict !== null) verdictCounts.get(key)[verdict]++;
    }
  }
  const found = verdictCounts.get(sectionKey((name) => row[name]));
  if (!found || !(found.faster + found["within noise"] + found.slower)) return [MISSING, ""];
  return [h("span", { class: "counts" }, h("span", { class: "good" }, `▲ ${found.faster}`), " ", h("span", {}, `≈ ${found["within noise"]}`), " ", h("span", { class: "bad" }, `▼ ${found.slower}`)), ""];
}

function executive() {
  const groups = groupBy(DATA.overview, (row) => sectionTitle(row, inWords("threads", row.threads) ?? [], seeds().length > 1 ? words("seed", row.seed) : [], words("build", row.build) ?? []));
  const heads = EXECUTIVE.map(([title, column]) => h("th", { scope: "col" }, title, " ", tip(column === null ? VERDICT_RULE : DATA.columns[column].doc, title)));
  const bodies = [...groups].map(([title, lines]) => h("tbody", {}, h("tr", { class: "group" }, h("th", { scope: "rowgroup", colspan: EXECUTIVE.length + 1 }, title)), byCompiler(lines).map(executiveRow)));
  return h("div", { class: "scroll framed", tabindex: "0", role: "region", "aria-label": "Executive summary" },
    h("table", { class: "executive" }, h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "compiler"), heads)), bodies));
}

/** Put compilers in the order of all charts, the same of several sweeps together. */
function byCompiler(lines) {
  return [...lines].sort((a, b) => seriesNumber(a.compiler, a.sweep) - seriesNumber(b.compiler, b.sweep));
}

function seeds() {
  return [...new Set(DATA.overview.map((row) => row.seed))];
}

function executiveRow(row) {
  const cells = EXECUTIVE.map(([, , of]) => {
    const [first, second, share] = of(row);
    return h("td", {}, h("div", { class: "first" }, first), h("div", { class: "second" }, second || "\u00a0"), share === undefined ? null : meter(share));
  });
  const filter = { ...Object.fromEntries(["suite", "mode", "dtype", "device", "compiler"].map((name) => [name, row[name]])), ...(SEVERAL ? { sweep: DATA.sweeps[row.sweep].name } : {}) };
  return h("tr", {}, h("th", { scope: "row" }, h("button", { type: "button", class: "link", click: () => filterRows(filter) }, row.compiler), SEVERAL ? h("div", { class: "second" }, DATA.sweeps[row.sweep].name) : null), cells);
}

function meter(share) {
  const fill = h("i");
  fill.style.width = `${100 * share}%`;
  return h("span", { class: "meter", "aria-hidden": "true" }, fill);
}

function selfTest() {
  if (!DATA.self_test.length) return null;
  const failed = DATA.self_test.filter(({ result }) => result !== "pass").length;
  const lines = DATA.self_test.map((check) => h("tr", {}, h("th", { scope: "row" }, check.check), h("td", {}, badge(check.result === "pass" ? "pass" : "fail_to_run")), h("td", {}, check.expected ?? ""), h("td", {}, check.found ?? "")));
  return section("self-test", ["Self-test ", h("small", { class: failed ? "bad" : "good" }, failed ? `✕ ${failed} failed` : "✓ all passed")], plainTable(columnHeads(["check", "result", "expected", "found"]), lines));
}

