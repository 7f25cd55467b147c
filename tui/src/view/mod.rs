//! Draws the screen, and records the position of each pane for the mouse and for scrolling.
mod card;
mod flame;
mod frame;
mod help;
mod palette;
mod panel;
mod path;
mod source;
mod stack;
mod state;
mod text;
pub mod theme;

use ratatui::{
    Frame,
    layout::{Constraint, Layout, Rect},
    text::Line,
};

use crate::state::{Pane, Screen, overlay::Overlay};
use panel::{Content, Style as PanelStyle};
use theme::Theme;

/// Minimum columns and rows; on a smaller terminal only a notice is drawn.
pub const MIN_SIZE: (u16, u16) = (60, 16);

/// Draws the whole screen.
pub fn draw(frame: &mut Frame<'_>, screen: &mut Screen) {
    let area = frame.area();
    screen.drawn = Default::default();
    screen.tabs.clear();
    if area.width < MIN_SIZE.0 || area.height < MIN_SIZE.1 {
        return too_small(frame, area);
    }
    let theme = Theme::new(screen.options.color);
    let [head, body, foot] =
        Layout::vertical([Constraint::Length(1), Constraint::Fill(1), Constraint::Length(1)]).areas(area);
    frame.render_widget(frame::head(screen, theme, head.width), head);
    match &screen.overlay {
        Overlay::Flame(view) => flame::draw(frame, body, screen, theme, view),
        _ => panes(frame, body, screen, theme),
    }
    frame.render_widget(frame::foot(screen, theme, foot.width), foot);
    match screen.overlay.clone() {
        Overlay::Help { scroll } => help::draw(frame, body, screen, theme, scroll),
        Overlay::Palette { query, selected } => palette::draw(frame, body, screen, theme, &query, selected),
        _ => {}
    }
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

fn panes(frame: &mut Frame<'_>, body: Rect, screen: &mut Screen, theme: Theme) {
    if screen.zoom {
        let pane = screen.focus;
        show(frame, body, screen, theme, pane, PanelStyle::Box);
    } else if body.width >= 130 && body.height >= 34 {
        all(frame, body, screen, theme);
    } else if body.width >= 110 {
        let [left, right] = Layout::horizontal([Constraint::Length(50), Constraint::Fill(1)]).areas(body);
        let [top, rest] = Layout::vertical([Constraint::Length(5), Constraint::Fill(1)]).areas(right);
        show(frame, left, screen, theme, Pane::Path, PanelStyle::Box);
        card::draw(frame, top, screen, theme);
        tabbed(frame, rest, screen, theme, PanelStyle::Box);
    } else {
        let path = (body.height / 3).clamp(6, 14) + 1;
        let rows = [Constraint::Length(path), Constraint::Length(4), Constraint::Fill(1)];
        let [top, middle, rest] = Layout::vertical(rows).areas(body);
        show(frame, top, screen, theme, Pane::Path, PanelStyle::Rule);
        card::draw(frame, middle, screen, theme);
        tabbed(frame, rest, screen, theme, PanelStyle::Rule);
    }
}

/// Draws all panes: path and log at the left; the stage, source, state and stack at the right.
fn all(frame: &mut Frame<'_>, body: Rect, screen: &mut Screen, theme: Theme) {
    let left_width = (body.width * 3 / 10).clamp(48, 60);
    let [left, right] = Layout::horizontal([Constraint::Length(left_width), Constraint::Fill(1)]).areas(body);
    let [path, log] = Layout::vertical([Constraint::Fill(1), Constraint::Length(9)]).areas(left);
    let rows = [Constraint::Length(5), Constraint::Fill(1), Constraint::Fill(1)];
    let [top, source, bottom] = Layout::vertical(rows).areas(right);
    let [state, stack] = Layout::horizontal([Constraint::Max(74), Constraint::Fill(1)]).areas(bottom);
    show(frame, path, screen, theme, Pane::Path, PanelStyle::Box);
    show(frame, log, screen, theme, Pane::Log, PanelStyle::Box);
    card::draw(frame, top, screen, theme);
    show(frame, source, screen, theme, Pane::Source, PanelStyle::Box);
    show(frame, state, screen, theme, Pane::State, PanelStyle::Box);
    show(frame, stack, screen, theme, Pane::Stack, PanelStyle::Box);
}

fn show(frame: &mut Frame<'_>, area: Rect, screen: &mut Screen, theme: Theme, pane: Pane, style: PanelStyle) {
    let content = content(screen, theme, pane, panel::inner(area, style));
    panel::draw(frame, area, screen, theme, pane, style, content, false);
}

fn tabbed(frame: &mut Frame<'_>, area: Rect, screen: &mut Screen, theme: Theme, style: PanelStyle) {
    let pane = screen.tab;
    let content = content(screen, theme, pane, panel::inner(area, style));
    panel::draw(frame, area, screen, theme, pane, style, content, true);
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
    let lines: Vec<Line<'static>> = screen.log.iter().map(|l| Line::from(l.clone())).collect();
    Content { offset: lines.len().saturating_sub(height), lines, ..Content::default() }
}
