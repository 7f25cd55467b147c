//! Text that a terminal shows and does not obey: foreign bytes (keys, names, messages of servers) are in what is printed.

use std::borrow::Cow;

use tracepoints::printable::printable_lines;

/// `text`, of several lines, with everything escaped that steers a terminal, and every byte that is no UTF-8 as `\xNN`. Plain
/// text is not copied.
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
    fn what_steers_a_terminal_is_escaped_and_nothing_else() {
        let text = |bytes: &[u8]| String::from_utf8(printable(bytes).into_owned()).unwrap();
        assert_eq!(text(b"a\n\tb\\x1b \"z\""), "a\n\tb\\x1b \"z\"");
        let steered = text(b"\x1b[2J\x1b]0;title\x07\r\x7f\x9b31m\xff");
        assert!(steered.bytes().all(|byte| (0x20..0x7f).contains(&byte)), "{steered}");
        assert!(steered.contains("\\x1b[2J") && steered.ends_with("\\x9b31m\\xff"), "{steered}");
        assert_eq!(text("鍵 é".as_bytes()), "鍵 é");
        assert!(!text("\u{9b}31m \u{202e}".as_bytes()).contains(['\u{9b}', '\u{202e}']));
    }
}
