"use strict";
// The tables of other measures than performance and accuracy: as they are, each behind a line that says how long it is.

const LONG = 200; // rows: such a table is opened by who wants it

function findingsSection() {
  if (!DATA.findings.length) return null;
  const folded = rows.length ? fold : (id, title, _, ...tables) => section(id, title, tables);
  return folded("findings", "Other measures", DATA.findings.map(({ name }) => name.replaceAll("_", " ")).join(", "), DATA.findings.map(finding));
}

function finding(table) {
  const title = inSweep(table.name.replaceAll("_", " "), table.sweep);
  const head = table.columns.map((name) => {
    const column = DATA.columns[name];
    return h("th", { scope: "col", class: isText(name) ? "" : "number" }, column.title, column.unit ? h("span", { class: "faint" }, ` ${column.unit}`) : null, tip(column.doc, column.title));
  });
  const lines = table.rows.map((row) => h("tr", {}, row.map((value, i) => findingCell(table.columns[i], value))));
  const note = table.rows.length < table.total ? `The first ${table.rows.length.toLocaleString("en")} of ${plural(table.total, "row")}; tables/${table.name}.csv has all.` : null;
  return h("details", { open: table.total <= LONG && DATA.findings.length <= (rows.length ? 3 : 8) },
    h("summary", {}, title, h("span", { class: "faint" }, ` ${plural(table.total, "row")}`)),
    plainTable(head, lines),
    note ? h("p", { class: "note" }, note) : null);
}

function isText(name) {
  return DATA.columns[name].form === "text";
}

function findingCell(name, value) {
  if (name === "status") return h("td", {}, badge(value));
  if (name === "command" && value) return h("td", {}, copyButton(value, "Copy the command"));
  return h("td", { class: value === null ? "faint" : isText(name) ? "" : "number" }, figure(name, value));
}
