"use strict";
// The top of the page: the answer in one sentence, four facts, one caution, and the compilers that it is about.

/** All sections of all sweeps, each with the number of its sweep and what tells it from the others. */
const ANSWERS = (() => {
  const all = DATA.answers.flatMap(({ sections }, sweep) => sections.map((one) => ({ ...one, sweep })));
  const telling = [...SECTION.filter((name) => new Set(all.map(({ key }) => key[name])).size > 1)];
  return all.map((one) => ({ ...one, title: telling.map((name) => inWords(name, one.key[name])).filter(Boolean).join(" · ") }));
})();
const BEST = new Map(ANSWERS.flatMap(({ best }) => best));

function header() {
  const [answer] = DATA.answers;
  return h("header", { id: "top" },
    h("p", { class: "meta" }, meta(), progress()),
    leftOut(),
    SEVERAL ? [h("h1", {}, severalSentence()), sweepTable()] : [headline(answer), factList(answer.facts), answer.caution ? cautionLine(answer.caution) : null]);
}

/** Return what was compared, when and where, in a line. */
function meta() {
  const [sweep] = DATA.sweeps, { environment: e } = sweep;
  if (SEVERAL) return `${plural(DATA.sweeps.length, "sweep")} · ${dateTime(Math.min(...DATA.sweeps.map(({ created }) => created)))} and later`;
  const shared = ["suite", "mode", "dtype", "device", "threads"].map((name) => (distinct(name).length === 1 ? inWords(name, distinct(name)[0]) : null));
  const parts = [dateTime(sweep.created), ...shared,
    rows.length && plural(distinct("model").length, "model"), e.cpu, e.cores && `${e.cores} cores`, e.gpus ?? e["gpu.name"], e["packages.torch"] && `torch ${e["packages.torch"]}`];
  return parts.filter((part) => part && part !== MISSING).map((part) => h("span", {}, String(part)));
}

/** Return a value of a section's key as in a sentence: "2 threads". Of an imported sweep nobody knows the threads. */
function inWords(name, value) {
  return name === "threads" ? (value ? plural(value, "thread") : null) : words(name, value);
}

/** Say, of a large sweep, how many of its rows are here; null where all are. */
function leftOut() {
  const total = DATA.sweeps.reduce((sum, sweep) => sum + sweep.rows, 0);
  if (total <= rows.length) return null;
  return h("p", { class: "note", id: "left-out" }, `${rows.length.toLocaleString("en")} of ${plural(total, "row")} are on this page, those that failed or are marked first; the answer is of all, and tables/summary.csv has all.`);
}

function progress() {
  const planned = DATA.sweeps.reduce((sum, sweep) => sum + sweep.planned, 0);
  const done = DATA.sweeps.reduce((sum, sweep) => sum + sweep.done, 0);
  if (DATA.running) return h("span", { class: "running", role: "status" }, `running, ${done.toLocaleString("en")} of ${plural(planned, "job")}`);
  if (done < planned) return h("span", { class: "running" }, `${done.toLocaleString("en")} of ${plural(planned, "job")} have a result`);
  return h("span", {}, plural(planned, "job"));
}

/** Return the first sentence as the title, and those of other sections below it. */
function headline({ said }) {
  if (!said.length) return h("h1", {}, DATA.running ? "Nothing can be compared yet" : DATA.findings.length ? `${plural(DATA.findings.length, "table")} of other measures: nothing was timed or judged` : "Nothing was timed or judged");
  const [first, ...others] = said;
  return [
    h("h1", {}, claimed(first.sentence)),
    others.length ? h("ul", { class: "also" }, others.map(({ sentence, choices }) => h("li", {}, claimed(sentence), choiceList(choices)))) : null,
  ];
}

/** Return a sentence with what it claims in its colour: a claim that is doubtful ("looks") has none. */
function claimed(sentence) {
  const found = sentence.match(/is ([\d.]+x faster)|is (slower)|(WRONG)/);
  if (!found) return sentence;
  const claim = found[1] ?? found[2] ?? found[3], at = found.index + found[0].indexOf(claim);
  return [sentence.slice(0, at), h("span", { class: found[1] ? "good" : "bad" }, claim), sentence.slice(at + claim.length)];
}

/** Return what else there is to choose by: the smallest, those worth a look, what is not decided. */
function choiceList(choices) {
  return choices.length ? h("dl", { class: "choices-of" }, choices.map(([name, text]) => [h("dt", {}, name), h("dd", {}, text)])) : null;
}

function factList(found) {
  return found.length ? h("ul", { class: "answer-facts" }, found.map(([value, ends, note]) =>
    h("li", {}, h("strong", {}, value), ends ? h("span", { class: "ends" }, " ", ends) : null, h("p", {}, note)))) : null;
}

function cautionLine([text, command]) {
  return h("div", { class: "caution", role: "note" }, h("p", {}, text), command ? [h("code", {}, command), copyButton(command, "Copy the command that mends this")] : null);
}

// -- compilers

const COMPILERS = ANSWERS.flatMap(({ compilers }) => compilers);
const COMPILER_COLUMNS = [
  { title: "speed-up", doc: "geomean_speedup", shown: LEAD === "speedup", cell: meanCell },
  { title: "correct", doc: "accuracy_passed", shown: COMPILERS.some((one) => one.planned_accuracy), cell: correctCell },
  { title: "compile, cold", doc: "mean_compile_latency_cold_s", shown: COMPILERS.some((one) => one.compile_s !== null), cell: ({ compile_s: cost }) => withUnit("mean_compile_latency_cold_s", cost === null ? null : Math.max(cost, 0)) },
  { title: "memory", doc: "geomean_compression_ratio", shown: COMPILERS.some((one) => one.memory_change !== null), cell: (one) => memoryChange(one.memory_change) },
  { title: "pays off after", doc: "break_even_iterations", shown: COMPILERS.some((one) => one.compile_s !== null && one.verdict !== null), wrap: true, cell: payoffCell },
].filter(({ shown }) => shown);

function compilersSection() {
  if (!ANSWERS.length) return null;
  const heads = COMPILER_COLUMNS.map(({ title, doc }) => h("th", { scope: "col", class: "number" }, title, " ", tip(DATA.columns[doc].doc, title)));
  const beside = COMPARED_ROWS.some((row) => rows.get(row, "disturbed") !== null) ? ", ○ one disturbed while it was measured" : "";
  const legend = { speedup: `speed-up over eager: ◆ geometric mean with 95 %, ● each model${beside}`, error: "● each model's error as a share of what is allowed (1)" }[LEAD];
  const head = h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "compiler"), LEAD ? h("th", { scope: "col", class: "plot" }, FOREST.axis()) : null, heads));
  return section("compilers", "Compilers", SEVERAL || !DATA.answers[0].said.length ? null : choiceList(DATA.answers[0].said[0].choices),
    LEAD ? h("p", { class: "note" }, legend) : null,
    h("div", { class: "scroll" }, h("table", { class: "forest compilers", "aria-label": "Compilers" }, head, [...groupBy(ANSWERS, ({ title }) => title)].map(([title, answers]) => compilersBody(title, answers)))));
}

/** Return the number in all charts of a section's compiler. */
function seriesNumber(compiler, sweep) {
  return DATA.series.indexOf(inSweep(compiler, sweep));
}

/** Return a section's compilers, below its title where there are several; of several sweeps, each in all of them. */
function compilersBody(title, answers) {
  const lines = answers.flatMap((answer) => answer.compilers.map((one) => ({ number: seriesNumber(one.compiler, answer.sweep), line: compilerLine(answer, one) })));
  return h("tbody", {}, title ? h("tr", { class: "group" }, h("th", { scope: "rowgroup", colspan: COMPILER_COLUMNS.length + 2 }, title)) : null, lines.sort((a, b) => a.number - b.number).map(({ line }) => line));
}

function compilerLine(answer, one) {
  const inSection = (of) => of("sweep") === answer.sweep && SECTION.every((name) => of(name) === answer.key[name]);
  const mean = DATA.overview.find((row) => row.compiler === one.compiler && inSection((name) => row[name]));
  const own = COMPARED_ROWS.filter((row) => rows.get(row, "compiler") === one.compiler && inSection((name) => rows.get(row, name)));
  const filter = { ...Object.fromEntries(["suite", "mode", "dtype", "device"].map((name) => [name, answer.key[name]])), compiler: one.compiler, sweep: SEVERAL ? DATA.sweeps[answer.sweep].name : "" };
  return h("tr", {},
    h("th", { scope: "row" }, h("button", { type: "button", class: "link name", click: () => filterRows(filter) }, breakable(DATA.series[seriesNumber(one.compiler, answer.sweep)]))),
    LEAD ? h("td", { class: "plot" }, compilerPlot(one, mean, own)) : null,
    COMPILER_COLUMNS.map(({ title, cell, wrap }) => h("td", { class: wrap ? "number wrap" : "number", "data-label": title }, cell(one, mean))));
}

function compilerPlot(one, row, own) {
  const names = (row) => `${workloadOf(row)}: `;
  if (LEAD === "error") {
    const judged = own.map((row) => [row, errorShare(row)]).filter(([, share]) => share !== null);
    const label = `${one.compiler}: errors of ${plural(judged.length, "model")} as a share of what is allowed`;
    return FOREST.plot(label, 30, judged.map(([row, share], i) => FOREST.dot(Math.max(share, 1e-9), 15 + 4 * ((i % 3) - 1) * (judged.length > 12), { small: true, tone: rows.get(row, "accuracy") === "pass" ? "good" : "bad", title: `${names(row)}${significant(share, 2)}` })));
  }
  const timed = own.filter((row) => rows.get(row, "speedup") !== null);
  const mean = row.geomean_speedup, tone = toneOf(one.verdict, one.doubtful);
  const dots = timed.map((row, i) => FOREST.dot(rows.get(row, "speedup"), 33 + (timed.length > 12 ? 5 * ((i % 3) - 1) : 0), { small: true, hollow: rows.get(row, "disturbed") !== null, title: `${names(row)}${figure("speedup", rows.get(row, "speedup"))}x` }));
  const said = mean === null ? "no mean" : `geometric mean ${figure("geomean_speedup", mean)}x ${meanInterval(row, "speedup")}`;
  const label = `${one.compiler}: ${said}; ${plural(timed.length, "model")}${timed.length ? ` from ${figure("speedup", least(timed))}x to ${figure("speedup", most(timed))}x` : ""}`;
  return FOREST.plot(label, 48, dots, mean === null ? null : [FOREST.interval(row.geomean_speedup_low, row.geomean_speedup_high, 14, tone), FOREST.diamond(mean, 14, tone)]);
}

const least = (timed) => timed.reduce((a, row) => Math.min(a, rows.get(row, "speedup")), Infinity);
const most = (timed) => timed.reduce((a, row) => Math.max(a, rows.get(row, "speedup")), 0);

function meanCell(one, row) {
  if (row.geomean_speedup === null) return MISSING;
  const tone = toneOf(one.verdict, one.doubtful), sign = one.doubtful ? "" : { faster: "▲ ", slower: "▼ " }[one.verdict] ?? "";
  return [h("strong", { class: tone }, sign, withUnit("geomean_speedup", row.geomean_speedup), row.geomean_disturbed ? " *" : ""), h("div", { class: "second" }, meanInterval(row, "speedup"), " ", counted(row.geomean_count))];
}

function correctCell(one) {
  if (!one.planned_accuracy) return h("span", { class: "faint" }, "not judged");
  const sign = one.wrong ? "✕" : one.right === one.planned_accuracy ? "✓" : "○";
  return h("span", { class: one.wrong ? "bad" : "" }, `${sign} ${one.right}/${one.planned_accuracy}`);
}

/** Return the change of memory: "+6 %"; beyond the dashboard's limit in the colour of what is bad. */
function memoryChange(change) {
  if (change === null) return MISSING;
  const percents = Math.round(100 * change);
  return h("span", { class: 1 / (1 + change) < 0.9 ? "bad" : "" }, `${percents < 0 ? "-" : "+"}${Math.abs(percents)} %`);
}

function payoffCell({ payoff, verdict }) {
  if (payoff === null) return h("span", { class: "faint" }, verdict === "faster" || verdict === null ? MISSING : "no gain shown");
  return payoff;
}

// -- several sweeps

/** Return how the speed-ups of the later sweeps stand to the first one's. */
function severalSentence() {
  const found = {};
  for (const { changes } of DATA.side_by_side) for (const { speedup } of changes) if (speedup) found[speedup[0]] = (found[speedup[0]] ?? 0) + 1;
  const said = ["worse", "better", "changed", "within noise"].filter((word) => found[word]).map((word) => `${found[word].toLocaleString("en")} ${word}`);
  return `${plural(DATA.sweeps.length, "sweep")}: ${said.length ? `against the first, speed-ups are ${said.join(", ")}` : "no speed-up can be compared"}`;
}

function sweepTable() {
  const lines = DATA.sweeps.map((sweep) => h("tr", {},
    h("th", { scope: "row" }, sweep.name), h("td", {}, dateTime(sweep.created)), h("td", {}, `${sweep.done} of ${sweep.planned}`),
    h("td", {}, sweep.commit?.slice(0, 10) ?? MISSING), h("td", {}, sweep.environment["packages.torch"] ?? MISSING),
    h("td", {}, sweep.environment.host ?? MISSING), h("td", {}, commandLine(sweep.command))));
  return plainTable(columnHeads(["sweep", "when", "jobs", "code", "torch", "machine", "command"]), lines);
}
