// The timeline: stores and threads as lanes, spans at their time, messages between stores as arrows.
if (data.timeline) views.timeline = (() => {
  const t = data.timeline, s = t.spans, n = s.at.length, rowHeight = 18, gap = 6, axis = 22, min = 20;
  const canvas = document.querySelector("#timeline canvas");
  const name = (i) => data.names[s.name[i]];
  // Overlapping spans of a lane take separate rows.
  const row = new Int32Array(n), rows = new Int32Array(t.lanes.length).fill(1);
  const order = Array.from({ length: n }, (_, i) => i).sort((a, b) => s.at[a] - s.at[b] || s.dur[b] - s.dur[a]);
  const ends = t.lanes.map(() => []);
  for (const i of order) {
    const lane = ends[s.lane[i]];
    let r = lane.findIndex((end) => end <= s.at[i]);
    if (r < 0) r = lane.length < 40 ? lane.push(0) - 1 : 39;
    lane[r] = Math.max(lane[r], s.at[i] + s.dur[i]);
    row[i] = r;
    rows[s.lane[i]] = Math.max(rows[s.lane[i]], r + 1);
  }
  const top = [];
  let y = axis;
  t.lanes.forEach((_, l) => { top.push(y); y += rows[l] * rowHeight + gap; });
  const whole = y;
  const byLane = t.lanes.map(() => []);
  for (const i of order) byLane[s.lane[i]].push(i);
  let from = 0, to = t.end || 1, at = order.length ? order[0] : -1, boxes = [];
  const gutter = () => Math.min(190, canvas.parentElement.clientWidth * 0.3);

  function place(i, width, left) {
    const scale = (width - left) / (to - from);
    return [left + (s.at[i] - from) * scale, s.dur[i] * scale];
  }
  function draw() {
    const [g, width] = prepare(canvas, Math.max(whole, canvas.parentElement.clientHeight - 2));
    letter = g.measureText("m").width;
    const left = gutter();
    boxes = [];
    let drawn = 0;
    ruler(g, width, left);
    t.lanes.forEach((lane, l) => {
      g.fillStyle = l % 2 ? palette.bg : palette.panel;
      g.fillRect(0, top[l] - gap / 2, width, rows[l] * rowHeight + gap);
      g.fillStyle = palette.fg;
      label(g, lane.label, 2, top[l] + rowHeight / 2, left - 4);
    });
    g.save();
    g.beginPath();
    g.rect(left, 0, width - left, 1e7);
    g.clip();
    // A span within a pixel that is already filled is invisible and not drawn.
    const full = new Map(), section = canvas.parentElement;
    const [above, below] = [section.scrollTop - rowHeight, section.scrollTop + section.clientHeight];
    for (const i of order) {
      if (s.at[i] > to) break;
      const line = top[s.lane[i]] + row[i] * rowHeight;
      if (s.at[i] + s.dur[i] < from || line < above || line > below) continue;
      const [x, w] = place(i, width, left), yy = line;
      const pixel = Math.floor(x + w);
      if (w < 1 && i !== at && full.get(yy) === pixel) continue;
      full.set(yy, pixel);
      span(g, i, x, Math.max(w, 1), yy, left, width);
      drawn++;
    }
    arrows(g, width, left);
    if (at >= 0) mark(g, width, left);
    g.restore();
    detail(at < 0 ? "No span." : describe(at));
    return drawn;
  }
  function span(g, i, x, w, yy, left, width) {
    const dim = hit && !hit(name(i));
    g.globalAlpha = dim ? 0.25 : 1;
    g.fillStyle = classColor(s.class[i]);
    const x0 = Math.max(x, left), w0 = Math.max(Math.min(x + w, width) - x0, 1);
    g.fillRect(x0, yy, Math.max(w0 - 0.5, 0.7), rowHeight - 2);
    if (s.critical[i]) {
      g.fillStyle = palette.mark;
      g.fillRect(x0, yy + rowHeight - 5, Math.max(w0 - 0.5, 0.7), 3);
    }
    g.fillStyle = palette.text;
    label(g, (s.critical[i] ? "◆ " : "") + name(i), x0, yy + rowHeight / 2 - 1, w0);
    g.globalAlpha = 1;
    boxes.push({ i, x: x0, y: yy, w: w0 });
  }
  function arrows(g, width, left) {
    const a = t.arrows, scale = (width - left) / (to - from), seen = [];
    for (let k = 0; k < a.from.length && seen.length < 4000; k++)
      if (s.at[a.to[k]] >= from && s.at[a.from[k]] <= to) seen.push(k);
    for (const k of seen) {
      const [i, j] = [a.from[k], a.to[k]];
      const x0 = left + (a.at[k] - from) * scale, x1 = left + (s.at[j] - from) * scale;
      const y0 = top[s.lane[i]] + row[i] * rowHeight + rowHeight / 2, y1 = top[s.lane[j]] + row[j] * rowHeight + rowHeight / 2;
      g.strokeStyle = g.fillStyle = a.critical[k] ? palette.mark : palette.dim;
      g.lineWidth = a.critical[k] ? 2 : 1;
      g.globalAlpha = a.critical[k] ? 1 : 0.7;
      g.beginPath();
      g.moveTo(x0, y0);
      g.lineTo(x1, y1);
      g.stroke();
      const angle = Math.atan2(y1 - y0, x1 - x0);
      g.beginPath();
      g.moveTo(x1, y1);
      for (const turn of [0.4, -0.4]) g.lineTo(x1 - 8 * Math.cos(angle + turn), y1 - 8 * Math.sin(angle + turn));
      g.fill();
      g.globalAlpha = 1;
    }
  }
  function ruler(g, width, left) {
    const about = (to - from) / Math.max(2, (width - left) / 110);
    const base = 10 ** Math.floor(Math.log10(about || 1));
    const step = [1, 2, 5, 10].map((m) => m * base).find((v) => v >= about) || base;
    g.fillStyle = palette.dim;
    g.strokeStyle = palette.line;
    g.lineWidth = 1;
    for (let v = Math.ceil(from / step) * step; v <= to; v += step) {
      const x = left + ((v - from) / (to - from)) * (width - left);
      g.beginPath();
      g.moveTo(x, 0);
      g.lineTo(x, whole);
      g.stroke();
      g.fillText(duration(v), x + 3, axis / 2);
    }
  }
  function mark(g, width, left) {
    const [x, w] = place(at, width, left);
    g.strokeStyle = palette.here;
    g.lineWidth = 2;
    g.strokeRect(x, top[s.lane[at]] + row[at] * rowHeight - 1, Math.max(w, 3), rowHeight);
  }
  function describe(i) {
    const c = s.class[i] >= 0 ? ", " + data.classes[s.class[i]][0] : "";
    const on = s.on ? data.names[s.on[i]] : "";
    return `${name(i)} on ${t.lanes[s.lane[i]].label} — at ${duration(s.at[i])}, ${duration(s.dur[i])}${c}${on ? " (" + on + ")" : ""}` +
      (s.critical[i] ? "; ◆ on the critical path" : "") + `; request ${s.request[i]}`;
  }
  function around(factor, middle) {
    const m = middle === undefined ? (from + to) / 2 : middle;
    const width = Math.min(t.end || 1, Math.max(min, (to - from) * factor));
    const share = (m - from) / (to - from);
    move(m - share * width, width);
  }
  function move(start, width) {
    from = Math.max(0, Math.min(start, (t.end || 1) - width));
    to = from + width;
    redraw();
  }
  function go(i) {
    if (i === undefined || i < 0) return;
    at = i;
    const width = to - from, middle = s.at[i] + Math.min(s.dur[i], width) / 2;
    if (middle < from || middle > to) move(middle - width / 2, width);
    const yy = top[s.lane[i]] + row[i] * rowHeight, section = canvas.parentElement;
    if (yy < section.scrollTop) section.scrollTop = yy - gap;
    if (yy + rowHeight > section.scrollTop + section.clientHeight) section.scrollTop = yy + rowHeight + gap - section.clientHeight;
    redraw();
  }
  function key(k) {
    if (at < 0) return false;
    const lane = byLane[s.lane[at]], here = lane.indexOf(at);
    if (k === "ArrowRight") go(lane[here + 1]);
    else if (k === "ArrowLeft") go(lane[here - 1]);
    else if (k === "ArrowDown" || k === "ArrowUp") {
      const step = k === "ArrowDown" ? 1 : -1;
      for (let l = s.lane[at] + step; l >= 0 && l < byLane.length; l += step) {
        if (!byLane[l].length) continue;
        go(byLane[l].reduce((a, b) => (Math.abs(s.at[b] - s.at[at]) < Math.abs(s.at[a] - s.at[at]) ? b : a)));
        break;
      }
    } else if (k === "+" || k === "=") around(0.5, s.at[at] + s.dur[at] / 2);
    else if (k === "-") around(2);
    else if (k === "a") move(from - (to - from) / 4, to - from);
    else if (k === "d") move(from + (to - from) / 4, to - from);
    else if (k === "Enter") move(s.at[at] - s.dur[at] * 0.1, Math.max(min, s.dur[at] * 1.2));
    else if (k === "Escape" && to - from < (t.end || 1)) self.whole();
    else if ((k === "n" || k === "N") && hit) {
      const place = order.indexOf(at);
      for (let step = 1; step <= n; step++) {
        const i = order[(place + (k === "n" ? step : n - step)) % n];
        if (hit(name(i))) { go(i); break; }
      }
    } else return false;
    return true;
  }
  function under(e) {
    const r = canvas.getBoundingClientRect(), x = e.clientX - r.left, yy = e.clientY - r.top;
    return boxes.findLast((b) => x >= b.x && x <= b.x + b.w && yy >= b.y && yy < b.y + rowHeight);
  }
  const time = (e) => {
    const r = canvas.getBoundingClientRect(), left = gutter();
    return from + ((e.clientX - r.left - left) / (r.width - left)) * (to - from);
  };
  let drag = null;
  canvas.addEventListener("mousedown", (e) => (drag = { x: e.clientX, from, moved: false }));
  addEventListener("mouseup", () => (drag = null));
  canvas.addEventListener("mousemove", (e) => {
    if (drag && Math.abs(e.clientX - drag.x) > 3) {
      drag.moved = true;
      move(drag.from - ((e.clientX - drag.x) / (canvas.clientWidth - gutter())) * (to - from), to - from);
    }
    const b = under(e);
    tip(e, b && !drag ? describe(b.i) : "");
  });
  canvas.addEventListener("mouseleave", (e) => tip(e, ""));
  canvas.addEventListener("click", (e) => { const b = under(e); if (b) go(b.i); });
  canvas.parentElement.addEventListener("scroll", redraw);
  canvas.addEventListener("wheel", (e) => {
    if (!e.ctrlKey && !e.shiftKey && Math.abs(e.deltaY) > Math.abs(e.deltaX) && canvas.clientHeight > canvas.parentElement.clientHeight + 4) return;
    e.preventDefault();
    if (Math.abs(e.deltaX) > Math.abs(e.deltaY)) move(from + (e.deltaX / canvas.clientWidth) * (to - from), to - from);
    else around(e.deltaY > 0 ? 1.25 : 0.8, time(e));
  }, { passive: false });
  const self = {
    draw, key,
    whole() { move(0, t.end || 1); },
    searched() { if (hit) $("hits").textContent = `${order.filter((i) => hit(name(i))).length} found`; },
  };
  return self;
})();
