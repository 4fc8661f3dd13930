"use strict";
// Each model under each compiler: in the compilers' scale, in the order of all charts.

const MODEL_LINES = 60;

function modelsSection() {
  if (!ANSWERS.length) return null;
  const place = h("div", { class: "models" });
  const more = h("button", { type: "button", class: "small" });
  const order = h("span");
  let groups = [], shown = 0;
  const show = (count) => {
    place.querySelector("table").append(...groups.slice(shown, count).map(modelBody));
    shown = Math.min(count, groups.length);
    more.hidden = shown === groups.length;
    more.textContent = `Show ${Math.min(groups.length - shown, 2 * shown)} more of ${plural(groups.length, "workload")}`;
  };
  const first = Math.max(Math.floor(MODEL_LINES / COMPARED_SERIES), 4);
  more.addEventListener("click", () => show(3 * shown));
  onChange(["order"], () => {
    groups = workloads().map(({ name, rows: own }) => ({ name, rows: own.filter((row) => !isEager(row)) })).filter(({ rows: own }) => own.length);
    shown = 0;
    order.textContent = orderWords();
    place.replaceChildren(groups.length ? modelTable() : h("p", { class: "note" }, "No compiler's row is filtered."));
    more.hidden = true;
    if (groups.length) show(first);
  });
  const disturbed = COMPARED_ROWS.some((row) => rows.get(row, "disturbed") !== null);
  const note = `, one order and one scale in all charts${disturbed ? "; hollow and * = disturbed while it was measured" : ""}`;
  return section("models", ["Models ", h("small", { class: "faint" }, order, note)], h("div", { class: "scroll" }, place), more);
}

const MODEL_COLUMNS = [
  { name: "speedup", title: "speed-up [95 %]", shown: () => LEAD === "speedup", cell: modelSpeedup },
  { name: "paired_latency_ms", title: "eager → compiled", shown: () => LEAD === "speedup", cell: modelLatency },
  { name: "own_memory_mib", title: "memory", cell: modelMemory },
  { name: "limit", title: "error / allowed", shown: () => LEAD === "error", cell: modelError },
  { name: "accuracy", title: "accuracy", cell: (row) => statusMark(row, "accuracy") },
].filter(({ name, shown }) => (shown?.() ?? true) && COMPARED_ROWS.some((row) => rows.get(row, name) !== null));

function modelTable() {
  const heads = MODEL_COLUMNS.map(({ title, name }) => h("th", { scope: "col", class: "number", title: DATA.columns[name].doc }, title));
  return h("table", { class: "forest models", "aria-label": "Models" },
    h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "model"), h("th", { scope: "col" }, "compiler"), LEAD ? h("th", { scope: "col", class: "plot" }, FOREST.axis()) : null, heads)));
}

function modelBody({ rows: own }) {
  const [model, ...rest] = workloadOf(own[0]).split(" · ");
  const name = h("th", { scope: "rowgroup", rowspan: own.length, class: "model" }, breakable(model), rest.length ? h("div", { class: "second" }, rest.join(" · ")) : null);
  return h("tbody", {}, own.map((row, i) => {
    const job = jobOfRow(row), compiler = breakable(seriesOf(row)), best = COMPARED_SERIES > 1 ? BEST.get(row) : undefined;
    const line = h("tr", {}, i === 0 ? name : null,
      h("th", { scope: "row", class: "compiler" }, job === undefined ? compiler : jobLink(job, { class: "plain", title: titleOf(row) }, compiler), best ? h("span", { class: "best" }, " ", best) : null),
      figures(row));
    opens(line, job);
    return line;
  }));
}

/** Return the cells of a row's figures; of one without a mark, why it has none, and its accuracy. */
function figures(row) {
  const cells = MODEL_COLUMNS.map(({ title, cell }) => h("td", { class: "number", "data-label": title }, cell(row)));
  if (LEAD === null) return cells;
  const plot = modelPlot(row), judged = MODEL_COLUMNS.at(-1)?.name === "accuracy" ? cells.slice(-1) : [];
  return plot ? [h("td", { class: "plot" }, plot), cells] : [h("td", { class: "plot", colspan: 1 + cells.length - judged.length }, whyNot(row)), judged];
}

/** Return the row's mark; null where it has none. */
function modelPlot(row) {
  const hollow = rows.get(row, "disturbed") !== null, name = titleOf(row);
  if (LEAD === "error") {
    const share = errorShare(row), status = rows.get(row, "accuracy");
    if (share === null) return null;
    return FOREST.plot(`${name}: error ${significant(share, 2)} of what is allowed, ${status}`, 24, FOREST.dot(Math.max(share, 1e-9), 12, { tone: status === "pass" ? "good" : "bad" }));
  }
  const [value, low, high, verdict] = ["speedup", "speedup_low", "speedup_high", "verdict"].map((column) => rows.get(row, column));
  if (typeof value !== "number") return null;
  const tone = toneOf(verdict, isDoubtful(row));
  const label = `${name}: ${figure("speedup", value)}x${low === null ? "" : `, 95 % from ${figure("speedup", low)} to ${figure("speedup", high)}`}, ${verdictWord(row)}${hollow ? ", disturbed while it was measured" : ""}`;
  return FOREST.plot(label, 24, FOREST.interval(low, high, 12, tone), FOREST.dot(value, 12, { tone, hollow }));
}

function whyNot(row) {
  const measured = rows.get(row, "verdict") === "measured: eager" ? rows.get(row, "measured") : null;
  const measure = rows.get(row, "performance") !== null ? "performance" : "accuracy";
  const reason = measured ?? rows.get(row, `${measure}_reason`) ?? "";
  return h("div", { class: "why", title: reason }, measured ? h("span", { class: "badge bad" }, "! eager") : badge(rows.get(row, measure)), " ", h("span", { class: "faint" }, reason));
}

function verdictWord(row) {
  return `${rows.get(row, "verdict") ?? "no verdict"}${isDoubtful(row) && rows.get(row, "verdict") !== "within noise" ? "?" : ""}`;
}

function modelSpeedup(row) {
  const [value, low, high, verdict] = ["speedup", "speedup_low", "speedup_high", "verdict"].map((column) => rows.get(row, column));
  if (typeof value !== "number") return h("span", { class: "faint" }, MISSING);
  const doubtful = isDoubtful(row), sign = { faster: "▲", slower: "▼" }[verdict];
  const flagged = (rows.get(row, "flags") ?? "").split(", ").some((mark) => mark === "speedup" || mark === "measured");
  return h("span", { title: verdictWord(row) },
    h("strong", { class: toneOf(verdict, doubtful) }, sign ? `${sign}${doubtful ? "?" : ""} ` : "", `${figure("speedup", value)}x`),
    h("span", { class: "second ends" }, endsOf("speedup", low, high)),
    flagged ? h("span", { class: "bad" }, " !") : null, rows.get(row, "disturbed") === null ? null : h("span", { class: "warn" }, " *"));
}

function modelLatency(row) {
  const [eager, compiled] = ["paired_eager_latency_ms", "paired_latency_ms"].map((name) => rows.get(row, name));
  if (typeof compiled !== "number") return h("span", { class: "faint" }, MISSING);
  return `${figure("latency_ms", eager)} → ${figure("latency_ms", compiled)} ms`;
}

function modelMemory(row) {
  const [eager, own, ratio] = ["eager_own_memory_mib", "own_memory_mib", "compression_ratio"].map((name) => rows.get(row, name));
  if (own === null && ratio === null) return h("span", { class: "faint" }, MISSING);
  const change = ratio === null ? null : [" ", memoryChange(1 / ratio - 1)];
  if (own === null) return change;
  return [eager === null ? "" : `${figure("own_memory_mib", eager)} → `, withUnit("own_memory_mib", own), change];
}

function modelError(row) {
  const share = errorShare(row);
  return share === null ? h("span", { class: "faint" }, MISSING) : h("span", { title: `${rows.get(row, "worst_tensor")}, rule ${rows.get(row, "rule")}` }, significant(share, 2));
}

function statusMark(row, measure) {
  const status = rows.get(row, measure), job = measure === "accuracy" ? jobOfRow(row, "accuracy") : undefined;
  const mark = [badge(status), measure === "accuracy" && rows.get(row, "weaker") !== null ? h("span", { class: "warn", title: rows.get(row, "weaker") }, " ~") : null];
  return status === null || job === undefined ? mark : jobLink(job, { class: "plain", title: rows.get(row, `${measure}_reason`) }, mark);
}
