// Elements from values. Whatever comes from a job, a model or a log becomes text and nothing else: there is no way here
// to make markup of a string.

export function h(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "style") Object.assign(element.style, value);
    else if (name === "value") element.value = value;
    else element.setAttribute(name === "class" ? "class" : name, value === true ? "" : String(value));
  }
  append(element, children);
  return element;
}

function append(element, children) {
  for (const child of children.flat(Infinity)) {
    if (child === null || child === undefined || child === false) continue;
    element.append(child instanceof Node ? child : document.createTextNode(visible(String(child))));
  }
}

export function fill(element, ...children) {
  element.replaceChildren();
  append(element, children);
  return element;
}

// Controls, and marks that turn the direction of writing, are shown as what they are: none can disguise a name.
export function visible(text) {
  return text.replace(
    /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]/g,
    (mark) => `\\u${mark.codePointAt(0).toString(16).padStart(4, "0")}`,
  );
}

// Draws into an element only when what it shows has changed: what is in use keeps its focus and stays open.
export function refill(element, key, draw) {
  const text = JSON.stringify(key);
  if (element.shownKey === text) return;
  element.shownKey = text;
  fill(element, draw());
}

export function entitle(text) {
  document.title = `${visible(text)} · singlepoint`;
}

export function heading(text, ...beside) {
  return h("div", { class: "heading" }, h("h1", { tabindex: "-1" }, text), beside);
}

export function section(title, ...children) {
  const id = `s-${title.toLowerCase().replace(/\W+/g, "-")}`;
  return h("section", { "aria-labelledby": id }, h("h2", { id }, title), children);
}

export function facts(pairs) {
  const shown = Object.entries(pairs).filter(([, value]) => value !== null && value !== undefined && value !== "");
  return h("dl", { class: "facts" }, shown.map(([name, value]) => h("div", {}, h("dt", {}, name), h("dd", {}, value))));
}

// columns: [[title, class, row -> cell]]
export function table(caption, columns, rows, empty) {
  if (!rows.length) return h("p", { class: "quiet" }, empty);
  return h("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": caption },
    h("table", {},
      h("caption", { class: "unseen" }, caption),
      h("thead", {}, h("tr", {}, columns.map(([title, kind]) => h("th", { scope: "col", class: kind }, title)))),
      h("tbody", {}, rows.map((row) => h("tr", {}, columns.map(([, kind, cell]) => h("td", { class: kind }, cell(row))))))));
}

export function badge(word) {
  return h("span", { class: `badge ${String(word).replace(/[^a-z_]/g, "")}` }, word);
}

export function bar(share, label, kind = "") {
  const percent = Math.max(0, Math.min(100, 100 * share));
  return h("span", { class: `bar ${kind}`, role: "img", "aria-label": label },
    h("span", { style: { width: `${percent}%` } }));
}

// ---- figures as people read them ----

export function bytes(amount) {
  if (amount === null || amount === undefined) return "";
  let size = amount;
  for (const unit of ["B", "KiB", "MiB", "GiB"]) {
    if (Math.abs(size) < 1024) return `${trimmed(size, 1)} ${unit}`;
    size /= 1024;
  }
  return `${trimmed(size, 1)} TiB`;
}

// What a job asks for, a word for each resource.
export const request = (job) => [`${job.cpu} cpu`, bytes(job.memory_bytes), ...Object.entries(job.counted || {}).map(([name, count]) => `${count} ${name}`)];

export function duration(seconds) {
  if (seconds === null || seconds === undefined || !Number.isFinite(seconds)) return "";
  if (seconds > 0 && seconds < 0.1) return `${trimmed(1000 * seconds, 1)} ms`;
  if (seconds < 60) return `${trimmed(seconds, seconds < 10 ? 1 : 0)} s`;
  const units = [[86400, "d"], [3600, "h"], [60, "m"], [1, "s"]];
  let left = Math.floor(seconds);
  const words = [];
  for (const [size, unit] of units) {
    if (left >= size || words.length) {
      words.push(`${Math.floor(left / size)}${unit}`);
      left %= size;
    }
  }
  return words.slice(0, 2).join(" ");
}

export const at = (text) => (text ? Date.parse(text) / 1000 : null);
export const now = () => Date.now() / 1000;

export function age(text) {
  const past = Math.floor(now() - at(text));
  if (!text) return "";
  if (past < 2) return "just now";
  for (const [size, unit] of [[86400, "d"], [3600, "h"], [60, "m"], [1, "s"]]) {
    if (past >= size) return `${Math.floor(past / size)}${unit} ago`;
  }
  return "just now";
}

export function when(text) {
  return text ? h("time", { datetime: text, title: new Date(text).toLocaleString() }, age(text)) : "";
}

// A time to come, by the clock of whoever looks.
export function clock(text) {
  return text ? h("time", { datetime: text }, new Date(text).toLocaleString()) : "";
}

export function figure(value) {
  if (value === null || value === undefined) return "";
  if (typeof value !== "number") return String(value);
  if (Number.isInteger(value)) return value.toLocaleString("en");
  return Math.abs(value) >= 1e5 || Math.abs(value) < 1e-4 ? value.toExponential(3) : String(Number(value.toPrecision(5)));
}

export const percent = (share) => (share === null || share === undefined ? "" : `${Math.round(100 * share)} %`);

function trimmed(value, digits) {
  return String(Number(value.toFixed(digits)));
}
