//! Names in folded text, where `;` separates frames, a line end separates stacks, and a number at the end is
//! a count; a name may contain each of them.
//!
//! In memory such a character is replaced with a private Unicode character, so that stacks are texts that can
//! be joined and split at `;`. In a file it is written as other tools do (`:` for `;`), and a comment gives
//! the original name.
use std::borrow::Cow;

/// Base of hidden bytes: `b` becomes this plus `b`, at the end of the last private plane, which no font and
/// no tool uses.
const HIDDEN: u32 = 0x10_ff00;

/// A hidden `#`.
pub(crate) const HIDDEN_HASH: char = '\u{10ff23}';

/// First characters that make a line a comment or are skipped by readers: `#`, a space, a byte order mark.
pub(crate) const ODD_STARTS: [char; 3] = ['#', ' ', '\u{feff}'];

/// Name of a frame without a name.
pub const UNKNOWN: &str = "(unknown)";

/// Converts a frame's name to its form in a stack. Hidden characters stay hidden.
pub(crate) fn hide(name: &str) -> Cow<'_, str> {
    if name.is_empty() {
        return Cow::Borrowed(UNKNOWN);
    }
    let plain = |b: u8| b > b' ' && b != b';' && b != 0x7f;
    // Most names have no special character, and most others only have inner spaces.
    if name.bytes().all(plain) {
        return Cow::Borrowed(name);
    }
    let count = before_count(name);
    let special = |at: usize, c: char| c == ';' || c.is_ascii_control() || Some(at) == count;
    if !name.char_indices().any(|(at, c)| special(at, c)) {
        return Cow::Borrowed(name);
    }
    let hidden = |c: char| char::from_u32(HIDDEN + c as u32).unwrap_or(c);
    Cow::Owned(name.char_indices().map(|(at, c)| if special(at, c) { hidden(c) } else { c }).collect())
}

/// Returns the offset of the space before a number at the end: `worker 3` would be three samples of `worker`.
fn before_count(name: &str) -> Option<usize> {
    let space = name.rfind(' ')?;
    let word = &name[space + 1..];
    is_count(word).then_some(space)
}

/// Whether a word is a count: `12`, `1.5`, `2e3`, `-4`, `12,1,-3`.
pub(super) fn is_count(word: &str) -> bool {
    let one = |n: &str| {
        n.bytes().all(|b| matches!(b, b'0'..=b'9' | b'.' | b'-' | b'+' | b'e' | b'E'))
            && n.bytes().any(|b| b.is_ascii_digit())
            && n.parse::<f64>().is_ok_and(f64::is_finite)
    };
    word.split(',').all(one)
}

/// Whether a character is ASCII white space, or a zero, which some tools pad a buffer with.
pub(super) fn is_space(c: char) -> bool {
    matches!(c, ' ' | '\t' | '\n' | '\x0b' | '\x0c' | '\r' | '\0')
}

fn hidden(c: char) -> Option<char> {
    (c as u32).checked_sub(HIDDEN).filter(|b| *b < 0x80).and_then(char::from_u32)
}

pub(crate) fn has_hidden(text: &str) -> bool {
    // All hidden characters begin with these bytes in UTF-8.
    memchr::memmem::find(text.as_bytes(), b"\xf4\x8f\xbc").is_some()
        || memchr::memmem::find(text.as_bytes(), b"\xf4\x8f\xbd").is_some()
}

/// Restores the name of a frame, or all names of a whole text.
pub fn show(frame: &str) -> Cow<'_, str> {
    if !has_hidden(frame) {
        return Cow::Borrowed(frame);
    }
    Cow::Owned(frame.chars().map(|c| hidden(c).unwrap_or(c)).collect())
}

/// Converts the name to the form in other tools' folded text.
pub(crate) fn clean(frame: &str) -> String {
    let clean: String = frame
        .chars()
        .map(|c| match hidden(c) {
            Some(';') => ':',
            Some(' ') => '_',
            Some(_) => ' ',
            None => c,
        })
        .collect();
    let is_odd_start = |c: char| c == '\u{feff}' || is_space(c);
    let clean = clean.trim_start_matches(is_odd_start).trim_end_matches(is_space);
    let mut clean = clean.to_owned();
    if let Some(space) = before_count(&clean) {
        clean.replace_range(space..=space, "_");
    }
    if clean.is_empty() || clean.starts_with('#') { format!("_{clean}") } else { clean }
}

/// Restores names for the text of an XML document, in which `<`, `>`, `&` and quotes are already escaped:
/// control characters that XML cannot contain become their pictures.
pub(crate) fn show_in_xml(text: &str) -> Cow<'_, str> {
    let odd = |c: char| hidden(c).is_some() || (c.is_ascii_control() && !matches!(c, '\n' | '\r' | '\t'));
    if !text.contains(odd) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match hidden(c) {
            Some(c @ ('\n' | '\r' | '\t')) => out.push_str(&format!("&#{};", c as u32)),
            Some(c) if c.is_ascii_control() => out.push(picture(c)),
            Some(c) => out.push(c),
            None if odd(c) => out.push(picture(c)),
            None => out.push(c),
        }
    }
    Cow::Owned(out)
}

/// Returns the picture of a control character, U+241B for ESC.
fn picture(control: char) -> char {
    let at = if control == '\u{7f}' { 0x21 } else { control as u32 };
    char::from_u32(0x2400 + at).unwrap_or('\u{fffd}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hidden_names_are_restored_and_stay_hidden() {
        for name in [
            "a;b", "a\nb", "a e", "a -", "\x1b[1m", " a ", "worker 3", "a 1.5", "x -4", "é;ü", ";", " ",
            "#x", "a b c",
        ] {
            let hidden = hide(name).into_owned();
            assert!(!hidden.contains([';', '\n', '\x1b']), "{hidden:?}");
            assert_eq!(hide(&hidden), hidden);
            assert_eq!(show(&hidden), name);
        }
        assert_eq!(hide(""), UNKNOWN);
        assert!(matches!(hide("<A as B>::go"), Cow::Borrowed(_)));
    }

    #[test]
    fn other_tools_and_xml_have_their_own_forms() {
        let hidden = hide("a;b\nc\x1b 7").into_owned();
        assert_eq!(clean(&hidden), "a:b c _7");
        assert_eq!(show_in_xml(&hidden), "a;b&#10;c\u{241b} 7");
        assert_eq!((clean(" \t "), show_in_xml("\x07").as_ref()), ("_".to_owned(), "\u{2407}"));
    }
}
