//! Draws a pane: its frame, its title or tabs, and its lines from the scroll position on.
use ratatui::{
    Frame,
    layout::Rect,
    text::{Line, Span},
    widgets::{Block, BorderType, Borders, Paragraph},
};

use super::{text, theme::Theme};
use crate::state::{Pane, Screen, screen::Drawn};

/// The frame of a pane.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Style {
    /// A frame all round.
    Box,
    /// A line above the pane, where there are few rows.
    Rule,
}

/// The contents of a pane.
#[derive(Default)]
pub struct Content {
    /// Text after the pane's name.
    pub title: String,
    /// Lines that do not scroll.
    pub fixed: Vec<Line<'static>>,
    pub lines: Vec<Line<'static>>,
    /// First line to show unless the user has scrolled.
    pub offset: usize,
}

/// The offset that puts `line` in the middle of `height` lines out of `total`.
pub fn centre(line: usize, height: usize, total: usize) -> usize {
    line.saturating_sub(height / 2).min(total.saturating_sub(height))
}

fn block(style: Style) -> Block<'static> {
    match style {
        Style::Box => Block::bordered(),
        Style::Rule => Block::new().borders(Borders::TOP),
    }
}

/// The area inside of a pane's frame.
pub fn inner(area: Rect, style: Style) -> Rect {
    block(style).inner(area)
}

/// Draws a pane, and records its position in the screen's state.
#[allow(clippy::too_many_arguments)]
pub fn draw(
    frame: &mut Frame<'_>,
    area: Rect,
    screen: &mut Screen,
    theme: Theme,
    pane: Pane,
    style: Style,
    content: Content,
    tabs: bool,
) {
    let focused = screen.focus == pane;
    let at = inner(area, style);
    let fixed = content.fixed.len().min(at.height.into());
    let height = usize::from(at.height) - fixed;
    let total = content.lines.len();
    let max_offset = total.saturating_sub(height);
    let offset = screen.scroll[pane as usize].unwrap_or(content.offset).min(max_offset);
    let mut title = if tabs { tab_line(screen, theme, area, pane) } else { vec![name(theme, pane, focused)] };
    // The source pane has line numbers instead.
    let place = if total > height && pane != Pane::Source {
        format!(" {}-{} of {total} ", offset + 1, offset + height)
    } else {
        String::new()
    };
    let used = Line::from(title.clone()).width() + text::width(&place) + 4;
    if !content.title.is_empty() {
        let room = usize::from(area.width).saturating_sub(used);
        title.push(Span::styled(
            format!(" {} ", text::fit_end(&content.title, room.saturating_sub(2))),
            theme.plain(),
        ));
    }
    let border = if focused { theme.strong() } else { theme.dim() };
    let kind = if focused { BorderType::Thick } else { BorderType::Rounded };
    let block = block(style).border_type(kind).border_style(border).title(Line::from(title));
    let block = block.title(Line::from(Span::styled(place, theme.dim())).right_aligned());
    frame.render_widget(block, area);
    let [x, y] = [at.x, at.y + fixed as u16];
    let body = Rect { x, y, width: at.width, height: height as u16 };
    screen.drawn[pane as usize] =
        Drawn { area: (body.x, body.y, body.width, body.height), offset, max_offset };
    frame.render_widget(text::paragraph(content.fixed), Rect { height: fixed as u16, ..at });
    let query = if focused { screen.query.as_str() } else { "" };
    let shown = content.lines.into_iter().skip(offset).take(height);
    let lines: Vec<Line<'static>> = shown.map(|l| text::mark(text::clean(l), query, theme.found())).collect();
    let sideways = screen.sideways[pane as usize] as u16;
    frame.render_widget(Paragraph::new(lines).scroll((0, sideways)), body);
}

fn name(theme: Theme, pane: Pane, focused: bool) -> Span<'static> {
    let text = format!(" {} {} ", pane as usize + 1, pane.name());
    Span::styled(text, if focused { theme.current() } else { theme.strong() })
}

/// Formats the tabs of the panes that share one place; the shown one is in brackets.
fn tab_line(screen: &mut Screen, theme: Theme, area: Rect, shown: Pane) -> Vec<Span<'static>> {
    let mut spans = Vec::new();
    let mut x = area.x + 1;
    for pane in Pane::ALL.into_iter().skip(1) {
        let label = format!("{} {}", pane as usize + 1, pane.name());
        let (text, style) = if pane == shown {
            let style = if screen.focus == pane { theme.current() } else { theme.strong() };
            (format!("[{label}]"), style)
        } else {
            (format!(" {label} "), theme.dim())
        };
        let width = text::width(&text) as u16;
        screen.tabs.push((pane, x, area.y, width));
        x += width;
        spans.push(Span::styled(text, style));
    }
    spans
}
