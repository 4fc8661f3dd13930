"use strict";
// Puts rows into the charts' specifications (orchestrator/page/charts) and draws those that are in sight.

const SVG_LIMIT = 3000;
const NARROW = 560;
const LEGEND_WIDTH = 190;
const LINES = 80;
const drawn = new Set();

/** Return Vega's configuration in the page's own colours. */
function chartTheme(width) {
  const style = getComputedStyle(document.documentElement);
  const of = (name) => style.getPropertyValue(name).trim();
  const [ink, faint, line] = [of("--ink"), of("--faint"), of("--line")];
  const font = getComputedStyle(document.body).fontFamily;
  const labels = { labelColor: ink, titleColor: faint, labelFont: font, titleFont: font, titleFontWeight: "normal", labelFontSize: 12, titleFontSize: 12 };
  return {
    background: of("--card"),
    font,
    padding: 4,
    view: { stroke: null },
    axis: { ...labels, gridColor: line, domainColor: line, tickColor: line, labelLimit: width < NARROW ? 160 : 300, labelOverlap: true, labelSeparation: 6 },
    axisX: { labelLimit: 140 },
    legend: { ...labels, symbolBaseFillColor: faint, symbolBaseStrokeColor: faint, labelLimit: 240, rowPadding: 4, columnPadding: 16 },
    text: { color: ink, font },
    rule: { color: faint },
    tick: { color: ink },
    line: { color: faint },
  };
}

/** Return whether a row has all the columns; "a|b": one of them. */
function hasAll(row, needs) {
  return needs.every((names) => names.split("|").some((name) => rows.get(row, name) !== null));
}

/** One chart with its title, its controls and its views. */
class ChartCard {
  constructor(chart) {
    this.chart = chart;
    this.most = chart.lines ? Math.max(6, Math.min(chart.limit, Math.floor(LINES / COMPARED_SERIES))) : chart.limit;
    this.limit = this.most;
    this.choice = Object.keys(chart.choices)[0];
    this.views = [];
    this.dirty = true;
    this.place = h("div", { class: chart.panels ? "panels" : "plot" });
    this.count = h("p", { class: "note count", "aria-live": "polite" });
    this.element = h("figure", { class: `chart${chart.panels || COMPARED_SERIES > chart.wide ? " wide" : ""}`, id: `chart-${chart.id}`, "aria-label": chart.title },
      h("figcaption", {}, h("h3", {}, chart.title), h("p", { class: "note" }, chart.note), this.controls()), this.place, this.count);
    drawn.add(this);
    sight.observe(this.element);
  }

  controls() {
    const { choices } = this.chart;
    const select = (title, options, change) => {
      const element = h("select", {}, options.map(([value, text]) => h("option", { value }, text)));
      element.addEventListener("change", () => {
        change(element.value);
        this.draw();
      });
      return h("label", { class: "field inline" }, h("span", {}, title), element);
    };
    const items = [];
    if (Object.keys(choices).length) items.push(select("Figure", Object.entries(choices), (value) => (this.choice = value)));
    const sizes = [this.most, 2 * this.most, 4 * this.most].map((size) => [size, String(size)]);
    this.size = select("At most", sizes, (value) => (this.limit = Number(value)));
    items.push(this.size);
    if (["samples", "phases"].includes(this.chart.data)) items.push((this.legend = legend()));
    return h("div", { class: "controls" }, items);
  }

  refresh() {
    this.dirty = true;
    if (this.visible) this.draw();
  }

  draw() {
    this.dirty = false;
    if (this.legend) this.legend.replaceWith((this.legend = legend()));
    for (const view of this.views) view.finalize();
    this.views = [];
    const groups = this.groups();
    const shown = groups.slice(0, this.limit);
    this.size.hidden = groups.length <= this.most;
    this.element.classList.toggle("empty", shown.length === 0);
    this.count.textContent = this.said(groups.length, shown);
    this.place.style.minHeight = `${this.place.offsetHeight}px`;
    const panels = this.chart.panels ? shown.map((group) => [group.name, this.datasets([group])]) : shown.length ? [[null, this.datasets(shown)]] : [];
    // all places first: they share the width
    const places = panels.map(([title]) => h("div", { class: title ? "panel" : "view" }, title ? [h("h4", { title }, title), h("div", { class: "view" })] : null));
    this.place.replaceChildren(...places);
    const drawing = panels.map(([title, data], i) => this.panel(title, title ? places[i].lastChild : places[i], data));
    return Promise.all(drawing).then(() => (this.place.style.minHeight = ""));
  }

  /** Return what the chart has a panel or a band for: workloads with their rows, in the order of all charts, or others. */
  groups() {
    const { data, needs, compiled } = this.chart;
    if (data in OWN_GROUPS) return OWN_GROUPS[data](visibleEntries(DATA[data]), this.choice);
    const has = (row) => !(compiled && isEager(row)) && hasAll(row, needs);
    const groups = workloads().map(({ name, rows: own }) => ({ name, rows: own.filter(has) })).filter(({ rows: own }) => own.length);
    return data === "means" ? meansGroups(groups.flatMap(({ rows: own }) => own)) : groups;
  }

  said(count, shown) {
    if (count === 0) return "Nothing of what is filtered has these figures.";
    const thinned = this.chart.data === "samples" && shown.some((group) => group.rows.some(isThinned));
    const order = this.chart.data === "means" || this.chart.data in OWN_GROUPS ? "" : `, ${orderWords()}`;
    const first = shown.length < count ? `${shown.length} of ${plural(count, this.chart.each)}${order}. ` : "";
    const many = this.chart.data === "samples" && shown.some((group) => sampleCount(group.rows) > PANEL_SAMPLES);
    const dots = many ? `Of more than ${PANEL_SAMPLES.toLocaleString("en")} samples an even choice is drawn. ` : "";
    return first + dots + (thinned ? "Processes without dots show only quantiles: this page has no room for all samples; they are in jobs/*/result.json." : "");
  }

  datasets(groups) {
    const kind = this.chart.data;
    if (kind in OWN_GROUPS) return { rows: groups[0].records };
    if (kind === "means") return { means: groups[0].means, rows: groups[0].drawn.map((row) => ({ ...this.record(row, workloadOf(row)), time: 1 / rows.get(row, "speedup"), memory: 1 / rows.get(row, "compression_ratio") })) };
    if (kind === "samples") return sampleSets(groups[0].rows);
    if (kind === "phases") return { rows: groups[0].rows.flatMap(phaseRecords) };
    return { rows: groups.flatMap((group) => group.rows.map((row) => this.record(row, group.name))) };
  }

  record(row, workload) {
    const series = seriesOf(row);
    const job = jobOfRow(row);
    const record = { workload, series, key: `${workload}\n${series}`, series_number: DATA.series.indexOf(series), job: job === undefined ? null : jobName(job) };
    record.status = rows.get(row, "performance") ?? rows.get(row, "accuracy");
    for (const name of this.chart.fields) record[name] = rows.get(row, name);
    return record;
  }

  async panel(title, element, datasets) {
    const many = Object.values(datasets).reduce((sum, records) => sum + records.length, 0);
    const label = `${this.chart.title}${title === null ? "" : `, ${title}`}. ${this.chart.note} ${this.count.textContent}`;
    const view = await drawChart(element, this.chart, datasets, many, label);
    if (view) this.views.push(view);
  }
}

/** Draw a specification with its data. Clicking a mark that belongs to a job opens it. */
async function drawChart(element, chart, datasets, many, label = `${chart.title}. ${chart.note}`) {
  const spec = { ...coloured(chart.spec), datasets };
  const width = element.clientWidth;
  const params = { narrow: width < NARROW, lines: TELLING.length ? 2 : 1, columns: Math.max(Math.floor(width / LEGEND_WIDTH), 1) };
  spec.params = Object.entries(params).map(([name, value]) => ({ name, value }));
  const result = await vegaEmbed(element, spec, {
    mode: "vega-lite",
    ast: true, // expressions are interpreted: the page forbids scripts made of text
    renderer: many > SVG_LIMIT ? "canvas" : "svg",
    config: chartTheme(element.clientWidth),
    actions: { export: true, source: false, compiled: false, editor: false },
    defaultStyle: false, // its style sheet is no part of the page's policy; report.css has what is used of it
    forceActionsMenu: true,
    logLevel: vega.Error, // it warns of every chart whose width is the container's and whose height is its rows'
    tooltip: { disableDefaultStyle: true, theme: "page" },
    downloadFileName: `${chart.id}`,
  });
  const picture = element.querySelector("svg.marks, canvas");
  picture?.setAttribute("role", "img");
  picture?.setAttribute("aria-label", label);
  result.view.addEventListener("click", (event, item) => {
    const job = item?.datum?.job ? jobOfName(item.datum.job) : undefined;
    if (job !== undefined) openJob(job);
  });
  return result;
}

/** Return a specification in colours that can be seen on the page's background. */
function coloured(spec) {
  const dark = getComputedStyle(document.documentElement).colorScheme === "dark";
  if (!dark) return spec;
  // none of the colours that replace is replaced by another
  const replace = (text, [from, to]) => text.replaceAll(from, to);
  return JSON.parse(Object.entries(CHARTS.on_dark).reduce(replace, JSON.stringify(spec)));
}

/** Return the legend of the series for cards of panels, which have no room for one each. */
function legend() {
  const scale = coloured(CHARTS.series);
  const items = scale.names.map((name, i) => {
    const sign = h("i", { class: `sign ${scale.shapes[i]}`, "aria-hidden": "true" });
    sign.style.background = scale.colours[i];
    return h("li", {}, sign, name);
  });
  return h("ul", { class: "legend", "aria-label": "Legend" }, items);
}

// -- when to draw

const sight = new IntersectionObserver(
  (entries) => {
    for (const entry of entries) {
      const card = [...drawn].find((one) => one.element === entry.target);
      if (!card) continue;
      card.visible = entry.isIntersecting;
      if (card.visible && card.dirty) card.draw();
    }
  },
  { rootMargin: "300px" },
);

/** Draw anew what is in sight, and the rest when there is time. */
function refreshCharts() {
  for (const card of drawn) card.refresh();
  drawWhenIdle();
}

/** Draw what is out of sight too, one card at a time, when nothing else is to be done: printing needs them. */
function drawWhenIdle() {
  const card = [...drawn].find((one) => one.dirty && one.element.isConnected && !one.element.closest("[hidden], details:not([open])"));
  if (!card) return;
  const later = window.requestIdleCallback ?? ((callback) => setTimeout(callback, 200));
  later(() => {
    if (card.dirty) card.draw();
    drawWhenIdle();
  });
}

/** Draw anew, soon, when another choice or order of rows is asked for. */
function followState() {
  let waiting = null;
  onChange(["order"], () => {
    for (const card of drawn) card.dirty = true;
    clearTimeout(waiting);
    waiting = setTimeout(refreshCharts, 150);
  });
}

followState();

function chartSection() {
  checkKinds();
  const drawable = ({ needs, compiled, least, data }) => COMPARED_SERIES >= least && (data in OWN_GROUPS ? DATA[data].length : ALL.some((row) => !(compiled && isEager(row)) && hasAll(row, needs)));
  const cards = CHARTS.sweep.filter(drawable).map((chart) => new ChartCard(chart));
  if (!cards.length) return null;
  const folded = rows.length ? fold : (id, title, _, ...charts) => section(id, title, charts);
  return folded("charts", "Charts", cards.map(({ chart }) => chart.title.toLowerCase()).join(", "), h("div", { class: "charts" }, cards.map((card) => card.element)));
}
