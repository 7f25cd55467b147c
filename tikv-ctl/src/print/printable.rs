//! Makes output safe for a terminal: it contains foreign bytes such as keys, names and messages of servers.
use std::borrow::Cow;

use tracepoints::printable::printable_lines;

/// Escapes terminal control characters in `text`, which may have several lines, and writes bytes that are not
/// UTF-8 as `\xNN`. Does not copy plain text.
pub fn printable(text: &[u8]) -> Cow<'_, [u8]> {
    if text.iter().all(|byte| matches!(byte, b'\n' | b'\t' | 0x20..=0x7e)) {
        return Cow::Borrowed(text);
    }
    let mut out = Vec::with_capacity(text.len() + 16);
    for chunk in text.utf8_chunks() {
        out.extend_from_slice(printable_lines(chunk.valid()).as_bytes());
        chunk.invalid().iter().for_each(|byte| out.extend_from_slice(format!("\\x{byte:02x}").as_bytes()));
    }
    Cow::Owned(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_terminal_control_characters_are_escaped() {
        let text = |bytes: &[u8]| String::from_utf8(printable(bytes).into_owned()).unwrap();
        assert_eq!(text(b"a\n\tb\\x1b \"z\""), "a\n\tb\\x1b \"z\"");
        let escaped = text(b"\x1b[2J\x1b]0;title\x07\r\x7f\x9b31m\xff");
        assert!(escaped.bytes().all(|byte| (0x20..0x7f).contains(&byte)), "{escaped}");
        assert!(escaped.contains("\\x1b[2J") && escaped.ends_with("\\x9b31m\\xff"), "{escaped}");
        assert_eq!(text("鍵 é".as_bytes()), "鍵 é");
        assert!(!text("\u{9b}31m \u{202e}".as_bytes()).contains(['\u{9b}', '\u{202e}']));
    }
}
