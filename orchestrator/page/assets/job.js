"use strict";
// The page of one job: what it ran, what became of it, everything that was seen, and the command that runs it again.

function openJob(job) {
  update({ job: jobName(job) }, true);
}

/** Let a click on an element open a job, unless it is on something of its own, or selects text. */
function opens(element, job) {
  element.addEventListener("click", (event) => job !== undefined && !event.target.closest("a, button") && !String(getSelection()) && openJob(job));
}

/** Return a link to a job's page. Following it keeps the filters; its address alone is enough for another person. */
function jobLink(job, attributes, ...content) {
  const follow = (event) => {
    if (event.button !== 0 || event.ctrlKey || event.metaKey || event.shiftKey) return;
    event.preventDefault();
    openJob(job);
  };
  return h("a", { href: `#${new URLSearchParams({ job: jobName(job) })}`, click: follow, ...attributes }, ...content);
}

const JOB_FIGURES = ["speedup", "latency_ms", "first_call_s", "compile_latency_s", "cache", "peak_memory_mib", "duration_s", "attempt"];

/** Return the element that shows the job of the address, or nothing. */
function jobView() {
  const place = h("article", { id: "job", tabindex: "-1", hidden: true });
  let shown = "", scrolled = 0;
  onState(() => {
    if (state.job === shown) return;
    if (shown === "") scrolled = scrollY;
    shown = state.job;
    const job = state.job === "" ? undefined : jobOfName(state.job);
    place.hidden = state.job === "";
    document.getElementById("overview").hidden = state.job !== "";
    document.getElementById("contents").hidden = state.job !== "";
    place.replaceChildren(...(state.job === "" ? [] : job === undefined ? noSuchJob() : jobContents(job)));
    if (state.job !== "") {
      scrollTo(0, 0);
      place.focus({ preventScroll: true });
    } else {
      scrollTo(0, scrolled);
      refreshCharts();
    }
  });
  return place;
}

function back() {
  return h("p", {}, h("button", { type: "button", class: "link back", click: () => update({ job: "" }, true) }, "← All rows"));
}

function noSuchJob() {
  return [back(), h("h2", {}, "No such job"), h("p", {}, `This page has no job ${state.job}.`)];
}

function jobContents(job) {
  const row = jobs.get(job, "row");
  const status = jobs.get(job, "status"), reason = jobs.get(job, "reason");
  const names = ["model", "mode", "dtype", "device", "compiler", "measure"].map((name) => jobs.get(job, name));
  const more = ["batch_size", "sequence_length", "seed", "threads", "build"].map((name) => words(name, jobs.get(job, name))).filter((part) => part !== null);
  const known = details(job);
  return [
    back(),
    h("header", { class: "job-head" },
      h("h2", {}, names[0], h("span", { class: "faint" }, ` ${names.slice(1).join(" · ")} · round ${jobs.get(job, "round")}`)),
      h("p", { class: "note" }, [jobs.get(job, "suite"), ...more, `launcher ${jobs.get(job, "launcher")}`, jobs.get(job, "variant")].filter(Boolean).join(" · ")),
      h("p", {}, badge(status), reason ? ` ${reason}` : "", jobs.get(job, "phase") ? h("span", { class: "faint" }, ` (in phase ${jobs.get(job, "phase")})`) : null),
      disturbance(job)),
    row < 0 || rows.get(row, "command") === null ? null : commandLine(rows.get(row, "command"), "Copy the command that runs this again"),
    errors(known),
    jobFigures(job),
    relatives(job, row),
    jobSamples(job),
    ...(known === null ? [notInPage(job)] : jobDetails(job, known)),
    disclosure("Configuration", facts(configuration(job)), false),
    files(job),
  ].filter(Boolean);
}

function disturbance(job) {
  const reasons = jobs.get(job, "disturbed");
  const measured = jobs.get(job, "measured");
  return [
    measured === null ? null : h("p", { class: "warn" }, "Measured: ", measured),
    reasons === null ? null : h("p", { class: "warn" }, "* Measured under disturbance: ", reasons),
  ];
}

function jobFigures(job) {
  const items = JOB_FIGURES.filter((name) => jobs.get(job, name) !== null).map((name) =>
    h("div", { class: "tile" }, h("dt", {}, DATA.columns[name].title, " ", tip(DATA.columns[name].doc, DATA.columns[name].title)), h("dd", {}, withUnit(name, jobs.get(job, name)))));
  return items.length ? h("dl", { class: "tiles" }, items) : null;
}

/** Return what an accuracy job is about: each tensor's error against what is allowed, the worst first. */
function errors(known) {
  const tensors = known?.facts?.accuracy?.tensors;
  if (!Array.isArray(tensors) || !tensors.length || !tensors.every((tensor) => tensor && typeof tensor === "object")) return null;
  const share = ({ rmse, limit, rule }) => shareOfLimit(rmse, limit, rule);
  const failed = ({ passed }) => passed === false;
  const worst = [...tensors].sort((a, b) => failed(b) - failed(a) || (share(b) ?? 0) - (share(a) ?? 0));
  const scale = new LogScale(tensors.map(share).filter(Boolean).map((value) => Math.max(value, 1e-9)), [], POWERS, "");
  const number = (value) => (typeof value === "number" ? significant(value, 3) : value ?? MISSING);
  const line = (tensor) => {
    const of = share(tensor), name = String(tensor.name);
    const said = of === null ? MISSING : `${significant(of, 2)} of what is allowed`;
    const plot = scale.plot(`${name}: error ${said}`, 24, of === null ? null : scale.dot(Math.max(of, 1e-9), 12, { tone: failed(tensor) ? "bad" : "good" }));
    return h("tr", {}, h("th", { scope: "row" }, breakable(name), h("div", { class: "second" }, tensor.why ?? (Array.isArray(tensor.shape) ? tensor.shape.join(" × ") : ""))),
      h("td", { class: "plot" }, plot),
      [["RMSE", tensor.rmse], ["allowed", tensor.limit], ["largest error", tensor.max_abs_error]].map(([title, value]) => h("td", { class: "number", "data-label": title }, number(value))),
      h("td", { class: "number", "data-label": "rule" }, String(tensor.rule ?? MISSING)), h("td", { class: "number" }, badge(failed(tensor) ? "fail_accuracy" : tensor.passed === true ? "pass" : null)));
  };
  const heads = ["RMSE", "allowed", "largest error", "rule", ""].map((title) => h("th", { scope: "col", class: "number" }, title));
  return h("div", { id: "errors" }, h("h3", {}, "Error against what is allowed"), h("p", { class: "note" }, `RMSE to the reference over its limit: right of 1 is wrong. Where another rule fails a tensor it says why. Tolerance ${number(known.facts.accuracy.tolerance)}${known.facts.accuracy.rules === "scaled" ? ", of a tensor's scale" : ""}.`),
    h("div", { class: "scroll" }, h("table", { class: "forest compilers" }, h("thead", {}, h("tr", {}, h("th", { scope: "col" }, "tensor"), h("th", { scope: "col", class: "plot" }, scale.axis()), heads)), h("tbody", {}, worst.map(line)))));
}

function relatives(job, row) {
  const link = (other, words) => h("li", {}, jobLink(other, { "aria-current": other === job ? "page" : null }, words), " ", badge(jobs.get(other, "status")));
  const rounds = row < 0 ? [] : jobsOfRow(row).map((other) => {
    const speedup = jobs.get(other, "speedup");
    return link(other, `${jobs.get(other, "measure")} round ${jobs.get(other, "round")}${speedup === null ? "" : `, ${figure("speedup", speedup)}x`}`);
  });
  const needs = DATA.needs[job], needed = [];
  for (let i = 0; i < needs.length; i += 2) needed.push(link(needs[i], `${needs[i + 1]}: ${jobs.get(needs[i], "compiler")} ${jobs.get(needs[i], "measure")} round ${jobs.get(needs[i], "round")}`));
  const block = (title, items) => (items.length ? h("div", {}, h("h3", {}, title), h("ul", { class: "links" }, items)) : null);
  return h("div", { class: "relatives" }, block("Jobs of this row", rounds), block("Needs", needed));
}

function jobSamples(job) {
  const known = details(job);
  const taken = (known?.samples ?? []).filter(([, unit]) => unit === "ms");
  const several = taken.some(([, , values]) => values.length > 1);
  const shown = several ? taken.filter(([metric]) => metric !== "first_call") : taken;
  const records = inTime(shown);
  if (!records.length) return null;
  const chart = CHARTS.job[0];
  const place = h("div", { class: "view" });
  requestAnimationFrame(() => place.isConnected && drawChart(place, chart, { rows: records }, records.length));
  return h("figure", { class: "chart", id: `chart-${chart.id}` }, h("figcaption", {}, h("h3", {}, chart.title), h("p", { class: "note" }, chart.note)), place);
}

/** Return one record a sample, numbered in time: the two sides of a pair stand next to each other. */
function inTime(taken) {
  const records = [];
  let order = 0;
  for (const [metric, , values] of taken.filter(([name]) => !name.startsWith("pair_"))) {
    for (const value of values) if (typeof value === "number") records.push({ metric, value, order: order++ });
  }
  const pairs = taken.filter(([name]) => name.startsWith("pair_"));
  const longest = Math.max(0, ...pairs.map(([, , values]) => values.length));
  for (let i = 0; i < longest; i++, order++) {
    for (const [metric, , values] of pairs) if (typeof values[i] === "number") records.push({ metric, value: values[i], order });
  }
  return records;
}

function jobDetails(job, known) {
  const [kind, phase, detail] = known.failure ?? [];
  return [
    known.failure && detail ? disclosure(`Failure: ${kind}${phase ? ` in ${phase}` : ""}`, h("pre", { tabindex: "0" }, detail), true) : null,
    known.log?.length ? disclosure(`End of the log (${plural(known.log.length, "line")})`, h("pre", { tabindex: "0" }, known.log.join("\n")), DATA.statuses[jobs.get(job, "status")] === "bad") : null,
    disclosure("Facts", facts(known.facts), false),
    disclosure("Environment", facts(DATA.records[known.environment]), false),
  ];
}

function notInPage(job) {
  const place = folderOf(job);
  return h("p", { class: "note" }, jobs.get(job, "started_s") === null
    ? "This job has left no result, so there are no samples and facts."
    : `The samples and facts of this job are not in this page, which has room for those of some jobs only. They are in ${place}/result.json.`);
}

function configuration(job) {
  const parts = ["workload", "compiler_config", "measure_config"].map((name) => DATA.records[jobs.get(job, name)]);
  return Object.assign({}, ...parts, { "execution.launcher": jobs.get(job, "launcher") });
}

function folderOf(job) {
  const { folder } = DATA.sweeps[jobs.get(job, "sweep")];
  return `${folder === "." ? "" : `${folder}/`}jobs/${jobs.get(job, "job")}`;
}

function files(job) {
  const place = folderOf(job);
  const link = (name) => h("a", { href: encodeURI(`${place}/${name}`).replaceAll("#", "%23").replaceAll("?", "%3F") }, name);
  return h("p", { class: "note" }, `Files in ${place}: `, link("log.txt"), ", ", link("result.json"), ", ", link("job.json"));
}

function disclosure(title, content, open) {
  return h("details", { class: "disclosure", open }, h("summary", {}, title), h("div", { class: "scroll" }, content));
}
