// The table: sorted by any column, filtered by the search; only the visible rows are in the page.
views.table = (() => {
  const t = data.table, section = $("table"), rowHeight = 24;
  const head = section.querySelector("thead"), body = section.querySelector("tbody");
  let by = t.sort, down = true, at = 0, rows = t.rows;
  const text = (column, v) => {
    if (v === null || v === undefined) return "–";
    if (column.unit === "text") return v;
    if (column.unit === "percent") return percent(v);
    if (column.unit === "change") return (v > 0 ? "+" : "") + (v * 100).toFixed(1) + " %";
    if (column.unit === "points") return (v > 0 ? "+" : "") + (v * 100).toFixed(2) + " points";
    if (column.unit === "delta") return (v > 0 ? "+" : "") + amount(v);
    if (column.unit === "p") return v === 0 ? "< 1e-300" : v < 1e-4 ? v.toExponential(1) : v.toFixed(4);
    if (column.unit === "count") return number(v);
    return amount(v, column.unit);
  };
  const line = el("tr");
  t.columns.forEach((column, c) => {
    const th = el("th", undefined, { scope: "col" });
    if (column.unit !== "text") th.className = "n";
    const b = el("button", column.label);
    b.addEventListener("click", () => {
      [by, down] = [c, by === c ? !down : column.unit !== "text"];
      arrange();
      redraw();
    });
    th.append(b);
    line.append(th);
  });
  head.append(line);
  function arrange() {
    rows = hit ? t.rows.filter((r) => t.columns.some((c, i) => c.unit === "text" && hit(r[i] || ""))) : t.rows.slice();
    const size = ["delta", "points", "change"].includes(t.columns[by].unit) ? Math.abs : (v) => v;
    rows.sort((a, b) => {
      const [x, y] = [a[by], b[by]];
      if (x === null || y === null) return (x === null) - (y === null);
      const d = typeof x === "string" ? x.localeCompare(y) : size(x) - size(y);
      return down ? -d : d;
    });
    [...line.children].forEach((th, c) => {
      th.setAttribute("aria-sort", c !== by ? "none" : down ? "descending" : "ascending");
      th.firstChild.textContent = t.columns[c].label + (c !== by ? "" : down ? " ▾" : " ▴");
    });
    at = Math.min(at, Math.max(0, rows.length - 1));
    if (hit) $("hits").textContent = `${rows.length} rows`;
  }
  function draw() {
    const first = Math.max(0, Math.floor(section.scrollTop / rowHeight) - 8);
    const count = Math.ceil(section.clientHeight / rowHeight) + 16;
    const shown = rows.slice(first, first + count);
    const space = (n) => {
      const tr = el("tr", undefined, { class: "space", "aria-hidden": "true" });
      const td = el("td", undefined, { colspan: String(t.columns.length) });
      td.style.height = n * rowHeight + "px";
      tr.append(td);
      return tr;
    };
    body.replaceChildren(space(first), ...shown.map((r, k) => {
      const tr = el("tr", undefined, { "aria-selected": String(first + k === at) });
      t.columns.forEach((column, c) => {
        const td = el("td", text(column, r[c]));
        if (column.unit !== "text") td.className = "n";
        else td.title = r[c] || "";
        tr.append(td);
      });
      tr.addEventListener("click", () => { at = first + k; redraw(); });
      tr.addEventListener("dblclick", () => { at = first + k; key("Enter"); });
      return tr;
    }), space(Math.max(0, rows.length - first - shown.length)));
    detail(rows.length ? t.columns.map((c, i) => `${c.label} ${text(c, rows[at][i])}`).join(", ") : "No row matches the search.");
    return shown.length;
  }
  function key(k) {
    const page = Math.max(1, Math.floor(section.clientHeight / rowHeight) - 2);
    const to = { ArrowDown: at + 1, ArrowUp: at - 1, PageDown: at + page, PageUp: at - page, Home: 0, End: rows.length - 1 }[k];
    if (to !== undefined) {
      at = Math.max(0, Math.min(to, rows.length - 1));
      const y = (at + 1) * rowHeight;
      if (y - rowHeight < section.scrollTop) section.scrollTop = y - rowHeight;
      if (y + rowHeight > section.scrollTop + section.clientHeight) section.scrollTop = y + rowHeight - section.clientHeight;
      redraw();
      return true;
    }
    if (k === "Enter" && rows.length) return views.flame.search(String(rows[at][t.search])), true;
    return false;
  }
  section.addEventListener("scroll", redraw);
  return { draw, key, searched: arrange, shown: arrange };
})();
