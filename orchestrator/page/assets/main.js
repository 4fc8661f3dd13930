"use strict";
// Puts the page together.

const RELOAD_SECONDS = 5;

/** Scroll to a section. Its address is not kept: the fragment holds the filters. */
function goTo(id) {
  const target = document.getElementById(id);
  if (target.tagName === "DETAILS") target.open = true;
  const go = () => target.scrollIntoView();
  go();
  // Charts on the way are drawn when they come into sight, and move what is below them.
  const settle = new ResizeObserver(go);
  settle.observe(document.getElementById("overview"));
  const stop = () => settle.disconnect();
  setTimeout(stop, 1500);
  for (const touched of ["wheel", "touchmove", "keydown", "mousedown"]) addEventListener(touched, stop, { once: true, passive: true });
}

function contents(ids) {
  const links = [["top", "Answer"], ["compare", "Side by side"], ["time", "Over time"], ["compilers", "Compilers"], ["models", "Models"], ["attention", "Attention"], ["charts", "Charts"], ["findings", "Other measures"], ["table", "All rows"]].filter(([id]) => ids.includes(id));
  const items = links.map(([id, title]) => h("button", { type: "button", class: "link", click: () => goTo(id) }, title));
  return h("nav", { id: "contents", "aria-label": "Contents" }, items);
}

const THEMES = { "": "Theme: system", light: "Theme: light", dark: "Theme: dark" };

function setTheme(theme) {
  if (theme) document.documentElement.dataset.theme = theme;
  else delete document.documentElement.dataset.theme;
}

/** Return the button that goes through the themes. The choice is remembered where the browser lets us. */
function themeButton() {
  const root = document.documentElement;
  const remembered = () => {
    try {
      return localStorage.getItem("orchestrator-theme") ?? "";
    } catch {
      return "";
    }
  };
  const set = (theme) => {
    setTheme(theme);
    button.textContent = THEMES[theme];
  };
  const button = h("button", { type: "button", class: "small", id: "theme" });
  button.addEventListener("click", () => {
    const names = Object.keys(THEMES);
    const theme = names[(names.indexOf(root.dataset.theme ?? "") + 1) % names.length];
    try {
      localStorage.setItem("orchestrator-theme", theme);
    } catch {
      // It holds for this visit.
    }
    set(theme);
    refreshCharts();
  });
  set(remembered() in THEMES ? remembered() : "");
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", refreshCharts);
  return button;
}

/** Open what is folded; return what closes it again. */
function unfold() {
  const closed = [...document.querySelectorAll("#overview details.fold:not([open])")];
  for (const one of closed) one.open = true;
  return () => closed.forEach((one) => (one.open = false));
}

/** Charts are drawn in the theme's colours; paper is white, and nothing on it can be opened. */
function installPrinting() {
  const root = document.documentElement;
  let theme = null, foldAgain = null;
  addEventListener("beforeprint", () => {
    theme = root.dataset.theme ?? "";
    setTheme("light");
    foldAgain = unfold();
    for (const card of drawn) card.draw();
  });
  addEventListener("afterprint", () => {
    setTheme(theme);
    foldAgain?.();
    refreshCharts();
  });
}

function tableSection(table) {
  return fold("table", "All rows", `${plural(rows.length, "row")}: sort, filter, add columns, open a job`, columnChooser(), table.element);
}

function start() {
  readAddress();
  const table = new RowTable();
  const filters = filterBar();
  const filterBox = h("div", { class: "filter-bar", hidden: !rows.length }, filters);
  const answered = [header(), selfTest(), compareSection(), overTimeSection(), compilersSection(), ...(rows.length > SHORT_TABLE ? [filterBox, modelsSection()] : [modelsSection(), filterBox])];
  const ofRows = [attentionSection(), chartSection(), summarySection(), findingsSection(), tableSection(table)];
  const folded = [...(rows.length ? ofRows : [chartSection(), findingsSection()]), measuredSection()].filter(Boolean);
  const overview = h("main", { id: "overview" }, answered.flat().filter(Boolean), folded, footer());
  if (rows.length) overview.querySelector("#table").open = ["sort", "columns", ...FILTERS].some((name) => state[name] !== "");
  document.getElementById("page").replaceWith(
    h("a", { class: "skip", href: "#rows", click: (event) => { event.preventDefault(); document.getElementById("table").scrollIntoView(); table.scroller.focus(); } }, "Skip to the table"),
    h("div", { id: "bar" }, h("strong", {}, "orchestrator"), contents([...overview.children].map(({ id }) => id)), themeButton()),
    overview, jobView());
  installTips();
  installPrinting();
  addEventListener("hashchange", followAddress);
  addEventListener("popstate", followAddress);
  let width = innerWidth;
  addEventListener("resize", () => {
    if (innerWidth !== width) refreshCharts();
    width = innerWidth;
  });
  for (const listener of listeners) listener();
  if (DATA.running) setTimeout(() => location.reload(), 1000 * RELOAD_SECONDS);
  document.documentElement.dataset.ready = performance.now().toFixed(0);
  setTimeout(drawWhenIdle, 300);
  overview.addEventListener("toggle", drawWhenIdle, true);
}

function footer() {
  return h("footer", {}, h("p", { class: "note" }, "Figures are rounded; tables/*.csv and tables/*.json beside this page have them as measured. Charts by Vega-Lite."));
}

start();
