//! Makes text printable and marks matches. Widths are in terminal columns.
use std::borrow::Cow;

use ratatui::{
    style::Style,
    text::{Line, Span},
    widgets::Paragraph,
};
use tracepoints::printable::printable;
pub use tracepoints::printable::{fit, fit_end, pad, pad_left, width, wrap};

use crate::state::search;

/// Makes lines printable for drawing: the terminal obeys no control character of a name or a key.
pub fn paragraph(lines: Vec<Line<'static>>) -> Paragraph<'static> {
    Paragraph::new(lines.into_iter().map(clean).collect::<Vec<_>>())
}

/// Escapes the control characters of a line; see [`paragraph`].
pub fn clean(mut line: Line<'static>) -> Line<'static> {
    for span in &mut line.spans {
        if let Cow::Owned(shown) = printable(&span.content) {
            span.content = shown.into();
        }
    }
    line
}

/// Styles the matches of `query` in a line.
pub fn mark(line: Line<'static>, query: &str, style: Style) -> Line<'static> {
    let text: String = line.spans.iter().map(|s| s.content.as_ref()).collect();
    let found = search::ranges(&text, query);
    if found.is_empty() {
        return line;
    }
    let (mut spans, mut at) = (Vec::new(), 0);
    for span in line.spans {
        let end = at + span.content.len();
        let mut from = at;
        for (a, b) in
            found.iter().map(|(a, b)| ((*a).clamp(at, end), (*b).clamp(at, end))).filter(|(a, b)| a < b)
        {
            spans.push(Span::styled(text[from..a].to_owned(), span.style));
            spans.push(Span::styled(text[a..b].to_owned(), span.style.patch(style)));
            from = b;
        }
        spans.push(Span::styled(text[from..end].to_owned(), span.style));
        at = end;
    }
    spans.retain(|s| !s.content.is_empty());
    Line { spans, ..line }
}

/// Draws a bar of `share` (0 to 1) of `width` columns, in eighths; a share above 0 is at least one eighth.
pub fn bar(share: f64, width: usize) -> String {
    const EIGHTHS: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    let mut eighths = (share.clamp(0.0, 1.0) * width as f64 * 8.0).round() as usize;
    if share > 0.0 {
        eighths = eighths.max(1);
    }
    format!("{}{}", "█".repeat(eighths / 8), EIGHTHS[eighths % 8])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bar_shows_its_share() {
        assert_eq!((bar(0.5, 4), bar(0.0001, 4), bar(0.0, 4)), ("██".into(), "▏".into(), String::new()));
    }

    #[test]
    fn control_characters_are_escaped() {
        let line = clean(Line::from(vec![Span::raw("a\x1b[2J"), Span::raw("gnp\u{202e}exe")]));
        assert_eq!(line.to_string(), "a\\x1b[2Jgnp\\u{202e}exe");
    }

    #[test]
    fn marks_split_spans_and_keep_the_text() {
        let line = Line::from(vec![Span::raw("ab"), Span::raw("cdcd")]);
        let marked = mark(line, "bcd", Style::new().bold());
        let shown: Vec<_> =
            marked.spans.iter().map(|s| (s.content.as_ref(), s.style == Style::new().bold())).collect();
        assert_eq!(shown, [("a", false), ("b", true), ("cd", true), ("cd", false)]);
    }
}
