//! Draws the flame screen: the operation's wall time as nested bars, and the replicas' lanes below.
use std::collections::BTreeSet;

use ratatui::{
    Frame,
    layout::Rect,
    style::{Modifier, Style},
    text::{Line, Span},
    widgets::Block,
};
use tracepoints::{critical, trace::Step};

use super::{text, theme::Theme};
use crate::state::{
    Screen,
    flame::{Bar, Colours, FlameView, Spent, spent},
    path::wall_ns,
    units,
};

/// The input of drawing a flame.
struct Flame<'a> {
    screen: &'a Screen,
    view: &'a FlameView,
    theme: Theme,
    bars: Vec<Bar>,
    /// The shown window of time, in ns since the operation began.
    from: u64,
    to: u64,
    wall_ns: u64,
    width: usize,
    now: Spent,
}

/// Draws the flame into `area`.
pub fn draw(frame: &mut Frame<'_>, area: Rect, screen: &Screen, theme: Theme, view: &FlameView) {
    let wall = wall_ns(screen.timeline().steps()).max(1);
    let (from, to) = view.window(wall);
    let bars = screen.timeline().bars(view.only.as_deref());
    let now = spent(&bars);
    let width = usize::from(area.width.saturating_sub(2));
    let flame = Flame { screen, view, theme, bars, from, to, wall_ns: wall, width, now };
    let block = Block::bordered().border_style(theme.dim()).title(flame.title());
    let inner = block.inner(area);
    frame.render_widget(block, area);
    frame.render_widget(text::paragraph(flame.lines(inner.height.into())), inner);
}

impl Flame<'_> {
    fn title(&self) -> Line<'static> {
        let mut parts = vec!["Flame: wall-clock time of the operation".to_owned()];
        if !self.view.zoom.is_empty() {
            let (len, at) = (units::duration(self.to - self.from), units::duration(self.from));
            parts[0] = format!("Flame: {len} of {} from {at} on", units::duration(self.wall_ns));
        }
        parts.extend(self.view.only.as_ref().map(|only| format!("only {only}")));
        match (self.view.colours, self.screen.earlier()) {
            (Colours::Layer, _) => {}
            (Colours::Class, _) => parts.push("colours: class".into()),
            (Colours::Diff, earlier) => {
                let than = earlier.map_or("", |(title, _)| title.as_str());
                parts.push(format!("▲ more ▼ less than {than}"));
            }
        }
        if !self.view.query.is_empty() && !self.view.typing {
            let hits = self.bars.iter().filter(|b| self.view.hits(&b.label)).count();
            parts.push(format!("/{}: {hits} found", self.view.query));
        }
        Line::styled(
            format!(" {} ", text::fit(&parts.join(" · "), self.width.saturating_sub(4))),
            self.theme.strong(),
        )
    }

    fn lines(&self, height: usize) -> Vec<Line<'static>> {
        let mut lines = Vec::new();
        if self.bars.is_empty() {
            lines.push(Line::styled(" No step yet.", self.theme.dim()));
        }
        let depth = self.bars.iter().map(|b| b.depth + 1).max().unwrap_or(0);
        lines.extend((0..depth).map(|level| self.level_line(level)));
        if self.view.inverted {
            lines.reverse();
        }
        lines.push(Line::default());
        if self.view.legend {
            lines.extend(super::flame_legend::lines(self.view.colours, self.theme, self.width));
            lines.push(Line::default());
        }
        lines.extend(self.replicas());
        lines.extend(self.bars.get(self.view.selected).into_iter().flat_map(|b| self.detail(b)));
        lines.extend(self.critical(height.saturating_sub(lines.len())));
        lines.extend(self.longest(height.saturating_sub(lines.len())));
        lines
    }

    /// The columns of a span of time, of `total` columns; None outside of the window.
    fn columns(&self, from: u64, to: u64, total: usize) -> Option<(usize, usize)> {
        if to < self.from || from > self.to {
            return None;
        }
        let scale = total as f64 / (self.to - self.from).max(1) as f64;
        let column = |ns: u64| (ns.saturating_sub(self.from) as f64 * scale).round() as usize;
        Some((column(from).min(total), column(to).min(total)))
    }

    /// Draws the bars of one depth in reverse video; the selected one is in normal video and in brackets.
    fn level_line(&self, level: usize) -> Line<'static> {
        let (mut spans, mut x) = (Vec::new(), 0);
        for (i, bar) in self.bars.iter().enumerate().filter(|(_, b)| b.depth == level) {
            let selected = i == self.view.selected;
            let Some((from, to)) = self.columns(bar.from_ns, bar.to_ns, self.width) else { continue };
            let (from, to) = (from.max(x), to.max(if selected { x + 1 } else { x }).min(self.width));
            if to <= from {
                continue;
            }
            spans.push(Span::raw(" ".repeat(from - x)));
            spans.push(self.block(bar, to - from, selected));
            x = to;
        }
        Line::from(spans)
    }

    fn block(&self, bar: &Bar, width: usize, selected: bool) -> Span<'static> {
        let (mut style, sign) = self.look(bar);
        if self.view.hits(&bar.label) {
            style = style.patch(self.theme.found());
        }
        let label = format!("{sign}{}", bar.label);
        if selected {
            let text =
                if width >= 3 { format!("[{}]", text::pad(&label, width - 2)) } else { "▼".repeat(width) };
            return Span::styled(text, style.add_modifier(Modifier::BOLD));
        }
        let label =
            if width >= 4 { text::pad(&format!("│{label}"), width) } else { text::pad("│", width) };
        Span::styled(label, style.add_modifier(Modifier::REVERSED))
    }

    /// A bar's colour, and a sign with the same meaning.
    fn look(&self, bar: &Bar) -> (Style, &'static str) {
        match self.view.colours {
            Colours::Layer => (self.theme.layer(&bar.layer), ""),
            Colours::Class => (self.theme.class(bar.class), ""),
            Colours::Diff => match self.change(bar) {
                None => (self.theme.plain(), ""),
                Some((then, now)) if now.abs_diff(then) * 20 < now.max(then) => (self.theme.plain(), ""),
                Some((then, now)) if now > then => (self.theme.grew(), "▲"),
                Some(_) => (self.theme.shrank(), "▼"),
            },
        }
    }

    /// The frame's time in the previous and in this operation, in ns, at all of its positions.
    fn change(&self, bar: &Bar) -> Option<(u64, u64)> {
        let (_, earlier) = self.screen.earlier()?;
        Some((earlier.get(&bar.key).copied().unwrap_or(0), self.now.get(&bar.key).copied().unwrap_or(0)))
    }

    /// Draws a lane per store with the stages of its replica, on the operation's scale of time.
    fn replicas(&self) -> Vec<Line<'static>> {
        let of_replicas = || self.screen.timeline().steps().iter().filter(|s| s.lane != "main");
        let stores: BTreeSet<u64> = of_replicas().map(|s| s.store).collect();
        if stores.is_empty() {
            return Vec::new();
        }
        let path = self.screen.timeline().critical();
        let on_path = |s: &Step| path.as_ref().is_some_and(|p| p.has(s.step));
        let mut out =
            vec![Line::styled(" Replicas, at the same scale (◆ on the critical path)", self.theme.strong())];
        for store in stores {
            let name = format!(" store {store} ");
            let room = self.width.saturating_sub(text::width(&name));
            let (mut lane, mut x) = (vec![Span::raw(name)], 0);
            for step in of_replicas().filter(|s| s.store == store) {
                let Some((from, to)) = self.columns(step.at_ns, step.at_ns.saturating_add(step.dur_ns), room)
                else {
                    continue;
                };
                let (from, to) = (from.max(x), to.max(from.max(x) + 1).min(room));
                if to > from {
                    lane.push(Span::raw(" ".repeat(from - x)));
                    lane.push(self.lane_block(step, to - from, on_path(step)));
                    x = to;
                }
            }
            out.push(Line::from(lane));
        }
        out.push(Line::default());
        out
    }

    fn lane_block(&self, step: &Step, width: usize, critical: bool) -> Span<'static> {
        let sign = if critical { "◆" } else { "│" };
        let label = if width >= 4 { format!("{sign}{}", step.stage) } else { sign.to_owned() };
        let class = tracepoints::find_stage(&step.stage).map(|s| s.class);
        let style = if self.view.colours == Colours::Class {
            self.theme.class(class)
        } else {
            self.theme.layer(&step.layer)
        };
        let style = if self.view.hits(&step.stage) { style.patch(self.theme.found()) } else { style };
        Span::styled(text::pad(&label, width), style.add_modifier(Modifier::REVERSED))
    }

    fn detail(&self, bar: &Bar) -> Vec<Line<'static>> {
        let share = units::percent(bar.dur_ns as f64 / self.wall_ns as f64);
        let class = bar.class.map_or("", |c| c.name());
        let mut said =
            format!("  {}  {share} of the operation  {}  {class}", units::duration(bar.dur_ns), bar.layer);
        if let Some((then, now)) = self.change(bar).filter(|_| self.view.colours == Colours::Diff) {
            said.push_str(&format!("  before {}, now {}", units::duration(then), units::duration(now)));
        }
        let mut out = vec![Line::from(vec![
            Span::styled(format!(" {}", bar.label), self.theme.here()),
            Span::raw(said.trim_end().to_owned()),
        ])];
        if let Some(step) = bar.step.and_then(|i| self.screen.timeline().steps().get(i)) {
            let words = text::wrap(tracepoints::trace::meaning(step), self.width.saturating_sub(2));
            out.extend(words.into_iter().map(|l| Line::from(format!(" {l}"))));
        }
        out
    }

    /// Formats the critical path; nothing before the operation's end or if it does not fit.
    fn critical(&self, room: usize) -> Vec<Line<'static>> {
        let Some(path) = self.screen.timeline().critical() else { return Vec::new() };
        let said = critical::lines(&path.path, &units::duration);
        let wrapped = said.iter().flat_map(|l| {
            let indent = l.chars().take_while(|c| *c == ' ').count() + 1;
            let lines = text::wrap(l, self.width.saturating_sub(indent + 1));
            lines.into_iter().map(move |l| format!("{}{l}", " ".repeat(indent)))
        });
        let mut out = vec![Line::default()];
        out.extend(wrapped.map(Line::from));
        if out.len() > room || out.len() < 2 {
            return Vec::new();
        }
        out[1] = out[1].clone().style(self.theme.strong());
        out
    }

    /// Lists the longest stages, as many as fit.
    fn longest(&self, room: usize) -> Vec<Line<'static>> {
        let inside = |b: &&Bar| b.step.is_some() && b.to_ns > self.from && b.from_ns < self.to;
        let mut stages: Vec<&Bar> = self.bars.iter().filter(inside).collect();
        stages.sort_by_key(|b| std::cmp::Reverse(b.dur_ns));
        if room < 4 || stages.is_empty() {
            return Vec::new();
        }
        let mut out = vec![Line::default(), Line::styled(" Longest stages", self.theme.strong())];
        for bar in stages.into_iter().take(room - 2) {
            let share = bar.dur_ns as f64 / self.wall_ns as f64;
            out.push(Line::from(vec![
                Span::raw(format!(" {}{}", text::pad(&bar.label, 22), text::pad(&bar.layer, 11))),
                Span::raw(format!("{:>8} {:>6}  ", units::duration(bar.dur_ns), units::percent(share))),
                Span::styled(text::bar(share, 24), self.look(bar).0),
            ]));
        }
        out
    }
}
