"use strict";
// The top of the page: what was asked and where, the executive summary, and what deserves a look.

const LISTED = 12;

function header() {
  const [sweep] = DATA.sweeps;
  const title = SEVERAL ? plural(DATA.sweeps.length, "sweep") : sweep.name;
  const lines = SEVERAL ? [sweepTable()] : [commandLine(sweep.command), provenance(sweep), environment(sweep)];
  return h("header", { id: "top" }, h("div", { class: "title" }, h("h1", {}, title), progress()), lines);
}

function progress() {
  const planned = DATA.sweeps.reduce((sum, sweep) => sum + sweep.planned, 0);
  const done = DATA.sweeps.reduce((sum, sweep) => sum + sweep.done, 0);
  if (DATA.running) return h("p", { class: "running", role: "status" }, `running, ${done.toLocaleString("en")} of ${plural(planned, "job")}`);
  if (done < planned) return h("p", { class: "running" }, `${done.toLocaleString("en")} of ${plural(planned, "job")} have a result`);
  return h("p", { class: "faint" }, plural(planned, "job"));
}

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

function sweepTable() {
  const heads = ["sweep", "when", "jobs", "code", "torch", "machine", "command"].map((name) => h("th", { scope: "col" }, name));
  const lines = DATA.sweeps.map((sweep) => h("tr", {},
    h("th", { scope: "row" }, sweep.name), h("td", {}, dateTime(sweep.created)), h("td", {}, `${sweep.done} of ${sweep.planned}`),
    h("td", {}, sweep.commit?.slice(0, 10) ?? MISSING), h("td", {}, sweep.environment["packages.torch"] ?? MISSING),
    h("td", {}, sweep.environment.host ?? MISSING), h("td", {}, commandLine(sweep.command))));
  return h("div", { class: "scroll framed" }, h("table", { class: "plain" }, h("thead", {}, h("tr", {}, heads)), h("tbody", {}, lines)));
}

// -- executive summary

function summarySection() {
  return section("summary", "Summary", tiles(), executive(), selfTest());
}

function tiles() {
  const counts = Object.fromEntries(Object.entries(MARKS).map(([name, mark]) => [name, ALL.filter(mark.holds).length]));
  const passed = DATA.overview.reduce((sum, row) => sum + row.passed, 0);
  const planned = DATA.overview.reduce((sum, row) => sum + row.planned, 0);
  const items = [
    ["passed", planned ? percent(passed, planned) : MISSING, `${passed.toLocaleString("en")} of ${plural(planned, "row")}`, {}, ""],
    ["▲ faster", counts.faster, "than eager, beyond noise", { mark: "faster" }, "good"],
    ["≈ within noise", counts.noise, "no difference shown", { mark: "noise" }, ""],
    ["▼ slower", counts.slower, "than eager, beyond noise", { mark: "slower" }, "bad"],
    ["✕ failed", counts.failed, "rows with a failure", { mark: "failed" }, "bad"],
    ["! flagged", counts.flagged, "by the dashboard's rules, or by what was timed", { mark: "flagged" }, "warn"],
    ["* disturbed", counts.disturbed, "something else was running", { mark: "disturbed" }, "warn"],
  ];
  return h("ul", { class: "tiles" }, items.map(([title, value, note, filter, tone]) => {
    const content = [h("span", { class: "name" }, title), h("span", { class: `value ${value ? tone : ""}` }, typeof value === "number" ? value.toLocaleString("en") : value), h("span", { class: "faint" }, note)];
    return h("li", {}, value && "mark" in filter ? h("button", { class: "tile", type: "button", click: () => filterRows(filter) }, content) : h("div", { class: "tile" }, content));
  }));
}

function percent(part, whole) {
  const value = (100 * part) / whole;
  return `${part < whole && value > 99 ? "> 99" : Math.round(value)} %`;
}

/** Filter the table to some rows and go there. */
function filterRows(filter) {
  update({ ...Object.fromEntries(FILTERS.map((name) => [name, ""])), ...filter });
  goTo("table");
}

const EXECUTIVE = [
  ["pass rate", "pass_rate_percent", (row) => [percent(row.passed, row.planned), `${row.passed}/${row.planned} ${passInterval(row)}`, row.passed / row.planned]],
  ["geomean speed-up", "geomean_speedup", (row) => [withUnit("geomean_speedup", row.geomean_speedup) + (row.geomean_disturbed ? " *" : ""), [meanInterval(row, "speedup"), counted(row.geomean_count)].filter(Boolean).join(" ")]],
  ["models like these", "geomean_over_models_low", (row) => [meanInterval(row, "over_models") || MISSING, ""]],
  ["clipped at 1", "geomean_speedup_clipped", (row) => [withUnit("geomean_speedup_clipped", row.geomean_speedup_clipped), counted(row.geomean_count)]],
  ["faster · noise · slower", null, verdicts],
  ["compile, cold", "mean_compile_latency_cold_s", (row) => [withUnit("mean_compile_latency_cold_s", row.mean_compile_latency_cold_s), counted(row.mean_compile_latency_cold_count)]],
  ["memory ratio", "geomean_compression_ratio", (row) => [withUnit("geomean_compression_ratio", row.geomean_compression_ratio), counted(row.geomean_compression_count)]],
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
  const groups = new Map();
  for (const row of DATA.overview) {
    const title = SECTION.slice(0, 4).map((name) => row[name]).concat(words("threads", row.threads), seeds().length > 1 ? words("seed", row.seed) : []).join(" · ");
    if (!groups.has(title)) groups.set(title, []);
    groups.get(title).push(row);
  }
  const heads = EXECUTIVE.map(([title, column]) => h("th", { scope: "col" }, title, " ", tip(column === null ? VERDICT_RULE : DATA.columns[column].doc, title)));
  const bodies = [...groups].map(([title, lines]) => h("tbody", {}, h("tr", { class: "group" }, h("th", { scope: "rowgroup", colspan: EXECUTIVE.length + 1 }, title)), byCompiler(lines).map(executiveRow)));
  return h("div", { class: "scroll framed", tabindex: "0", role: "region", "aria-label": "Executive summary" },
    h("table", { class: "executive" }, h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "compiler"), heads)), bodies));
}

/** Put the same compiler of several sweeps together. */
function byCompiler(lines) {
  const order = [...new Set(lines.map((row) => row.compiler))];
  return [...lines].sort((a, b) => order.indexOf(a.compiler) - order.indexOf(b.compiler) || a.sweep - b.sweep);
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
  const lines = DATA.self_test.map((check) => h("tr", {}, h("th", { scope: "row" }, check.check), h("td", {}, badge(check.result === "pass" ? "pass" : "fail_to_run")), h("td", {}, check.expected ?? ""), h("td", {}, check.found ?? "")));
  return h("div", {}, h("h3", {}, "Self-test"), h("div", { class: "scroll framed" }, h("table", { class: "plain" }, h("thead", {}, h("tr", {}, ["check", "result", "expected", "found"].map((name) => h("th", { scope: "col" }, name)))), h("tbody", {}, lines))));
}

// -- what deserves a look

function attentionSection() {
  const lists = [flagList(), failureList(), disturbedList()].filter(Boolean);
  return section("attention", "What deserves a look", lists.length ? lists : h("p", {}, "Nothing: no flags, no failures, no disturbed measurements."));
}

/** Return a list that shows some of its items, and more when asked. */
function longList(id, title, note, items, line, filter = null) {
  if (!items.length) return null;
  const list = h("ol", { class: "attention" });
  const more = h("button", { type: "button", class: "small" });
  const show = (count) => {
    list.append(...items.slice(list.children.length, count).map(line));
    const left = items.length - list.children.length;
    more.hidden = left === 0;
    more.textContent = `Show ${Math.min(left, 5 * LISTED)} more of ${left.toLocaleString("en")}`;
  };
  more.addEventListener("click", () => show(list.children.length + 5 * LISTED));
  show(LISTED);
  const inTable = filter ? h("button", { type: "button", class: "small", click: () => filterRows(filter) }, "Show in the table") : null;
  return h("div", { id, class: "card" }, h("h3", {}, title, h("span", { class: "faint" }, ` ${items.length.toLocaleString("en")}`)), note ? h("p", { class: "note" }, note) : null, list, h("p", { class: "actions" }, more, inTable));
}

function rowLink(row, measure = "performance") {
  const job = jobOfRow(row, measure);
  return job === undefined ? titleOf(row) : jobLink(job, {}, titleOf(row));
}

function flagList() {
  const note = `The rules of PyTorch's dashboard, and what was timed: ${Object.values(DATA.marks).map(({ rule }) => rule).join(", ")}. Worst first.`;
  const line = ([mark, row, times]) => {
    const { word, column } = DATA.marks[mark];
    const value = rows.get(row, column);
    const said = mark === "accuracy" ? badge(value) : h("strong", {}, withUnit(column, value));
    const beyond = times === null ? "" : `, ${significant(times, 3)} times the limit`;
    return h("li", {}, h("span", { class: "what" }, "! ", word), " ", said, h("span", { class: "faint" }, beyond), " ", rowLink(row, mark === "accuracy" ? "accuracy" : "performance"));
  };
  return longList("flags", "Flags", note, DATA.flags, line, { mark: "flagged" });
}

function failureList() {
  const line = ({ measure, status, reason, rows: failed }) => {
    const links = h("ul", { class: "links" });
    const rest = h("button", { type: "button", class: "small" });
    const show = (count) => {
      links.append(...failed.slice(links.children.length, count).map((row) => h("li", {}, rowLink(row, measure))));
      rest.hidden = links.children.length >= failed.length;
      rest.textContent = `${(failed.length - links.children.length).toLocaleString("en")} more`;
    };
    rest.addEventListener("click", () => show(links.children.length + 50));
    show(3);
    return h("li", {}, badge(status), " ", h("span", { class: "faint" }, `${measure}, ${plural(failed.length, "row")}: `), reason || "no reason was given", links, rest);
  };
  return longList("failures", "Failures", "Rows with the same reason together, the worst kind first.", DATA.failures, line, DATA.failures.some(({ status }) => DATA.statuses[status] === "bad") ? { mark: "failed" } : null);
}

function disturbedList() {
  const disturbed = ALL.filter((row) => rows.get(row, "disturbed") !== null);
  const line = (row) => h("li", { title: rows.get(row, "disturbed") }, h("span", { class: "what warn" }, "* "), rowLink(row), h("span", { class: "faint" }, ` ${rows.get(row, "disturbed")}`));
  return longList("disturbed", "Disturbed measurements", "Something else used the machine while these were timed. They stay in the tables, with the evidence.", disturbed, line, { mark: "disturbed" });
}
