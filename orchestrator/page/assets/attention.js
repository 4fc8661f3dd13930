"use strict";
// What deserves a look: counts of what is not as it should be, flags, failures, disturbed measurements.

const LISTED = 12;

function attentionSection() {
  const lists = [flagList(), failureList(), disturbedList()].filter(Boolean);
  const said = COUNTED.filter(([mark]) => ["failed", "flagged", "disturbed"].includes(mark)).map(([mark, sign]) => [mark, sign, countOf(mark)]).filter(([, , count]) => count);
  return fold("attention", "What deserves a look", said.map(([mark, sign, count]) => `${sign} ${count.toLocaleString("en")} ${mark}`).join(", ") || "nothing",
    countButtons(), ...(lists.length ? lists : [h("p", {}, "Nothing: no flags, no failures, no disturbed measurements.")]));
}

/** Marks of rows with their sign, tone and meaning, the good first. */
const COUNTED = [
  ["faster", "▲", "good", "faster than eager, beyond noise"], ["noise", "≈", "", "within noise: no difference shown"], ["slower", "▼", "bad", "slower than eager, beyond noise"],
  ["failed", "✕", "bad", "rows with a failure"], ["flagged", "!", "warn", "flagged by the dashboard's rules, or by what was timed"], ["disturbed", "*", "warn", "disturbed: something else was running"],
];

function countOf(mark) {
  return ALL.filter(MARKS[mark].holds).length;
}

/** Return buttons that filter the rows, one for each mark that some row has. */
function countButtons() {
  const found = COUNTED.map(([mark, sign, tone, words]) => [mark, sign, tone, words, countOf(mark)]).filter(([, , , , count]) => count);
  return found.length ? h("ul", { class: "counts" }, found.map(([mark, sign, tone, words, count]) =>
    h("li", {}, h("button", { type: "button", class: "small", click: () => filterRows({ mark }) }, h("strong", { class: tone }, `${sign} ${count.toLocaleString("en")}`), ` ${words}`)))) : null;
}

/** Put the first items into a list; return the button that puts `step` more of them there. words: what it says of those that are left. */
function moreButton(list, items, line, first, step, words) {
  const more = h("button", { type: "button", class: "small" });
  const show = (count) => {
    list.append(...items.slice(list.children.length, count).map(line));
    const left = items.length - list.children.length;
    more.hidden = left === 0;
    more.textContent = words(left);
  };
  more.addEventListener("click", () => show(list.children.length + step));
  show(first);
  return more;
}

/** Return a list that shows some of its items, and more when asked. */
function longList(id, title, note, items, line, filter = null) {
  if (!items.length) return null;
  const list = h("ol", { class: "attention" });
  const more = moreButton(list, items, line, LISTED, 5 * LISTED, (left) => `Show ${Math.min(left, 5 * LISTED)} more of ${left.toLocaleString("en")}`);
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
    const figures = mark === "compression_ratio" ? memoryChange(1 / value - 1) : withUnit(column, value);
    const said = mark === "accuracy" ? badge(value) : h("strong", {}, figures);
    const beyond = times === null ? "" : `, ${significant(times, 3)} times the limit`;
    return h("li", {}, h("span", { class: "what" }, "! ", word), " ", said, h("span", { class: "faint" }, beyond), " ", rowLink(row, mark === "accuracy" ? "accuracy" : "performance"));
  };
  return longList("flags", "Flags", note, DATA.flags, line, { mark: "flagged" });
}

function failureList() {
  const line = ({ measure, status, reason, rows: failed }) => {
    const links = h("ul", { class: "links" });
    const rest = moreButton(links, failed, (row) => h("li", {}, rowLink(row, measure)), 3, 50, (left) => `${left.toLocaleString("en")} more`);
    return h("li", {}, badge(status), " ", h("span", { class: "faint" }, `${measure}, ${plural(failed.length, "row")}: `), reason || "no reason was given", links, rest);
  };
  return longList("failures", "Failures", "Rows with the same reason together, the worst kind first.", DATA.failures, line, DATA.failures.some(({ status }) => DATA.statuses[status] === "bad") ? { mark: "failed" } : null);
}

function disturbedList() {
  const disturbed = ALL.filter((row) => rows.get(row, "disturbed") !== null);
  const line = (row) => h("li", { title: rows.get(row, "disturbed") }, h("span", { class: "what warn" }, "* "), rowLink(row), h("span", { class: "faint" }, ` ${rows.get(row, "disturbed")}`));
  return longList("disturbed", "Disturbed measurements", "Something else used the machine while these were timed. They stay in the tables, with the evidence.", disturbed, line, { mark: "disturbed" });
}
