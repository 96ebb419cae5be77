// Elements, numbers and words. All text goes through text nodes: names and reasons come from files of anybody.

function element(tag, attributes, ...children) {
  return filled(document.createElement(tag), attributes, children);
}

function drawn(tag, attributes, ...children) {
  return filled(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
}

function filled(node, attributes, children) {
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name === "tone") node.style.setProperty("--tone", `var(--${value})`);
    else if (name === "style") Object.assign(node.style, value);
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined));
  return node;
}

const $ = (id) => document.getElementById(id);
const color = (name) => getComputedStyle(document.documentElement).getPropertyValue(`--${name}`).trim();
const sum = (values) => values.reduce((total, value) => total + value, 0);

// Columns {name: [..]} as rows [{name: ..}].
function rowsOf(columns) {
  const names = Object.keys(columns);
  return columns[names[0]].map((_, k) => Object.fromEntries(names.map((name) => [name, columns[name][k]])));
}

function number(value, digits = 3) {
  if (value === null || value === undefined) return "–";
  if (Number.isInteger(value)) return value.toLocaleString("en-US");
  const places = Math.max(0, digits - 1 - Math.floor(Math.log10(Math.abs(value) || 1)));
  return value.toLocaleString("en-US", { maximumFractionDigits: Math.min(6, places) });
}

const count = (n, noun) => `${number(n)} ${noun}${n === 1 ? "" : "s"}`;
const percent = (share) => `${number(Math.round(share * 1000) / 10)} %`;
const withUnit = (value, unit) => `${number(value)}${unit ? " " + unit : ""}`;
const fromFraction = (fraction) => (fraction === 0 ? "the start" : `${number(fraction * 100)} %`);
// The beginnings of names are alike, so it is the middle that is left out.
const shortened = (text, most) => (text.length > most ? `${text.slice(0, Math.floor(most / 2) - 2)}…${text.slice(-Math.ceil(most / 2) - 1)}` : text);
const fixed = (value, places) => (value === null || value === undefined ? "–" : value.toFixed(places));

function duration(seconds) {
  if (seconds < 100) return `${seconds.toFixed(1)} s`;
  const minutes = Math.round(seconds / 60);
  return minutes < 100 ? `${Math.floor(seconds / 60)} min ${Math.round(seconds % 60)} s` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

const dot = (tone) => element("span", { class: "dot", tone });
const legend = (entries) =>
  element("div", { class: "legend" }, entries.map(([tone, text]) => element("span", {}, dot(tone), text)));

// A table that says in numbers what a drawing shows.
function numbersTable(heads, rows) {
  return element("details", {}, element("summary", {}, "in numbers"),
    element("div", { class: "scroll" }, element("table", {},
      element("thead", {}, element("tr", {}, heads.map((head) => element("th", { scope: "col" }, head)))),
      element("tbody", {}, rows.map((row) =>
        element("tr", {}, row.map((cell) => element("td", { class: typeof cell === "number" ? "number" : null },
          typeof cell === "number" ? number(cell, 4) : cell))))))));
}

const tip = {
  show(event, text) {
    const box = $("tip");
    box.textContent = text;
    box.hidden = false;
    const { width, height } = box.getBoundingClientRect();
    box.style.left = `${Math.max(4, Math.min(event.clientX + 14, innerWidth - width - 8))}px`;
    box.style.top = `${event.clientY + 18 + height > innerHeight ? event.clientY - height - 10 : event.clientY + 18}px`;
  },
  hide() { $("tip").hidden = true; },
};

// Calls draw(width) now, and again whenever the width of the node, or the theme, has changed.
const redrawn = [];
function drawnToWidth(node, draw) {
  let width = 0;
  const again = () => { if (width) draw(width); };
  new ResizeObserver(() => {
    const now = Math.round(node.clientWidth);
    if (now && now !== width) { width = now; draw(width); }
  }).observe(node);
  redrawn.push(again);
}
