//! Names in folded text. There `;` parts frames, a line end stacks, and a number at the end is a count; a name may hold
//! each of them.
//!
//! In memory such a character stands as a private one of Unicode, so that stacks are texts that are joined and split at
//! `;`. In a file it stands as other tools write it (`:` for `;`), and a comment says what the name is.
use std::borrow::Cow;

/// The byte `b` is hidden as this plus `b`; the end of the last private plane, which no font and no tool uses.
const HIDDEN: u32 = 0x10_ff00;

/// `#`, hidden.
pub(crate) const HIDDEN_HASH: char = '\u{10ff23}';

/// A line that begins with one of these is a comment, or is read without it: a space, a byte order mark.
pub(crate) const ODD_STARTS: [char; 3] = ['#', ' ', '\u{feff}'];

/// What a frame without a name is called.
pub const UNKNOWN: &str = "(unknown)";

/// A frame's name as it stands in a stack. What is hidden stays hidden.
pub(crate) fn hide(name: &str) -> Cow<'_, str> {
    if name.is_empty() {
        return Cow::Borrowed(UNKNOWN);
    }
    let plain = |b: u8| b > b' ' && b != b';' && b != 0x7f;
    // Most names have no special character, and most of the rest have spaces within only.
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

/// The place of the space before a number at the end: `worker 3` would be three samples of `worker`.
fn before_count(name: &str) -> Option<usize> {
    let space = name.rfind(' ')?;
    let word = &name[space + 1..];
    super::read::is_count(word).then_some(space)
}

fn hidden(c: char) -> Option<char> {
    (c as u32).checked_sub(HIDDEN).filter(|b| *b < 0x80).and_then(char::from_u32)
}

pub(crate) fn has_hidden(text: &str) -> bool {
    // All of them begin with these bytes in UTF-8.
    memchr::memmem::find(text.as_bytes(), b"\xf4\x8f\xbc").is_some()
        || memchr::memmem::find(text.as_bytes(), b"\xf4\x8f\xbd").is_some()
}

/// The name of a frame of a stack, or all names of a whole text.
pub fn show(frame: &str) -> Cow<'_, str> {
    if !has_hidden(frame) {
        return Cow::Borrowed(frame);
    }
    Cow::Owned(frame.chars().map(|c| hidden(c).unwrap_or(c)).collect())
}

/// The name as other tools' folded text has it.
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
    let is_odd_start = |c: char| c == '\u{feff}' || super::read::is_space(c);
    let clean = clean.trim_start_matches(is_odd_start).trim_end_matches(super::read::is_space);
    let mut clean = clean.to_owned();
    if let Some(space) = before_count(&clean) {
        clean.replace_range(space..=space, "_");
    }
    if clean.is_empty() || clean.starts_with('#') { format!("_{clean}") } else { clean }
}

/// For the text of an XML document, where the characters `<`, `>`, `&` and quotes are escaped already: controls that XML
/// cannot hold become their pictures.
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

/// U+241B for ESC.
fn picture(control: char) -> char {
    let at = if control == '\u{7f}' { 0x21 } else { control as u32 };
    char::from_u32(0x2400 + at).unwrap_or('\u{fffd}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_hidden_is_shown_again_and_stays_hidden() {
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
