//! Measures, cuts and pads text in terminal columns.
//!
//! Columns are counted as terminals and ratatui do, by grapheme: `日` takes two, a combining accent none, a
//! family emoji two. Every function first makes its text [`printable`].
use unicode_segmentation::UnicodeSegmentation as _;
use unicode_width::UnicodeWidthStr as _;

use super::printable;

/// Returns the number of columns of `text`.
#[must_use]
pub fn width(text: &str) -> usize {
    measure(&printable(text))
}

fn measure(text: &str) -> usize {
    if text.is_ascii() { text.len() } else { text.graphemes(true).map(|g| g.width()).sum() }
}

/// Cuts text to `columns`, with `…` for the removed part.
#[must_use]
pub fn fit(text: &str, columns: usize) -> String {
    let text = printable(text);
    if measure(&text) <= columns {
        return text.into_owned();
    }
    let Some(room) = columns.checked_sub(1) else { return String::new() };
    let mut out = String::new();
    take(text.graphemes(true), room).for_each(|g| out.push_str(g));
    out.push('…');
    out
}

/// Cuts text at the front, since the end of a path is more useful than its beginning.
#[must_use]
pub fn fit_end(text: &str, columns: usize) -> String {
    let text = printable(text);
    if measure(&text) <= columns {
        return text.into_owned();
    }
    let Some(room) = columns.checked_sub(1) else { return String::new() };
    let kept: usize = take(text.graphemes(true).rev(), room).map(str::len).sum();
    format!("…{}", &text[text.len() - kept..])
}

/// The first graphemes that fit into `room` columns together.
fn take<'a>(all: impl Iterator<Item = &'a str>, room: usize) -> impl Iterator<Item = &'a str> {
    let mut left = room;
    all.take_while(move |g| {
        let fits = g.width() <= left;
        left = left.saturating_sub(g.width());
        fits
    })
}

/// Cuts or pads to exactly `columns`.
#[must_use]
pub fn pad(text: &str, columns: usize) -> String {
    let mut text = fit(text, columns);
    text.extend(std::iter::repeat_n(' ', columns.saturating_sub(measure(&text))));
    text
}

/// Cuts, or pads on the left, to exactly `columns`.
#[must_use]
pub fn pad_left(text: &str, columns: usize) -> String {
    let text = fit(text, columns);
    format!("{}{text}", " ".repeat(columns.saturating_sub(measure(&text))))
}

/// Breaks text at white space into lines of at most `columns`; a longer word is cut.
#[must_use]
pub fn wrap(text: &str, columns: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(line) if measure(line) + 1 + width(word) <= columns => {
                line.push(' ');
                line.push_str(&printable(word));
            }
            _ => lines.push(fit(word, columns)),
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn columns_are_counted_as_a_terminal_does() {
        for (text, columns) in [
            ("abc", 3),
            ("日本", 4),
            ("e\u{301}", 1),
            ("\u{301}", 0),
            ("👩\u{200d}👩\u{200d}👧", 2),
            ("🇩🇪", 2),
            ("ｱ", 1),
            ("\x1b[m", 6),
            ("\u{202e}", 8),
        ] {
            assert_eq!(width(text), columns, "{text:?}");
        }
    }

    #[test]
    fn text_is_cut_between_graphemes() {
        assert_eq!(
            (fit("abcdef", 4), fit("abc", 4), fit("abc", 0)),
            ("abc…".into(), "abc".into(), String::new())
        );
        assert_eq!((fit("日本語", 4), pad("日本語", 4)), ("日…".into(), "日… ".into()));
        assert_eq!((fit_end("abcdef", 4), fit_end("日本語", 4)), ("…def".into(), "…語".into()));
        assert_eq!((pad("日", 3), pad_left("日", 3)), ("日 ".into(), " 日".into()));
        assert_eq!(fit("e\u{301}e\u{301}e\u{301}", 2), "e\u{301}…");
        assert_eq!(wrap("aa 日 cc\x1b", 5), ["aa 日", "cc\\x…"]);
    }

    proptest! {
        #[test]
        fn a_cell_is_as_wide_as_it_must_be(text in any::<String>(), columns in 0..40usize) {
            prop_assert_eq!(width(&pad(&text, columns)), columns);
            prop_assert_eq!(width(&pad_left(&text, columns)), columns);
            prop_assert!(width(&fit(&text, columns)) <= columns);
            prop_assert!(width(&fit_end(&text, columns)) <= columns);
            prop_assert!(wrap(&text, columns).iter().all(|l| width(l) <= columns));
        }
    }
}
