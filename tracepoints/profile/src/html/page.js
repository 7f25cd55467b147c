"use strict";
// Parts shared by all views: the data, colours, search, keys. Each view is an object with draw, key and select.
const data = JSON.parse(document.getElementById("data").textContent);
const $ = (id) => document.getElementById(id);
const el = (name, text, attributes) => {
  const e = document.createElement(name);
  if (text !== undefined) e.textContent = text;
  for (const [k, v] of Object.entries(attributes || {})) e.setAttribute(k, v);
  return e;
};
const color = (name) => getComputedStyle(document.documentElement).getPropertyValue("--" + name).trim();
const number = (n) => Math.round(n).toLocaleString("en-US");

function duration(ns) {
  const a = Math.abs(ns);
  const three = (v) => (v >= 99.95 ? v.toFixed(0) : v >= 9.995 ? v.toFixed(1) : v.toFixed(2));
  const sign = ns < 0 ? "-" : "";
  if (a < 999.5) return sign + Math.round(a) + " ns";
  if (a < 999.5e3) return sign + three(a / 1e3) + " µs";
  if (a < 999.5e6) return sign + three(a / 1e6) + " ms";
  return sign + three(a / 1e9) + " s";
}
const amount = (v, unit) => ((unit || data.unit) === "ns" ? duration(v) : number(v) + " " + (unit || data.unit));
const percent = (share) => (share * 100).toFixed(share < 0.1 ? 2 : 1) + " %";

/// Search: a text matches anywhere, ignoring case; between slashes it is a regular expression. Null: no search.
let hit = null;
function setSearch(text) {
  hit = null;
  $("search").setCustomValidity("");
  const expression = text.match(/^\/(.+)\/$/);
  if (expression) {
    try {
      const r = new RegExp(expression[1], "i");
      hit = (s) => r.test(s);
    } catch (e) {
      $("search").setCustomValidity(String(e));
      $("hits").textContent = "not a valid regular expression";
      return;
    }
  } else if (text) {
    const t = text.toLowerCase();
    hit = (s) => s.toLowerCase().includes(t);
  }
  $("hits").textContent = "";
  views[view].searched?.();
  redraw();
}

/// A canvas with the screen's resolution and the width of its section.
function prepare(canvas, height) {
  const ratio = window.devicePixelRatio || 1;
  const width = canvas.parentElement.clientWidth;
  canvas.style.height = height + "px";
  const [w, h] = [Math.round(width * ratio), Math.round(height * ratio)];
  if (canvas.width !== w || canvas.height !== h) [canvas.width, canvas.height] = [w, h];
  const g = canvas.getContext("2d");
  g.setTransform(ratio, 0, 0, ratio, 0, 0);
  g.clearRect(0, 0, width, height);
  g.font = "12px ui-monospace, Menlo, Consolas, 'DejaVu Sans Mono', monospace";
  g.textBaseline = "middle";
  return [g, width];
}
let letter = 7.2;
function label(g, text, x, y, width) {
  const n = Math.floor((width - 6) / letter);
  if (n < 3) return;
  g.fillText(text.length <= n ? text : text.slice(0, n - 1) + "…", x + 4, y);
}

let palette = {};
function readPalette() {
  for (const name of ["bg", "fg", "dim", "line", "panel", "here", "mark", "none", "text", "grew", "shrank", "same", "hit"].concat(data.classes.map((c) => c[0])))
    palette[name] = color(name);
}
const classColor = (c) => (c >= 0 && c < data.classes.length ? palette[data.classes[c][0]] || palette.none : palette.none);
/// A fixed warm or cool colour for a name without a class.
function nameColor(name) {
  let h = 7;
  for (let i = 0; i < name.length; i++) h = (h * 31 + name.charCodeAt(i)) >>> 0;
  const dark = document.documentElement.dataset.theme === "dark";
  return `hsl(${18 + (h % 38)} ${dark ? 45 : 72}% ${dark ? 34 + ((h >> 8) % 9) : 68 + ((h >> 8) % 12)}%)`;
}

const views = {};
let view = "flame";
let pending = false;
function redraw() {
  if (pending) return;
  pending = true;
  requestAnimationFrame(() => {
    pending = false;
    document.body.dataset.view = view;
    document.body.dataset.drawn = String(views[view].draw());
    document.body.dataset.ready = "1";
  });
}
function show(name) {
  if (!views[name]) return;
  view = name;
  for (const b of document.querySelectorAll("[data-tab]")) {
    b.setAttribute("aria-selected", String(b.dataset.tab === name));
    b.hidden = !views[b.dataset.tab];
  }
  for (const s of document.querySelectorAll("main > section")) s.hidden = s.id !== name;
  $("sides").hidden = !(name === "flame" && data.flame.sides.length > 1);
  $("invert").hidden = name !== "flame";
  $("zoomout").hidden = name === "table";
  views[name].shown?.();
  redraw();
}
const detail = (text) => ($("detail").textContent = text);

function tip(event, text) {
  const t = $("tip");
  t.hidden = !text;
  if (!text) return;
  t.textContent = text;
  const { width, height } = t.getBoundingClientRect();
  t.style.left = Math.max(4, Math.min(event.clientX + 12, innerWidth - width - 8)) + "px";
  t.style.top = Math.max(4, Math.min(event.clientY + 14, innerHeight - height - 8)) + "px";
}

function setTheme(theme) {
  const dark = theme ? theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  document.documentElement.dataset.theme = dark ? "dark" : "light";
  readPalette();
  legend();
  redraw();
}
let chosen = null;
function legend() {
  const out = $("legend");
  out.replaceChildren();
  const add = (c, text) => {
    const s = el("span");
    const i = el("i");
    i.style.background = c;
    s.append(i, text);
    out.append(s);
  };
  if (data.flame.sides.length > 1) {
    add(`rgb(${palette.shrank})`, "less per request, or a smaller share");
    add(palette.same, "the same");
    add(`rgb(${palette.grew})`, "more per request, or a larger share");
  } else for (const [name, ns] of data.classes) if (ns > 0 || data.kind === "trace") add(palette[name], name);
}

function head() {
  for (const note of data.notes) $("notes").append(el("li", note));
  const total = data.classes.reduce((sum, c) => sum + c[1], 0);
  $("split").hidden = !(total > 0);
  if (!(total > 0)) return;
  for (const [name, ns] of data.classes.filter((c) => c[1] > 0).sort((a, b) => b[1] - a[1])) {
    const s = el("span", `${name} ${percent(ns / total)}`, { title: `${name}: ${duration(ns)}` });
    s.style.flex = String(ns / total) + " 1 0";
    s.style.background = `var(--${name})`;
    $("split").append(s);
  }
}

function keydown(e) {
  if ($("keys").open || e.ctrlKey || e.metaKey || e.altKey) return;
  if (e.target === $("search")) {
    if (e.key === "Escape" || e.key === "Enter") {
      if (e.key === "Escape") setSearch(($("search").value = ""));
      document.querySelector(`#${view} canvas, #${view}[tabindex]`)?.focus();
      e.preventDefault();
    }
    return;
  }
  if (e.target instanceof HTMLButtonElement && (e.key === "Enter" || e.key === " ")) return;
  const number = ["flame", "timeline", "table"]["123".indexOf(e.key)];
  if (number) show(number);
  else if (e.key === "/") $("search").focus();
  else if (e.key === "t") $("theme").click();
  else if (e.key === "?") $("keys").showModal();
  else if (!views[view].key(e.key)) {
    if (e.key !== "Escape" || !hit) return;
    setSearch(($("search").value = ""));
  }
  e.preventDefault();
}
