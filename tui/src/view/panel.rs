//! Draws a pane: its frame, its title or tabs, and its lines from the scroll position on.
use ratatui::{
    Frame,
    layout::Rect,
    text::{Line, Span},
    widgets::{Block, BorderType, Borders, Paragraph},
};

use super::{text, theme::Theme};
use crate::state::{
    Screen,
    panes::{Drawn, Pane, Tab},
};

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
    /// The number of the first of `lines`, from 0, and the number of all lines; `None`: `lines` are all.
    pub part: Option<(usize, usize)>,
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

/// A pane to draw.
#[derive(Clone, Copy)]
pub struct Panel<'a> {
    pub screen: &'a Screen,
    pub theme: Theme,
    pub pane: Pane,
    pub style: Style,
    /// The panes that share the place; their tabs are in the title.
    pub tabs: &'static [Pane],
}

impl Panel<'_> {
    /// Draws the pane. Returns its position, and the positions of its tabs.
    pub fn draw(self, frame: &mut Frame<'_>, area: Rect, content: Content) -> (Drawn, Vec<Tab>) {
        let at = inner(area, self.style);
        let fixed = content.fixed.len().min(at.height.into());
        let height = usize::from(at.height) - fixed;
        let (first, total) = content.part.unwrap_or((0, content.lines.len()));
        let max_offset = total.saturating_sub(height);
        let scrolled = self.screen.panes().scroll(self.pane);
        let offset = scrolled.unwrap_or(content.offset).min(max_offset);
        // The source pane has line numbers instead.
        let place = if total > height && self.pane != Pane::Source {
            format!(" {}-{} of {total} ", offset + 1, offset + height)
        } else {
            String::new()
        };
        let (title, tabs) = self.title(area, &content.title, text::width(&place));
        frame.render_widget(self.border(title, place), area);
        let body = Rect { y: at.y + fixed as u16, height: height as u16, ..at };
        frame.render_widget(text::paragraph(content.fixed), Rect { height: fixed as u16, ..at });
        let shown = content.lines.into_iter().skip(offset.saturating_sub(first)).take(height);
        let lines: Vec<Line<'static>> = shown.map(|l| self.marked(l)).collect();
        let sideways = self.screen.panes().sideways(self.pane) as u16;
        frame.render_widget(Paragraph::new(lines).scroll((0, sideways)), body);
        (Drawn { area: (body.x, body.y, body.width, body.height), offset, max_offset }, tabs)
    }

    fn is_focused(self) -> bool {
        self.screen.panes().focus() == self.pane
    }

    /// The pane's name or the tabs, and the content's title if there is room beside `place` columns.
    fn title(self, area: Rect, content: &str, place: usize) -> (Vec<Span<'static>>, Vec<Tab>) {
        let (mut title, tabs) = match self.tabs {
            [_, ..] => self.tab_line(area),
            [] => (vec![name(self.theme, self.pane, self.is_focused())], Vec::new()),
        };
        let used = Line::from(title.clone()).width() + place + 4;
        if !content.is_empty() {
            let room = usize::from(area.width).saturating_sub(used);
            let text = format!(" {} ", text::fit_end(content, room.saturating_sub(2)));
            title.push(Span::styled(text, self.theme.plain()));
        }
        (title, tabs)
    }

    fn border(self, title: Vec<Span<'static>>, place: String) -> Block<'static> {
        let (style, kind) = match self.is_focused() {
            true => (self.theme.strong(), BorderType::Thick),
            false => (self.theme.dim(), BorderType::Rounded),
        };
        let block = block(self.style).border_type(kind).border_style(style).title(Line::from(title));
        block.title(Line::from(Span::styled(place, self.theme.dim())).right_aligned())
    }

    fn marked(self, line: Line<'static>) -> Line<'static> {
        let query = if self.is_focused() { self.screen.query() } else { "" };
        text::mark(text::clean(line), query, self.theme.found())
    }

    /// Formats the tabs of the panes that share one place; the shown one is in brackets.
    fn tab_line(self, area: Rect) -> (Vec<Span<'static>>, Vec<Tab>) {
        let (mut spans, mut tabs, mut x) = (Vec::new(), Vec::new(), area.x + 1);
        for pane in self.tabs.iter().copied() {
            let label = format!("{} {}", pane as usize + 1, pane.name());
            let (text, style) = if pane == self.pane {
                let style = if self.is_focused() { self.theme.current() } else { self.theme.strong() };
                (format!("[{label}]"), style)
            } else {
                (format!(" {label} "), self.theme.dim())
            };
            let width = text::width(&text) as u16;
            tabs.push(Tab { pane, x, y: area.y, width });
            x += width;
            spans.push(Span::styled(text, style));
        }
        (spans, tabs)
    }
}

fn name(theme: Theme, pane: Pane, focused: bool) -> Span<'static> {
    let text = format!(" {} {} ", pane as usize + 1, pane.name());
    Span::styled(text, if focused { theme.current() } else { theme.strong() })
}
