"use strict";
// What the page knows, unpacked (orchestrator/page/columnar.py packs it), and how figures are written.

addEventListener("error", (event) => {
  const place = document.getElementById("page");
  if (place) place.textContent = `This page could not be made: ${event.message}. The figures are in tables/, as CSV, Markdown and JSON.`;
}, { once: true }); // what fails after it, fails because of it

const DATA = JSON.parse(document.getElementById("data").textContent);
const CHARTS = JSON.parse(document.getElementById("charts").textContent);
const MISSING = "—";
const SEVERAL = DATA.sweeps.length > 1;
const WORKLOAD = ["suite", "mode", "dtype", "device", "batch_size", "sequence_length", "seed", "threads", "build", "measure", "launcher", "variant"];
const SECTION = ["suite", "mode", "dtype", "device", "seed", "threads", "build"];

/** A table of columns; each is unpacked when it is first asked for. */
class Columns {
  constructor(packed) {
    this.length = packed.length;
    this.packed = packed.columns;
    this.unpacked = {};
  }

  column(name) {
    if (!(name in this.packed)) throw new Error(`there is no column ${name}`);
    return (this.unpacked[name] ??= unpack(this.packed[name], this.length));
  }

  get(row, name) {
    return this.column(name)[row];
  }
}

function unpack(packed, length) {
  if ("same" in packed) return new Array(length).fill(packed.same);
  if ("values" in packed) return packed.values;
  if ("words" in packed) return packed.index.map((word) => (word < 0 ? null : packed.words[word]));
  return packed.lists.map((parts) => (parts === null ? null : parts.map((part) => packed.parts[part]).join(" ")));
}

const rows = new Columns(DATA.summary);
const jobs = new Columns(DATA.jobs);
const ALL = Array.from({ length: rows.length }, (_, row) => row);

const jobNumbers = new Map(jobs.column("job").map((id, job) => [`${jobs.get(job, "sweep")}:${id}`, job]));

/** Return the name of a job in a link: its id, with the number of its sweep where there are several. */
function jobName(job) {
  const id = jobs.get(job, "job");
  return SEVERAL ? `${jobs.get(job, "sweep")}:${id}` : id;
}

/** Return the number of the job of that name, undefined if there is none. */
function jobOfName(name) {
  return jobNumbers.get(name.includes(":") ? name : `0:${name}`);
}

/** Return the job that stands for a row: the worst round of its performance, else its accuracy. */
function jobOfRow(row, measure = "performance") {
  const own = rows.get(row, "job"), judged = rows.get(row, "accuracy_job");
  const id = measure === "accuracy" ? judged ?? own : own ?? judged;
  return jobNumbers.get(`${rows.get(row, "sweep")}:${id}`);
}

/** Return key -> the items that have it, in their order. */
function groupBy(items, keyOf) {
  const groups = new Map();
  for (const item of items) {
    const key = keyOf(item);
    if (!groups.has(key)) groups.set(key, []);
    groups.get(key).push(item);
  }
  return groups;
}

let jobsByRow = null;

/** Return the jobs whose row it is, in plan order. */
function jobsOfRow(row) {
  if (jobsByRow === null) {
    jobsByRow = ALL.map(() => []);
    jobs.column("row").forEach((owner, job) => owner >= 0 && jobsByRow[owner].push(job));
  }
  return jobsByRow[row];
}

const parsedDetails = new Map();

/** Return samples, facts, log and environment of a job; null where the page does not hold them. */
function details(job) {
  if (!parsedDetails.has(job)) parsedDetails.set(job, DATA.details[job] === null ? null : JSON.parse(DATA.details[job]));
  return parsedDetails.get(job);
}

// -- names

/** Which columns tell workloads of the same model apart: those without which two rows of a series would look alike. */
const TELLING = (() => {
  const telling = [];
  const groups = new Map(ALL.map((row) => [row, `${rows.get(row, "model")}\n${seriesOf(row)}`]));
  for (const name of WORKLOAD) {
    const seen = new Map();
    const differs = ALL.some((row) => {
      const group = groups.get(row), value = rows.get(row, name);
      if (!seen.has(group)) seen.set(group, value);
      return seen.get(group) !== value;
    });
    if (!differs) continue;
    telling.push(name);
    for (const row of ALL) groups.set(row, `${groups.get(row)}\n${rows.get(row, name)}`);
  }
  return telling;
})();

/** Return a name, with that of its sweep where there are several. */
function inSweep(name, sweep) {
  return SEVERAL ? `${name} · ${DATA.sweeps[sweep].short}` : name;
}

function seriesOf(row) {
  return inSweep(rows.get(row, "compiler"), rows.get(row, "sweep"));
}

function isEager(row) {
  return rows.get(row, "compiler").split("(")[0] === "eager";
}

/** How many series there are besides eager. */
const COMPARED_SERIES = Math.max(new Set(ALL.filter((row) => !isEager(row)).map(seriesOf)).size, 1);

/** Return a value of a workload as it stands in a list: "batch 4", "float16". */
function words(name, value) {
  const prefix = { batch_size: "batch ", sequence_length: "length ", seed: "seed ", threads: "threads ", build: "build " }[name] ?? "";
  return value === null ? null : `${prefix}${value}`;
}

function workloadOf(row) {
  const parts = TELLING.map((name) => words(name, rows.get(row, name))).filter((part) => part !== null);
  return [rows.get(row, "model"), ...parts].join(" · ");
}

/** Return all that says what a row ran, for a person. */
function titleOf(row) {
  const names = ["model", "mode", "dtype", "device"].map((name) => rows.get(row, name));
  return [...names, words("batch_size", rows.get(row, "batch_size")), seriesOf(row)].filter((part) => part !== null).join(" · ");
}

// -- figures

/** Return `digits` significant digits; no exponent between 0.001 and a million; digits before the point all stay. */
function significant(value, digits) {
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-3 || size >= 1e6)) {
    return value.toExponential(digits - 1).replace(/e([+-])(\d)$/, "e$10$2");
  }
  let places = digits - 1 - (size ? Math.floor(Math.log10(size)) : 0);
  places -= Number(size.toFixed(Math.max(places, 0))) >= 10 ** (digits - places); // 0.9999 is 1.00, not 1.000
  return value.toFixed(Math.max(places, 0));
}

const FORMS = {
  text: String,
  count: (value) => value.toFixed(0),
  two: (value) => value.toFixed(2),
  one: (value) => value.toFixed(1),
  whole: (value) => value.toFixed(0),
  three: (value) => significant(value, 3),
  six: (value) => significant(value, 6),
};

/** Return the value of a column for people, without its unit. */
function figure(name, value) {
  if (value === null || value === undefined || value === "") return MISSING;
  if (typeof value !== "number") return String(value);
  return FORMS[DATA.columns[name].form](value);
}

/** Return a column's value in a row with its unit. */
function withUnit(name, value) {
  const unit = DATA.columns[name].unit;
  const text = figure(name, value);
  if (text === MISSING || !unit) return text;
  return unit === "x" ? `${text}x` : `${text} ${unit}`;
}

/** Return an interval behind a figure, "" where there is none. */
function endsOf(name, low, high) {
  return low === null ? "" : ` [${figure(name, low)}, ${figure(name, high)}]`;
}

function plural(count, noun) {
  return `${count.toLocaleString("en")} ${noun}${count === 1 ? "" : "s"}`;
}

function dateTime(seconds) {
  const date = new Date(seconds * 1000);
  return Number.isNaN(date.getTime()) ? MISSING : date.toISOString().slice(0, 19).replace("T", " ") + " UTC";
}
