//! Cutting, padding and marking of text.
use ratatui::{
    style::Style,
    text::{Line, Span},
};

use crate::state::search;

/// Cuts to `width` columns, with `…` where something is missing.
pub fn fit(text: &str, width: usize) -> String {
    if text.chars().count() <= width {
        return text.to_owned();
    }
    text.chars().take(width.saturating_sub(1)).chain(Some('…').filter(|_| width > 0)).collect()
}

/// Cuts at the front: the end of a path says more than its beginning.
pub fn fit_end(text: &str, width: usize) -> String {
    let n = text.chars().count();
    if n <= width {
        return text.to_owned();
    }
    Some('…').filter(|_| width > 0).into_iter().chain(text.chars().skip(n + 1 - width.max(1))).collect()
}

/// Cuts or pads to exactly `width` columns.
pub fn pad(text: &str, width: usize) -> String {
    format!("{:<width$}", fit(text, width))
}

pub fn pad_left(text: &str, width: usize) -> String {
    format!("{:>width$}", fit(text, width))
}

/// Breaks text into lines of at most `width` columns at spaces.
pub fn wrap(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if line.chars().count() + 1 + word.chars().count() <= width => {
                line.push(' ');
                line.push_str(word);
            }
            _ => lines.push(fit(word, width)),
        }
    }
    lines
}

/// Styles what matches `query` within a line.
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

/// A bar of eighths: `share` of `width` columns; anything above nothing shows.
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
    fn text_is_cut_to_its_columns() {
        assert_eq!(
            (fit("abcdef", 4), fit("abc", 4), fit("abc", 0)),
            ("abc…".into(), "abc".into(), String::new())
        );
        assert_eq!((fit_end("abcdef", 4), fit_end("abc", 3)), ("…def".into(), "abc".into()));
        assert_eq!(wrap("aa bb cc", 5), ["aa bb", "cc"]);
        assert_eq!((bar(0.5, 4), bar(0.0001, 4), bar(0.0, 4)), ("██".into(), "▏".into(), String::new()));
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
