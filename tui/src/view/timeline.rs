//! Draws the timeline: a lane for the client, PD and each store, their stages in time, and messages as arrows.
use ratatui::{
    Frame,
    layout::Rect,
    style::{Modifier, Style},
    text::{Line, Span},
    widgets::Block,
};
use tracepoints::trace::{Step, meaning};

use super::{text, theme::Theme};
use crate::state::{
    Screen,
    flame::{Colours, FlameView},
    messages::{Lane, Message, lanes, messages},
    path::wall_ns,
    units,
};

/// Columns of the lanes' names.
const NAMES: usize = 13;

/// A drawn character.
#[derive(Clone, Copy)]
struct Cell {
    sign: char,
    style: Style,
}

/// The picture of the lanes: a row for each lane and a row between two lanes.
struct Picture<'a> {
    view: &'a FlameView,
    theme: Theme,
    lanes: Vec<Lane>,
    /// The shown window of time, in ns since the operation began.
    from: u64,
    to: u64,
    width: usize,
    cells: Vec<Vec<Cell>>,
}

/// Draws the timeline into `area`.
pub fn draw(frame: &mut Frame<'_>, area: Rect, screen: &Screen, theme: Theme, view: &FlameView) {
    let steps = screen.timeline().steps();
    let wall = wall_ns(steps).max(1);
    let (from, to) = view.window(wall);
    let lanes = lanes(steps);
    let width = usize::from(area.width.saturating_sub(2)).saturating_sub(NAMES);
    let blank = Cell { sign: ' ', style: theme.plain() };
    let cells = vec![vec![blank; width]; (lanes.len() * 2).saturating_sub(1)];
    let mut picture = Picture { view, theme, lanes, from, to, width, cells };
    let messages = messages(steps);
    steps.iter().for_each(|s| picture.stage(s));
    messages.iter().for_each(|m| picture.arrow(m));
    let title = match view.zoom.is_empty() {
        true => " Timeline: stages and messages ".to_owned(),
        false => format!(" Timeline: {} from {} on ", units::duration(to - from), units::duration(from)),
    };
    let block = Block::bordered().border_style(theme.dim()).title(Line::styled(title, theme.strong()));
    let inner = block.inner(area);
    let mut lines = picture.lines();
    lines.push(picture.scale());
    lines.push(Line::default());
    lines.extend(super::flame_legend::lines(view.colours, theme, inner.width.into()));
    lines.extend(detail(screen, &messages, view, theme, inner.width.into()));
    frame.render_widget(block, area);
    frame.render_widget(text::paragraph(lines), inner);
}

impl Picture<'_> {
    fn column(&self, ns: u64) -> Option<usize> {
        if ns < self.from || ns > self.to || self.width == 0 {
            return None;
        }
        let share = (ns - self.from) as f64 / (self.to - self.from).max(1) as f64;
        Some(((share * self.width as f64) as usize).min(self.width - 1))
    }

    fn row(&self, lane: Lane) -> Option<usize> {
        self.lanes.iter().position(|l| *l == lane).map(|at| at * 2)
    }

    /// Draws a stage in its lane: its sign at its start, its name if there is room.
    fn stage(&mut self, step: &Step) {
        let Some(row) = self.row(Lane::from_step(step)) else { return };
        let end = step.at_ns.saturating_add(step.dur_ns).min(self.to);
        if end < self.from || step.at_ns > self.to {
            return;
        }
        let Some(first) = self.column(step.at_ns.max(self.from)) else { return };
        let last = self.column(end).unwrap_or(first).max(first + 1);
        let selected = step.step == self.view.step;
        let style = match self.view.colours {
            Colours::Class => self.theme.class(tracepoints::find_stage(&step.stage).map(|s| s.class)),
            Colours::Layer | Colours::Diff => self.theme.layer(&step.layer),
        };
        let style = if selected {
            style.add_modifier(Modifier::BOLD)
        } else {
            style.add_modifier(Modifier::REVERSED)
        };
        let label: Vec<char> = format!("│{}", step.stage).chars().collect();
        let named = last - first >= 5;
        for column in first..last.min(self.width) {
            let at = column - first;
            let sign = match (selected, named) {
                (true, false) => '▼',
                (true, true) if at == 0 => '[',
                (true, true) if column + 1 == last => ']',
                (_, false) if at == 0 => '│',
                (_, false) => ' ',
                (_, true) => label.get(at).copied().unwrap_or(' '),
            };
            self.cells[row][column] = Cell { sign, style };
        }
    }

    /// Draws a message as an arrow at its arrival, from the sender's lane to the receiver's.
    fn arrow(&mut self, message: &Message) {
        let (Some(from), Some(to)) = (self.row(message.from), self.row(message.to)) else { return };
        let Some(column) = self.column(message.arrived_ns) else { return };
        let down = from < to;
        let style = if message.step == self.view.step { self.theme.here() } else { self.theme.plain() };
        let (first, last) = (from.min(to) + 1, from.max(to));
        for row in first..last {
            let head = if down { row + 1 == last } else { row == first };
            let sign = match (head, down) {
                (true, true) => '▼',
                (true, false) => '▲',
                (false, _) => '│',
            };
            // A stage of a lane between them stays visible.
            if row % 2 == 1 || self.cells[row][column].sign == ' ' {
                self.cells[row][column] = Cell { sign, style };
            }
        }
    }

    fn lines(&self) -> Vec<Line<'static>> {
        let mut out = Vec::new();
        for (row, cells) in self.cells.iter().enumerate() {
            let name = if row % 2 == 0 { self.lanes[row / 2].name() } else { String::new() };
            let mut spans =
                vec![Span::styled(format!(" {}", text::pad(&name, NAMES - 1)), self.theme.strong())];
            for run in cells.chunk_by(|a, b| a.style == b.style) {
                spans.push(Span::styled(run.iter().map(|c| c.sign).collect::<String>(), run[0].style));
            }
            out.push(Line::from(spans));
        }
        if self.lanes.is_empty() {
            out.push(Line::styled(" No step yet.", self.theme.dim()));
        }
        out
    }

    fn scale(&self) -> Line<'static> {
        let (first, last) = (units::duration(self.from), units::duration(self.to));
        let gap = self.width.saturating_sub(text::width(&first) + text::width(&last));
        let line = format!("{}{first}{}{last}", " ".repeat(NAMES), " ".repeat(gap));
        Line::styled(line, self.theme.dim())
    }
}

/// Describes the selected stage and the message that it received.
fn detail(
    screen: &Screen,
    messages: &[Message],
    view: &FlameView,
    theme: Theme,
    width: usize,
) -> Vec<Line<'static>> {
    let Some(step) = screen.timeline().steps().get(view.step) else { return Vec::new() };
    let mut out = vec![Line::from(vec![
        Span::styled(format!(" {}", step.stage), theme.here()),
        Span::raw(format!(
            "  {} from {} on  {}  step {}",
            units::duration(step.dur_ns),
            units::duration(step.at_ns),
            Lane::from_step(step).name(),
            step.step + 1
        )),
    ])];
    if let Some(message) = messages.iter().find(|m| m.step == view.step) {
        let took = units::duration(message.arrived_ns.saturating_sub(message.sent_ns));
        out.push(Line::from(format!(
            " receives a message from {}, {took} after it was sent",
            message.from.name()
        )));
    }
    let words = text::wrap(meaning(step), width.saturating_sub(2));
    out.extend(words.into_iter().map(|l| Line::from(format!(" {l}"))));
    out
}
