//! Draws the source pane: code with its current line, or the catalogue's entry for TiKV's function.
use ratatui::{
    style::{Modifier, Style},
    text::{Line, Span},
};

use super::{
    panel::{Content, centre},
    text,
    theme::Theme,
};
use crate::state::{
    Pane, Screen,
    cursor::{Cursor, Name, names},
    document::Document,
    highlight::CodeLine,
};

/// Formats the lines of the pane.
pub fn content(screen: &Screen, theme: Theme, width: usize, height: usize) -> Content {
    let cursor = screen.code_cursor().filter(|_| screen.panes().focus() == Pane::Source);
    lines(&screen.document(), cursor, screen.panes().cursor(), theme, (width, height))
}

/// Formats our code, to show it beside TiKV's.
pub fn own(screen: &Screen, theme: Theme, width: usize, height: usize) -> Content {
    let content = lines(&screen.own_document(), None, None, theme, (width, height));
    Content { title: format!("ours {}", content.title), ..content }
}

/// `shown` is the cursor to draw, `moved` the one that the user moved.
fn lines(
    document: &Document,
    shown: Option<Cursor>,
    moved: Option<Cursor>,
    theme: Theme,
    (width, height): (usize, usize),
) -> Content {
    let fixed = info(&document.info, theme, width);
    let height = height.saturating_sub(fixed.len());
    let digits = document.lines.len().to_string().len();
    let lines: Vec<_> = document
        .lines
        .iter()
        .enumerate()
        .map(|(i, l)| {
            let at = shown.filter(|c| c.line == i);
            code(l, &Look::at(document, i, at), &format!("{:>digits$} ", i + 1), theme)
        })
        .collect();
    let middle = moved.map(|c| c.line).or(document.current);
    let offset = middle.map_or(0, |c| centre(c, height, lines.len()));
    Content { title: document.title.clone(), fixed, lines, offset, part: None }
}

/// The marks of a line.
struct Look {
    /// First line of the statement.
    current: bool,
    /// A further line of the statement.
    within: bool,
    /// A stamp, which is not part of the engine's work.
    stamp: bool,
    /// The cursor is on this line.
    cursor: Option<Cursor>,
}

impl Look {
    fn at(document: &Document, line: usize, cursor: Option<Cursor>) -> Self {
        let from = document.current.unwrap_or(usize::MAX);
        Self {
            current: line == from,
            within: line > from && line <= document.last,
            stamp: document.stamps.iter().any(|(first, last)| (*first..=*last).contains(&line)),
            cursor,
        }
    }

    fn sign(&self, theme: Theme) -> Span<'static> {
        match self {
            Look { current: true, .. } => Span::styled("▶", theme.here()),
            Look { cursor: Some(_), .. } => Span::styled("›", theme.here()),
            Look { within: true, .. } => Span::styled("│", theme.here()),
            _ => Span::raw(" "),
        }
    }
}

fn code(line: &CodeLine, look: &Look, number: &str, theme: Theme) -> Line<'static> {
    let style = if look.current { theme.here() } else { theme.dim() };
    let mut spans = vec![look.sign(theme), Span::styled(number.to_owned(), style)];
    let name = look.cursor.and_then(|cursor| names(line).into_iter().nth(cursor.name));
    let mut at = 0;
    for (class, piece) in line {
        let style = match look {
            Look { current: true, .. } => {
                theme.code(*class).patch(theme.strong()).add_modifier(Modifier::UNDERLINED)
            }
            Look { stamp: true, .. } => theme.dim(),
            _ => theme.code(*class),
        };
        // The underline of the current line omits the indentation.
        let body = piece.trim_start_matches(' ');
        let indent = piece.len() - body.len();
        spans.push(Span::raw(piece[..indent].to_owned()));
        spans.extend(cut(body, at + indent, name.as_ref(), style, theme));
        at += piece.chars().count();
    }
    Line::from(spans)
}

/// Splits a piece that begins at column `at` where the cursor's name is.
fn cut(piece: &str, at: usize, name: Option<&Name>, style: Style, theme: Theme) -> Vec<Span<'static>> {
    let chars: Vec<char> = piece.chars().collect();
    let inside = |n: &&Name| n.column >= at && n.column + n.text.chars().count() <= at + chars.len();
    let Some(name) = name.filter(inside) else { return vec![Span::styled(piece.to_owned(), style)] };
    let (from, to) = (name.column - at, name.column - at + name.text.chars().count());
    let text = |range: &[char]| range.iter().collect::<String>();
    vec![
        Span::styled(text(&chars[..from]), style),
        Span::styled(text(&chars[from..to]), style.patch(theme.current())),
        Span::styled(text(&chars[to..]), style),
    ]
}

fn info(facts: &[(&'static str, String)], theme: Theme, width: usize) -> Vec<Line<'static>> {
    const COLUMN: usize = 10;
    let mut out = Vec::new();
    for (word, fact) in facts {
        for (i, part) in text::wrap(fact, width.saturating_sub(COLUMN + 1)).into_iter().enumerate() {
            let head = if i == 0 { *word } else { "" };
            out.push(Line::from(vec![
                Span::styled(format!(" {head:<COLUMN$}"), theme.key()),
                Span::raw(part),
            ]));
        }
    }
    out
}
