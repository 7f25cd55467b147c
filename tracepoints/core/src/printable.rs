//! Makes foreign text safe to print: names, keys and values never reach a terminal as commands.
//!
//! A terminal obeys C0 and C1 control characters and DEL, and reorders a line after bidirectional overrides.
//! [`printable`] replaces each of them with an escape. Other valid UTF-8 is unchanged, so text in any
//! language stays readable. [`width`], [`fit`] and [`pad`] measure in terminal columns, so that tables stay
//! aligned. [`Writer`] guards a whole output.
mod columns;
mod output;
mod writer;

use std::{borrow::Cow, fmt::Write as _};

pub use columns::{fit, fit_end, pad, pad_left, width, wrap};
pub use output::{note, print, unless_closed};
pub use writer::Writer;

/// Whether a terminal may obey `c` or show nothing for it: such a character is shown as an escape.
///
/// These are the control characters (C0, DEL, C1), bidirectional marks, embeddings, overrides and isolates,
/// line and paragraph separators, and other invisible format characters. The two joiners stay: scripts and
/// emoji need them.
#[must_use]
pub const fn needs_escape(c: char) -> bool {
    matches!(c,
        '\0'..='\x1f' | '\x7f'..='\u{9f}' | '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}' | '\u{200e}' | '\u{200f}'
        | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0001}')
}

/// Returns one line of text with an escape for every character of [`needs_escape`]: `\n`, `\r`, `\t`, `\x1b`,
/// `\u{202e}`.
///
/// The result has no line end, and a second call does not change it.
#[must_use]
pub fn printable(text: &str) -> Cow<'_, str> {
    escaped(text, Form::Line)
}

/// Escapes like [`printable`], but keeps line ends and tabs, for text of several lines.
#[must_use]
pub fn printable_lines(text: &str) -> Cow<'_, str> {
    escaped(text, Form::Lines)
}

/// Escapes like [`printable`] for complete JSON text: keeps line ends, and uses JSON's escapes in strings,
/// `\u001b`.
#[must_use]
pub fn printable_json(text: &str) -> Cow<'_, str> {
    escaped(text, Form::Json)
}

/// Escapes like [`printable`] for bytes: valid UTF-8 stays readable, every other byte is `\xNN`.
#[must_use]
pub fn printable_bytes(bytes: &[u8]) -> Cow<'_, str> {
    if let Ok(text) = std::str::from_utf8(bytes) {
        return printable(text);
    }
    let mut out = String::with_capacity(bytes.len() * 2);
    push_bytes(bytes, Form::Line, &mut out);
    Cow::Owned(out)
}

/// Escapes keys and values as TiKV does (`keys::escape`), but keeps readable UTF-8: `\303` only for bytes
/// that are not text. `keys::unescape` reads the result back.
#[must_use]
pub fn escape_readable(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len());
    for chunk in bytes.utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '"' | '\\' => out.extend(['\\', c]),
                '\n' | '\r' | '\t' => Form::Line.push(c, &mut out),
                c if needs_escape(c) => push_octal(c.encode_utf8(&mut [0; 4]).as_bytes(), &mut out),
                c => out.push(c),
            }
        }
        push_octal(chunk.invalid(), &mut out);
    }
    out
}

/// Returns at most `limit` bytes, without an incomplete character at the end.
#[must_use]
pub fn head(bytes: &[u8], limit: usize) -> &[u8] {
    match bytes.get(..limit) {
        Some(cut) if bytes.len() > limit => whole_chars(cut),
        _ => bytes,
    }
}

/// Removes an incomplete character from the end of truncated bytes.
#[must_use]
pub fn whole_chars(cut: &[u8]) -> &[u8] {
    match std::str::from_utf8(cut) {
        Err(e) if e.error_len().is_none() => &cut[..e.valid_up_to()],
        _ => cut,
    }
}

fn push_octal(bytes: &[u8], out: &mut String) {
    for byte in bytes {
        // Writing to a String cannot fail.
        let _ = write!(out, "\\{byte:03o}");
    }
}

/// The kind of text to print.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// One line: line ends are escaped, too.
    Line,
    /// Several lines: line ends and tabs stay.
    Lines,
    /// JSON: line ends stay, escapes are those of JSON's strings.
    Json,
}

impl Form {
    fn escapes(self, c: char) -> bool {
        match (self, c) {
            (Form::Lines, '\n' | '\t') | (Form::Json, '\n') => false,
            _ => needs_escape(c),
        }
    }

    fn push(self, c: char, out: &mut String) {
        // Writing to a String cannot fail.
        let _ = match (self, c) {
            (Form::Json, c) => {
                c.encode_utf16(&mut [0; 2]).iter().try_for_each(|unit| write!(out, "\\u{unit:04x}"))
            }
            (_, '\n') => out.write_str("\\n"),
            (_, '\r') => out.write_str("\\r"),
            (_, '\t') => out.write_str("\\t"),
            (_, c) if c.is_ascii() => write!(out, "\\x{:02x}", u32::from(c)),
            (_, c) => write!(out, "\\u{{{:x}}}", u32::from(c)),
        };
    }
}

fn escaped(text: &str, form: Form) -> Cow<'_, str> {
    let Some(first) = text.find(|c| form.escapes(c)) else { return Cow::Borrowed(text) };
    let mut out = String::with_capacity(text.len() + 16);
    out.push_str(&text[..first]);
    push(&text[first..], form, &mut out);
    Cow::Owned(out)
}

fn push(text: &str, form: Form, out: &mut String) {
    for c in text.chars() {
        if form.escapes(c) { form.push(c, out) } else { out.push(c) }
    }
}

/// Appends bytes; invalid UTF-8 becomes `\xNN`, or U+FFFD in JSON, which has no such escape.
fn push_bytes(bytes: &[u8], form: Form, out: &mut String) {
    for chunk in bytes.utf8_chunks() {
        push(chunk.valid(), form, out);
        if form == Form::Json && !chunk.invalid().is_empty() {
            out.push(char::REPLACEMENT_CHARACTER);
            continue;
        }
        for byte in chunk.invalid() {
            // Writing to a String cannot fail.
            let _ = write!(out, "\\x{byte:02x}");
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn terminal_commands_are_escaped() {
        assert_eq!(printable("a\x1b[31mred\x07"), "a\\x1b[31mred\\x07");
        assert_eq!(printable("\u{9b}2J\u{7f}\0"), "\\u{9b}2J\\x7f\\x00");
        assert_eq!(printable("a\nb\tc\r"), "a\\nb\\tc\\r");
        assert_eq!(printable("gnp\u{202e}exe \u{2066}x\u{2069}"), "gnp\\u{202e}exe \\u{2066}x\\u{2069}");
        assert_eq!(printable_lines("a\n\tb\x1b"), "a\n\tb\\x1b");
    }

    #[test]
    fn text_of_any_language_is_unchanged() {
        for text in [
            "",
            "plain",
            "Zürich",
            "日本語",
            "שלום",
            "e\u{301}",
            "👩\u{200d}👩\u{200d}👧",
            "नमस्ते",
            "\u{200c}می",
        ] {
            assert!(matches!(printable(text), Cow::Borrowed(same) if same == text), "{text}");
        }
    }

    #[test]
    fn bytes_that_are_no_text_are_escaped_one_by_one() {
        assert_eq!(printable_bytes(b"k\xffz\xc3\xbc\xe2\x82\x1b"), "k\\xffzü\\xe2\\x82\\x1b");
    }

    #[test]
    fn keys_are_escaped_as_in_tikv_except_for_text() {
        assert_eq!(escape_readable(b"k\"\\\n\x00\xff"), r#"k\"\\\n\000\377"#);
        assert_eq!((head("aü".as_bytes(), 2), head(b"a\xc3", 2)), (&b"a"[..], &b"a\xc3"[..]));
        assert_eq!(escape_readable("ü日\u{9b}\u{202e}".as_bytes()), r"ü日\302\233\342\200\256");
    }

    #[test]
    fn json_stays_json() {
        let value = serde_json::json!({ "k\u{9b}": "a\x1b\u{7f}\u{202e}\u{e0001} ü\n" });
        let text = format!("{value}\n");
        let shown = printable_json(&text);
        assert_eq!(serde_json::from_str::<serde_json::Value>(&shown).unwrap(), value);
        assert!(shown.ends_with("}\n") && !shown.trim_end().contains(needs_escape), "{shown}");
    }

    proptest! {
        #[test]
        fn nothing_a_terminal_obeys_is_left(text in any::<String>(), bytes in any::<Vec<u8>>()) {
            let shown = printable(&text);
            prop_assert!(!shown.contains(needs_escape));
            prop_assert_eq!(printable(&shown), &*shown);
            prop_assert!(!printable_bytes(&bytes).contains(needs_escape));
            prop_assert_eq!(printable_bytes(text.as_bytes()), shown);
        }
    }
}
