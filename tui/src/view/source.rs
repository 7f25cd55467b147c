//! Draws the source pane: code with its current line, or the catalogue's entry for TiKV's function.
use ratatui::text::{Line, Span};

use super::{
    panel::{Content, centre},
    text,
    theme::Theme,
};
use crate::state::{Screen, highlight::CodeLine};

/// Formats the lines of the pane.
pub fn content(screen: &Screen, theme: Theme, width: usize, height: usize) -> Content {
    let document = screen.document();
    let fixed = info(&document.info, theme, width);
    let height = height.saturating_sub(fixed.len());
    let digits = document.lines.len().to_string().len();
    let lines: Vec<_> = document
        .lines
        .iter()
        .enumerate()
        .map(|(i, l)| code(l, i, document.current == Some(i), digits, theme))
        .collect();
    let offset = document.current.map_or(0, |c| centre(c, height, lines.len()));
    Content { title: document.title.clone(), fixed, lines, offset }
}

fn code(line: &CodeLine, i: usize, current: bool, digits: usize, theme: Theme) -> Line<'static> {
    let number = format!("{:>digits$} ", i + 1);
    let mut spans = if current {
        vec![Span::styled("▶", theme.here()), Span::styled(number, theme.here())]
    } else {
        vec![Span::raw(" "), Span::styled(number, theme.dim())]
    };
    for (class, piece) in line {
        let style = theme.code(*class);
        let style = if current {
            style.patch(theme.strong()).add_modifier(ratatui::style::Modifier::UNDERLINED)
        } else {
            style
        };
        // The underline of the current line omits the indentation.
        let body = piece.trim_start_matches(' ');
        let indent = piece.len() - body.len();
        spans.push(Span::raw(piece[..indent].to_owned()));
        spans.push(Span::styled(body.to_owned(), style));
    }
    Line::from(spans)
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
