"use strict";
// Elements from data. Text always becomes a text node: nothing that was measured or named is ever read as markup.

/** Return a new element. Attributes that are functions are listeners; false, null and undefined are left out. */
function h(tag, attributes = {}, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

function filled(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes)) {
    if (typeof value === "function") element.addEventListener(name, value);
    else if (value === true) element.setAttribute(name, "");
    else if (value !== false && value !== null && value !== undefined) element.setAttribute(name, value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== false));
  return element;
}

/** Return a name that may be broken behind its underscores. */
function breakable(text) {
  return text.split(/(?<=_)/).flatMap((part, i) => (i ? [h("wbr"), part] : [part]));
}

function section(id, title, ...children) {
  return h("section", { id, "aria-labelledby": `${id}-title` }, h("h2", { id: `${id}-title` }, title), ...children);
}

/** Return a section that is folded; its line says what is in it. */
function fold(id, title, hint, ...children) {
  return h("details", { id, class: "fold" }, h("summary", {}, h("h2", {}, title), h("span", { class: "faint" }, " ", hint)), h("div", { class: "folded" }, children));
}

/** Return a button with a question mark that explains a figure, by mouse, touch and keyboard. */
function tip(text, name) {
  return h("button", { class: "tip", type: "button", "data-tip": text, "aria-label": `About ${name}: ${text}` }, "?");
}

const SIGNS = { good: "✓", bad: "✕", idle: "○" };

/** Return a status as a sign, a word and a colour: any two of them suffice. */
function badge(status) {
  if (status === null || status === undefined) return h("span", { class: "faint" }, MISSING);
  const kind = DATA.statuses[status] ?? "bad";
  return h("span", { class: `badge ${kind}` }, h("span", { "aria-hidden": "true" }, SIGNS[kind]), "\u00a0", status.replaceAll("_", " "));
}

function copyButton(text, label) {
  const button = h("button", { class: "small", type: "button", title: text, "aria-label": label }, "Copy");
  button.addEventListener("click", async (event) => {
    event.stopPropagation();
    const copied = await copy(text);
    button.textContent = copied ? "Copied" : "Not allowed";
    setTimeout(() => (button.textContent = "Copy"), 1500);
  });
  return button;
}

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    // No permission, or an old browser: select and copy as a person would.
    const area = h("textarea", { class: "offscreen", "aria-hidden": "true" });
    area.value = text;
    document.body.append(area);
    area.select();
    const copied = document.execCommand("copy");
    area.remove();
    return copied;
  }
}

/** Return a command with its button. */
function commandLine(text, label = "Copy the command") {
  return h("div", { class: "command" }, h("code", {}, text), copyButton(text, label));
}

/** Return a two-column table of names and values. Nested values are indented tables of their own. */
function facts(value) {
  if (value === null || typeof value !== "object") return document.createTextNode(value === null ? MISSING : String(value));
  if (Array.isArray(value) && value.every((item) => item === null || typeof item !== "object")) {
    return document.createTextNode(value.length ? value.join(", ") : "none");
  }
  const rows = Object.entries(value).map(([name, item]) => h("tr", {}, h("th", { scope: "row" }, name), h("td", {}, facts(item))));
  return rows.length ? h("table", { class: "facts" }, h("tbody", {}, rows)) : document.createTextNode("none");
}

function plainTable(heads, lines) {
  return h("div", { class: "scroll framed" }, h("table", { class: "plain" }, h("thead", {}, h("tr", {}, heads)), h("tbody", {}, lines)));
}

function columnHeads(names) {
  return names.map((name) => h("th", { scope: "col" }, name));
}

/** Show the explanation of whatever has one, while it has focus or the pointer. One box for all: it is never clipped. */
function installTips() {
  const box = h("div", { id: "tip", role: "tooltip", hidden: true });
  document.body.append(box);
  let owner = null;
  const hide = () => {
    owner?.removeAttribute("aria-describedby");
    owner = null;
    box.hidden = true;
  };
  const show = (event) => {
    const target = event.target.closest?.("[data-tip]");
    if (target === owner) return;
    hide();
    if (!target) return;
    owner = target;
    box.textContent = target.dataset.tip;
    box.hidden = false;
    target.setAttribute("aria-describedby", "tip");
    place(target);
  };
  const place = (target) => {
    const at = target.getBoundingClientRect();
    const left = Math.min(Math.max(8, at.left + at.width / 2 - box.offsetWidth / 2), innerWidth - box.offsetWidth - 8);
    const above = at.top - box.offsetHeight - 8;
    box.style.left = `${left}px`;
    box.style.top = `${above > 4 ? above : at.bottom + 8}px`;
  };
  document.addEventListener("mouseover", show);
  document.addEventListener("focusin", show);
  document.addEventListener("click", show);
  // what has the focus is scrolled into sight with its explanation
  document.addEventListener("scroll", () => (owner !== null && owner === document.activeElement ? place(owner) : hide()), true);
  document.addEventListener("keydown", (event) => event.key === "Escape" && hide());
}
