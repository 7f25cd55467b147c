//! Draws the screen. Returns the position of each pane, for the mouse and for scrolling; changes nothing.
mod compare;
mod flame;
mod flame_help;
mod flame_legend;
mod help;
mod lists;
mod palette;
mod panel;
mod path;
mod places;
mod source;
mod stack;
mod stage_summary;
mod state;
mod status_bars;
mod text;
pub mod theme;
mod timeline;

use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
    text::Line,
};

use crate::state::{Pane, Positions, Screen, overlay::Overlay};
use panel::{Content, Panel, Style as PanelStyle};
use theme::Theme;

/// Minimum columns and rows; on a smaller terminal only a notice is drawn.
pub const MIN_SIZE: (u16, u16) = (60, 16);

/// Minimum columns of the source pane to show TiKV's code beside ours.
const BESIDE: u16 = 90;

/// Draws the whole screen. Returns the positions of panes and tabs.
pub fn draw(frame: &mut Frame<'_>, screen: &Screen) -> Positions {
    let area = frame.area();
    if area.width < MIN_SIZE.0 || area.height < MIN_SIZE.1 {
        too_small(frame, area);
        return Positions::default();
    }
    let theme = Theme::new(screen.options().color);
    let [head, body, foot] =
        Layout::vertical([Constraint::Length(1), Constraint::Fill(1), Constraint::Length(1)]).areas(area);
    frame.render_widget(status_bars::head(screen, theme, head.width), head);
    let drawn = match screen.overlay() {
        Overlay::Flame(view) => {
            match view.timeline {
                true => timeline::draw(frame, body, screen, theme, view),
                false => flame::draw(frame, body, screen, theme, view),
            }
            if view.help {
                flame_help::draw(frame, body, theme, view.timeline);
            }
            Positions::default()
        }
        Overlay::Compare { selected } => {
            compare::draw(frame, body, screen, theme, *selected);
            Positions::default()
        }
        _ => {
            let mut panes = Drawing { frame: &mut *frame, screen, theme, drawn: Positions::default() };
            panes.panes(body);
            panes.drawn
        }
    };
    frame.render_widget(status_bars::foot(screen, theme, foot.width), foot);
    match screen.overlay() {
        Overlay::Help { scroll } => help::draw(frame, body, screen, theme, *scroll),
        Overlay::Palette { query, selected } => palette::draw(frame, body, screen, theme, query, *selected),
        Overlay::Places(places) => places::draw(frame, body, theme, places),
        Overlay::Gates { selected, input } => {
            lists::gates(frame, body, screen, theme, (*selected, input.as_ref()));
        }
        Overlay::Held { selected } => lists::held(frame, body, screen, theme, *selected),
        Overlay::Operation(input) => lists::operation(frame, body, theme, input),
        _ => {}
    }
    drawn
}

fn too_small(frame: &mut Frame<'_>, area: Rect) {
    let (w, h) = MIN_SIZE;
    let text = [
        format!("{}x{} is too small", area.width, area.height),
        format!("tikv-tui needs {w}x{h}"),
        "q quits".into(),
    ];
    let lines: Vec<Line<'static>> = text.into_iter().map(Line::from).collect();
    frame.render_widget(text::paragraph(lines).centered(), area);
}

/// The panes on their way to the terminal.
struct Drawing<'a, 'b> {
    frame: &'a mut Frame<'b>,
    screen: &'a Screen,
    theme: Theme,
    drawn: Positions,
}

impl Drawing<'_, '_> {
    /// Draws as many panes as there is room for.
    fn panes(&mut self, body: Rect) {
        if self.screen.panes().is_zoomed() {
            self.pane(body, self.screen.panes().focus(), PanelStyle::Box);
        } else if body.width >= 180 && body.height >= 34 {
            self.all(body);
        } else if body.width >= 130 && body.height >= 34 {
            self.most(body);
        } else if body.width >= 110 {
            let [left, right] = Layout::horizontal([Constraint::Length(50), Constraint::Fill(1)]).areas(body);
            let rows = [Constraint::Length(5), Constraint::Fill(1), Constraint::Fill(1)];
            let [top, source, under] = Layout::vertical(rows).areas(right);
            self.pane(left, Pane::Path, PanelStyle::Box);
            self.stage(top);
            self.pane(source, Pane::Source, PanelStyle::Box);
            self.tabs(under, &[Pane::Stack, Pane::State, Pane::Log], PanelStyle::Box);
        } else {
            let path = (body.height / 3).clamp(6, 14) + 1;
            let rows = [Constraint::Length(path), Constraint::Length(4), Constraint::Fill(1)];
            let [top, middle, rest] = Layout::vertical(rows).areas(body);
            self.pane(top, Pane::Path, PanelStyle::Rule);
            self.stage(middle);
            self.tabs(rest, &Pane::ALL[1..], PanelStyle::Rule);
        }
    }

    /// Draws path and stack at the left, where names have room; the stage, source, and state or log at the right.
    fn most(&mut self, body: Rect) {
        let left_width = (body.width * 4 / 10).clamp(54, 66);
        let [left, right] =
            Layout::horizontal([Constraint::Length(left_width), Constraint::Fill(1)]).areas(body);
        let [path, stack] = Layout::vertical([Constraint::Fill(3), Constraint::Fill(2)]).areas(left);
        let rows = [Constraint::Length(5), Constraint::Fill(1), Constraint::Fill(1)];
        let [top, source, under] = Layout::vertical(rows).areas(right);
        self.pane(path, Pane::Path, PanelStyle::Box);
        self.pane(stack, Pane::Stack, PanelStyle::Box);
        self.stage(top);
        self.pane(source, Pane::Source, PanelStyle::Box);
        self.tabs(under, &[Pane::State, Pane::Log], PanelStyle::Box);
    }

    /// Draws all panes: path and log at the left; the stage, source, state and stack at the right.
    fn all(&mut self, body: Rect) {
        let [left, right] = Layout::horizontal([Constraint::Length(60), Constraint::Fill(1)]).areas(body);
        let [path, log] = Layout::vertical([Constraint::Fill(1), Constraint::Length(9)]).areas(left);
        let rows = [Constraint::Length(5), Constraint::Fill(1), Constraint::Fill(1)];
        let [top, source, bottom] = Layout::vertical(rows).areas(right);
        let [state, stack] = Layout::horizontal([Constraint::Max(74), Constraint::Fill(1)]).areas(bottom);
        self.stage(top);
        for (area, pane) in [
            (path, Pane::Path),
            (log, Pane::Log),
            (source, Pane::Source),
            (state, Pane::State),
            (stack, Pane::Stack),
        ] {
            self.pane(area, pane, PanelStyle::Box);
        }
    }

    fn stage(&mut self, area: Rect) {
        stage_summary::draw(self.frame, area, self.screen, self.theme);
    }

    fn pane(&mut self, area: Rect, pane: Pane, style: PanelStyle) {
        self.panel(area, pane, style, &[]);
    }

    /// Draws the panes that share one place: the one that the user chose last.
    fn tabs(&mut self, area: Rect, tabs: &'static [Pane], style: PanelStyle) {
        let panes = self.screen.panes();
        let chosen = [panes.tab(), panes.under()].into_iter().find(|pane| tabs.contains(pane));
        self.panel(area, chosen.unwrap_or(tabs[0]), style, tabs);
    }

    fn panel(&mut self, area: Rect, pane: Pane, style: PanelStyle, tabs: &'static [Pane]) {
        let area = match pane == Pane::Source && self.screen.panes().shows_tikv() && area.width >= BESIDE {
            true => self.own_code(area, style),
            false => area,
        };
        let content = content(self.screen, self.theme, pane, panel::inner(area, style));
        let panel = Panel { screen: self.screen, theme: self.theme, pane, style, tabs };
        let (drawn, tabs) = panel.draw(self.frame, area, content);
        self.drawn.panes[pane as usize] = drawn;
        self.drawn.tabs.extend(tabs);
    }
}

impl Drawing<'_, '_> {
    /// Draws our code in the left half of `area`; returns the right half, for TiKV's.
    fn own_code(&mut self, area: Rect, style: PanelStyle) -> Rect {
        let [left, right] = Layout::horizontal([Constraint::Fill(1), Constraint::Fill(1)]).areas(area);
        let inner = panel::inner(left, style);
        let content = source::own(self.screen, self.theme, inner.width.into(), inner.height.into());
        let panel = Panel { screen: self.screen, theme: self.theme, pane: Pane::Source, style, tabs: &[] };
        panel.draw(self.frame, left, content);
        right
    }
}

fn content(screen: &Screen, theme: Theme, pane: Pane, inner: Rect) -> Content {
    match pane {
        Pane::Path => path::content(screen, theme, inner.width.into(), inner.height.into()),
        Pane::Source => source::content(screen, theme, inner.width.into(), inner.height.into()),
        Pane::Stack => stack::content(screen, theme, inner.width.into(), inner.height.into()),
        Pane::State => state::content(screen, theme, inner.width.into(), inner.height.into()),
        Pane::Log => log(screen, inner.height.into()),
    }
}

fn log(screen: &Screen, height: usize) -> Content {
    let lines: Vec<Line<'static>> = screen.lines(Pane::Log).into_iter().map(Line::from).collect();
    Content { offset: lines.len().saturating_sub(height), lines, ..Content::default() }
}
