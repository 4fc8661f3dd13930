"use strict";
// The records that charts show: samples with their boxes, memory by phase, phases of compiling, the overview of several sweeps.

const PANEL_SAMPLES = 20000;
/** Kinds of data that are not of rows: a key of DATA -> what makes panels of its entries that are filtered. */
const OWN_GROUPS = { overview: overviewGroups, compile_phases: compilePhaseGroups, loss_curves: lossGroups };

/** Throw for a chart of data of which nothing here makes records: its card would be empty. */
function checkKinds() {
  const unknown = [...CHARTS.sweep, ...CHARTS.several].find(({ data }) => !CHARTS.of_rows.includes(data) && !(data in OWN_GROUPS));
  if (unknown) throw new Error(`chart ${unknown.id}: records.js makes nothing of ${unknown.data}`);
}

function isThinned(row) {
  return jobsOfRow(row).some((job) => details(job) === null && DATA.quantiles[job] !== null);
}

/** Return the samples and the boxes of the processes of one workload. */
function sampleSets(shown) {
  const samples = [], boxes = [];
  for (const row of shown) {
    for (const job of jobsOfRow(row)) {
      const round = jobs.get(job, "round");
      const base = { series: seriesOf(row), process: `${seriesOf(row)} r${round}`, job: jobName(job) };
      const values = samplesOf(job, "latency");
      const box = values ? quantiles(values) : DATA.quantiles[job];
      if (!box) continue;
      const [low, , q25, median, q75, , high] = box;
      boxes.push({ ...base, low, q25, median, q75, high, count: values ? values.length : box[7] });
      values?.forEach((ms, i) => samples.push({ ...base, ms, jitter: jitter(i) }));
    }
  }
  return { samples: thinned(samples), boxes };
}

function sampleCount(shown) {
  return shown.flatMap(jobsOfRow).reduce((sum, job) => sum + (samplesOf(job, "latency")?.length ?? 0), 0);
}

/** A page can hold more dots than a panel has pixels: of more, an even choice stays; boxes are of all. */
function thinned(samples) {
  if (samples.length <= PANEL_SAMPLES) return samples;
  const step = samples.length / PANEL_SAMPLES;
  return samples.filter((_, i) => Math.floor(i / step) !== Math.floor((i - 1) / step));
}

function samplesOf(job, metric) {
  const found = details(job)?.samples.find(([name]) => name === metric);
  const values = found?.[2].filter((value) => typeof value === "number");
  return values?.length ? values : null;
}

/** A fixed sequence that fills -1..1 evenly, so that the same page looks the same (van der Corput, base 2). */
function jitter(number) {
  let result = 0, part = 0.5;
  for (let n = number + 1; n > 0; n = Math.floor(n / 2), part /= 2) result += part * (n % 2);
  return 2 * result - 1;
}

function quantiles(values) {
  const sorted = [...values].sort((a, b) => a - b);
  return [0, 0.05, 0.25, 0.5, 0.75, 0.95, 1].map((share) => {
    const at = share * (sorted.length - 1), below = Math.floor(at);
    return sorted[below] + (at - below) * ((sorted[below + 1] ?? sorted[below]) - sorted[below]);
  });
}

function phaseRecords(row) {
  return Object.entries(DATA.memory[row] ?? {}).map(([phase, mib]) => ({ series: seriesOf(row), phase, mib }));
}

/** Return the sections of some rows, each with a mark for each of its compilers, relative to eager. */
function meansGroups(shown) {
  const found = groupBy(shown, (row) => ["sweep", ...SECTION].map((name) => rows.get(row, name)).join("\n"));
  return ANSWERS.flatMap((answer) => {
    const own = found.get([answer.sweep, ...SECTION.map((name) => answer.key[name])].join("\n"));
    if (!own) return [];
    const lines = DATA.overview.filter((row) => row.sweep === answer.sweep && SECTION.every((name) => row[name] === answer.key[name]));
    const few = own.length <= CHARTS.most_marks ? own : [];
    const means = lines.flatMap((row) => {
      const eager = row.compiler.split("(")[0] === "eager";
      const [speedup, ratio] = eager ? [1, 1] : [row.geomean_speedup, row.geomean_compression_ratio];
      if (speedup === null || ratio === null) return [];
      return [{ series: inSweep(row.compiler, row.sweep), time: 1 / speedup, memory: 1 / ratio, compile_s: row.mean_compile_latency_cold_s, count: row.geomean_count, front: eager || answer.front.includes(row.compiler) }];
    });
    const heights = [...means.map(({ memory }) => memory), ...few.map((row) => 1 / rows.get(row, "compression_ratio"))].map(Math.log);
    const span = Math.max(...heights) - Math.min(...heights);
    return [{ name: answer.title || null, rows: own, drawn: few, means: means.map((mean) => ({ ...mean, span })) }];
  });
}

/** Return what a section is called: suite, mode, dtype, device, and more words. */
function sectionTitle(row, ...more) {
  return SECTION.slice(0, 4).map((name) => row[name]).concat(...more).join(" · ");
}

/** Return, for each suite, mode, dtype and device, the figure of every sweep and compiler, the oldest sweep first. */
function overviewGroups(entries, name) {
  const counts = { geomean_compression_ratio: "geomean_compression_count", mean_compile_latency_cold_s: "mean_compile_latency_cold_count", pass_rate_percent: "planned" };
  const order = [...DATA.sweeps.keys()].sort((a, b) => DATA.sweeps[a].created - DATA.sweeps[b].created || a - b);
  const inOrder = order.flatMap((sweep) => entries.filter((one) => one.sweep === sweep && one[name] !== null));
  const record = (row) => {
    const { short: sweep, created } = DATA.sweeps[row.sweep];
    const bar = name === "geomean_speedup" ? { low: row.geomean_speedup_low, high: row.geomean_speedup_high } : {};
    return { sweep, when: dateTime(created), series: row.compiler, value: row[name], ...bar, count: row[counts[name] ?? "geomean_count"] };
  };
  return recordGroups(inOrder, (row) => sectionTitle(row, words("build", row.build) ?? []), record);
}

/** Return, for each suite, mode, dtype and device, the phases of each compiler's first calls. */
function compilePhaseGroups(entries) {
  const record = ({ compiler, cache, compile_phase: phase, compile_phase_s: seconds, share_percent: share, count }) =>
    ({ bar: `${compiler} ${cache}`, phase: phase.replaceAll("_", " "), seconds, share, count });
  return recordGroups(entries, (row) => inSweep(sectionTitle(row, words("build", row.build) ?? []), row.sweep), record);
}

function recordGroups(entries, titleOf, record) {
  return [...groupBy(entries, titleOf)].map(([name, own]) => ({ name, records: own.map(record) }));
}

/** Return the trainings, each with eager's and the compiler's loss after each step. */
function lossGroups(entries) {
  return entries.map(({ sweep, title, points }) => ({
    name: inSweep(title, sweep),
    records: ["eager", "compiled"].flatMap((side, i) => points.map(([step, ...losses]) => ({ side, step, loss: losses[i] }))),
  }));
}
