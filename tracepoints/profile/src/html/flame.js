// The flame graph: nodes in preorder; node 0 is the root. Two sides are drawn at one scale, per request or per share.
views.flame = (() => {
  const f = data.flame, n = f.parent.length, rows = 20;
  const depth = new Int32Array(n), last = new Int32Array(n);
  let deepest = 0;
  for (let i = 0; i < n; i++) {
    if (i) depth[i] = depth[f.parent[i]] + 1;
    deepest = Math.max(deepest, depth[i]);
    last[i] = i;
  }
  for (let i = n - 1; i > 0; i--) last[f.parent[i]] = Math.max(last[f.parent[i]], last[i]);
  const name = (i) => data.names[f.name[i]];
  // Scales a side's values to one request, so that a longer recording is not wider.
  const scale = f.sides.map((s) => 1 / (s.per || 1));
  const value = (i, side) => f.value[side][i] * scale[side];
  const total = f.sides.map((_, s) => value(0, s));
  const left = f.sides.map(() => new Float64Array(n));
  f.sides.forEach((_, s) => {
    const used = new Float64Array(n);
    for (let i = 1; i < n; i++) {
      const p = f.parent[i];
      left[s][i] = left[s][p] + used[p];
      used[p] += value(i, s);
    }
  });
  const canvas = document.querySelector("#flame canvas");
  let root = 0, at = 0, side = 0, mode = 0, inverted = f.inverted || false, height = 0, boxes = [];
  const modes = f.sides.length > 1 ? ["both sides", "only " + f.sides[0].label, "only " + f.sides[1].label] : ["one"];
  const shownSides = () => (f.sides.length === 1 ? [0] : mode === 0 ? [0, 1] : [mode - 1]);

  function fill(i, s) {
    if (f.sides.length > 1) {
      const [a, b] = [value(i, 0), value(i, 1)];
      const d = b - a, m = Math.max(a, b);
      if (!m || Math.abs(d) < 0.02 * m) return palette.same;
      const strength = 0.25 + 0.75 * Math.min(1, Math.abs(d) / m);
      return `rgba(${d > 0 ? palette.grew : palette.shrank}, ${strength * (f.significant?.[i] === 0 ? 0.45 : 1)})`;
    }
    return f.class[i] >= 0 ? classColor(f.class[i]) : data.unit === "ns" ? palette.none : nameColor(name(i));
  }
  function row(d) {
    return inverted ? d * rows : height - (d + 1) * rows;
  }
  function draw() {
    const whole = Math.max(canvas.parentElement.clientHeight - 2, (deepest - depth[root] + 1 + depth[root]) * rows + 4);
    height = whole;
    const [g, width] = prepare(canvas, whole);
    letter = g.measureText("m").width;
    boxes = [];
    let drawn = 0, hits = 0, hitValue = 0;
    const sides = shownSides();
    const scaleTo = sides.reduce((sum, s) => sum + value(root, s), 0) || 1;
    let offset = 0;
    for (const s of sides) {
      const px = (width / scaleTo), x0 = offset, base = left[s][root];
      offset += value(root, s) * px;
      if (!value(root, s)) continue;
      // The callers of the zoomed frame are as wide as the side.
      for (let p = root; p !== 0; ) {
        p = f.parent[p];
        drawn += box(g, p, s, x0, value(root, s) * px, row(depth[p]), 0.45);
      }
      let counted = -1;
      for (let i = root; i <= last[root]; ) {
        const w = value(i, s) * px;
        if (w < 0.4) { i = last[i] + 1; continue; }
        drawn += box(g, i, s, x0 + (left[s][i] - base) * px, w, row(depth[i]), 1);
        if (hit && i > counted && hit(name(i))) {
          hits++;
          hitValue += value(i, s);
          counted = last[i];
        }
        i++;
      }
    }
    if (hit) $("hits").textContent = `${hits} found, ${percent(hitValue / scaleTo)}`;
    const b = boxes.find((b) => b.i === at && b.s === side) || boxes.find((b) => b.i === at);
    if (b) {
      side = b.s;
      g.lineWidth = 2;
      g.strokeStyle = palette.here;
      g.strokeRect(b.x + 1, b.y + 1, Math.max(b.w - 2, 2), rows - 2);
    }
    detail(describe(at));
    return drawn;
  }
  function box(g, i, s, x, w, y, alpha) {
    g.globalAlpha = alpha;
    g.fillStyle = fill(i, s);
    g.fillRect(x, y, Math.max(w - 0.6, 0.4), rows - 1);
    if (hit && hit(name(i))) {
      g.lineWidth = 2;
      g.strokeStyle = palette.hit;
      g.strokeRect(x + 1, y + 1, Math.max(w - 2.6, 1), rows - 3);
    }
    g.fillStyle = f.sides.length > 1 ? palette.fg : palette.text;
    const text = i === 0 && f.sides.length > 1 ? f.sides[s].label + ": " + side1(s) : name(i);
    label(g, text, x, y + rows / 2, w);
    g.globalAlpha = 1;
    boxes.push({ i, s, x, y, w });
    return 1;
  }
  const side1 = (s) => amount(f.sides[s].total) + (f.sides[s].per > 1 ? `, ${number(f.sides[s].per)} requests` : "");
  function describe(i) {
    const parts = [];
    for (let p = i; ; p = f.parent[p]) {
      parts.unshift(name(p));
      if (!p) break;
    }
    if (f.sides.length === 1) {
      const self = f.value[0][i] - sum(i);
      return `${parts.join(" › ")} — ${amount(f.value[0][i])}, ${percent(value(i, 0) / (total[0] || 1))} of all` +
        (self > 0 && self < f.value[0][i] ? `, itself ${amount(self)}` : "");
    }
    const [a, b] = [value(i, 0), value(i, 1)];
    const each = data.flame.relative ? (v, s) => percent(v / (total[s] || 1)) : (v) => amount(v) + (f.sides[0].per ? " a request" : "");
    const change = a ? ` (${b >= a ? "+" : ""}${(((b - a) / a) * 100).toFixed(1)} %)` : " (new)";
    const p = f.p?.[i];
    const test = p === null || p === undefined ? "" : `; ${f.significant[i] ? "significant" : "not significant"}, p ${p === 0 ? "< 1e-300" : `= ${p < 1e-4 ? p.toExponential(1) : p.toFixed(4)}`}`;
    return `${parts.join(" › ")} — ${f.sides[0].label} ${each(a, 0)}, ${f.sides[1].label} ${each(b, 1)}${change}${test}`;
  }
  function sum(i) {
    let v = 0;
    for (let c = i + 1; c <= last[i]; c = last[c] + 1) v += f.value[0][c];
    return v;
  }
  function zoom(i) {
    root = i;
    at = i;
    redraw();
  }
  function visible(i) {
    return boxes.some((b) => b.i === i);
  }
  function neighbour(step) {
    const line = boxes.filter((b) => depth[b.i] === depth[at]).sort((a, b) => a.x - b.x);
    const here = line.findIndex((b) => b.i === at && b.s === side);
    const to = line[here + step];
    if (to) [at, side] = [to.i, to.s];
  }
  function key(k) {
    const up = inverted ? "ArrowDown" : "ArrowUp", down = inverted ? "ArrowUp" : "ArrowDown";
    if (k === up) {
      // Picks the widest callee.
      let best = -1;
      for (let c = at + 1; c <= last[at]; c = last[c] + 1)
        if (visible(c) && (best < 0 || value(c, side) > value(best, side))) best = c;
      if (best >= 0) at = best;
    } else if (k === down) at = at ? f.parent[at] : 0;
    else if (k === "ArrowLeft") neighbour(-1);
    else if (k === "ArrowRight") neighbour(1);
    else if (k === "Enter") return zoom(at), true;
    else if (k === "Escape" && root) return zoom(0), true;
    else if (k === "i") return $("invert").click(), true;
    else if (k === "d" && modes.length > 1) return $("sides").click(), true;
    else if ((k === "n" || k === "N") && hit) {
      for (let step = 1; step <= n; step++) {
        const i = (at + (k === "n" ? step : n - step)) % n;
        if (hit(name(i)) && visible(i)) { at = i; break; }
      }
    } else return false;
    redraw();
    reveal();
    return true;
  }
  function reveal() {
    const s = canvas.parentElement, y = row(depth[at]);
    if (y < s.scrollTop) s.scrollTop = y;
    if (y + rows > s.scrollTop + s.clientHeight) s.scrollTop = y + rows - s.clientHeight;
  }
  function under(e) {
    const r = canvas.getBoundingClientRect(), x = e.clientX - r.left, y = e.clientY - r.top;
    return boxes.find((b) => x >= b.x && x < b.x + b.w && y >= b.y && y < b.y + rows);
  }
  canvas.addEventListener("mousemove", (e) => tip(e, under(e) ? describe(under(e).i) : ""));
  canvas.addEventListener("mouseleave", (e) => tip(e, ""));
  canvas.addEventListener("click", (e) => {
    const b = under(e);
    if (!b) return;
    side = b.s;
    zoom(b.i);
  });
  $("invert").addEventListener("click", () => {
    inverted = !inverted;
    $("invert").setAttribute("aria-pressed", String(inverted));
    redraw();
    requestAnimationFrame(() => (canvas.parentElement.scrollTop = inverted ? 0 : 1e9));
  });
  $("sides").addEventListener("click", () => {
    mode = (mode + 1) % modes.length;
    $("sides").textContent = modes[mode];
    redraw();
  });
  $("zoomout").addEventListener("click", () => (view === "flame" ? zoom(0) : views.timeline?.whole()));
  return {
    draw, key,
    shown: () => requestAnimationFrame(() => { if (!inverted) canvas.parentElement.scrollTop = 1e9; }),
    search(text) { show("flame"); $("search").value = text; setSearch(text); },
  };
})();
