//! Converts text in any Unicode encoding, or in Latin-1, to UTF-8; bytes that are not text stay.
use std::borrow::Cow;

use crate::Plain;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Encoding {
    Utf8,
    Utf16 { big: bool },
    Utf32 { big: bool },
}

/// By length: the mark of UTF-32 begins with that of UTF-16.
const MARKS: [(&[u8], Encoding); 5] = [
    (&[0xff, 0xfe, 0, 0], Encoding::Utf32 { big: false }),
    (&[0, 0, 0xfe, 0xff], Encoding::Utf32 { big: true }),
    (&[0xef, 0xbb, 0xbf], Encoding::Utf8),
    (&[0xff, 0xfe], Encoding::Utf16 { big: false }),
    (&[0xfe, 0xff], Encoding::Utf16 { big: true }),
];

/// Number of bytes that suffice to detect UTF-16 without a mark, if all of them are Latin letters.
const HEAD: usize = 8;
/// Number of bytes examined to detect UTF-32 without a mark.
const HEAD_32: usize = 16;
/// Number of bytes examined to distinguish text from binary data.
const TEXT_HEAD: usize = 4096;

pub(crate) fn to_utf8(plain: &mut Plain<'_>) {
    let (mark, encoding) = encoding(&plain.bytes);
    let text = &plain.bytes[mark..];
    let decoded = match encoding {
        Encoding::Utf8 => None,
        Encoding::Utf16 { big } => Some(utf16(text, big)),
        Encoding::Utf32 { big } => Some(utf32(text, big)),
    };
    if let Some((text, lost)) = decoded {
        plain.bytes = Cow::Owned(text.into_bytes());
        if lost > 0 {
            plain.notes.push(format!("{lost} characters are not valid Unicode: each is shown as U+FFFD"));
        }
    } else if mark > 0 {
        drop_front(&mut plain.bytes, mark);
    }
    if is_text(&plain.bytes) {
        drop_zeros(&mut plain.bytes);
        line_ends(&mut plain.bytes);
        plain.notes.extend(latin1(&mut plain.bytes));
    }
}

/// Whether data is text: its head has no control characters but those of terminals. Zeros at its end, with
/// which some writers fill a file, do not count.
fn is_text(bytes: &[u8]) -> bool {
    let head = &bytes[..without_zeros(bytes).min(TEXT_HEAD)];
    !head.iter().any(|b| *b < b' ' && !matches!(b, b'\t' | b'\n' | b'\r' | 0x0c | 0x1b))
}

fn without_zeros(bytes: &[u8]) -> usize {
    bytes.iter().rposition(|b| *b != 0).map_or(0, |last| last + 1)
}

fn drop_zeros(bytes: &mut Cow<'_, [u8]>) {
    let len = without_zeros(bytes);
    match bytes {
        Cow::Borrowed(all) => *bytes = Cow::Borrowed(&all[..len]),
        Cow::Owned(all) => all.truncate(len),
    }
}

/// Reads bytes that are not UTF-8 as Latin-1, so that different names stay different. Returns a note on them.
fn latin1(bytes: &mut Cow<'_, [u8]>) -> Option<String> {
    if std::str::from_utf8(bytes).is_ok() {
        return None;
    }
    let (mut out, mut lost) = (String::with_capacity(bytes.len() + 16), 0);
    for chunk in bytes.utf8_chunks() {
        out.push_str(chunk.valid());
        out.extend(chunk.invalid().iter().map(|b| char::from(*b)));
        lost += chunk.invalid().len();
    }
    *bytes = Cow::Owned(out.into_bytes());
    Some(format!("{lost} bytes are not UTF-8 and were read as Latin-1; none is left out"))
}

/// Returns the length of the byte order mark, and the encoding.
fn encoding(bytes: &[u8]) -> (usize, Encoding) {
    if let Some((mark, encoding)) = MARKS.iter().find(|(mark, _)| bytes.starts_with(mark)) {
        return (mark.len(), *encoding);
    }
    let head = &bytes[..bytes.len().min(HEAD)];
    let pairs = || head.chunks_exact(2);
    let is_text = |b: u8| matches!(b, b'\t' | b'\n' | b'\r' | b' '..=b'~');
    let big = pairs().all(|pair| pair[0] == 0 && is_text(pair[1]));
    let little = pairs().all(|pair| pair[1] == 0 && is_text(pair[0]));
    // Latin letters have a zero byte in each UTF-16 unit, and three in each of UTF-32.
    if head.len() == HEAD && (big || little) {
        return (0, Encoding::Utf16 { big });
    }
    if let Some(big) = [false, true].into_iter().find(|big| is_utf16(bytes, *big)) {
        return (0, Encoding::Utf16 { big });
    }
    let units = || bytes[..HEAD_32.min(bytes.len())].chunks_exact(4);
    let big = units().all(|unit| unit[..3] == [0; 3] && is_text(unit[3]));
    let little = units().all(|unit| unit[1..] == [0; 3] && is_text(unit[0]));
    if bytes.len() >= HEAD_32 && (big || little) { (0, Encoding::Utf32 { big }) } else { (0, Encoding::Utf8) }
}

/// Whether bytes without a mark are UTF-16: no unit is a control character, and at least half are ASCII.
fn is_utf16(bytes: &[u8], big: bool) -> bool {
    let head = &bytes[..bytes.len().min(TEXT_HEAD)];
    let unit = |pair: &[u8]| if big { (pair[0], pair[1]) } else { (pair[1], pair[0]) };
    let is_text =
        |(high, low): (u8, u8)| high != 0 || matches!(low, b'\t' | b'\n' | b'\r' | b' '..=b'~' | 0xa0..=0xff);
    let units = || head.chunks_exact(2).map(unit);
    let ascii = units().filter(|(high, low)| *high == 0 && low.is_ascii()).count();
    head.len() >= 4 && ascii * 2 >= units().count() && units().all(is_text)
}

fn drop_front(bytes: &mut Cow<'_, [u8]>, len: usize) {
    match bytes {
        Cow::Borrowed(all) => *bytes = Cow::Borrowed(&all[len..]),
        Cow::Owned(all) => drop(all.drain(..len)),
    }
}

fn utf16(bytes: &[u8], big: bool) -> (String, usize) {
    let mut lost = bytes.len() % 2;
    let unit = |pair: &[u8]| {
        let pair = [pair[0], pair[1]];
        if big { u16::from_be_bytes(pair) } else { u16::from_le_bytes(pair) }
    };
    let decoded = char::decode_utf16(bytes.chunks_exact(2).map(unit));
    let text = decoded.map(|c| {
        c.unwrap_or_else(|_| {
            lost += 1;
            char::REPLACEMENT_CHARACTER
        })
    });
    (text.collect(), lost)
}

fn utf32(bytes: &[u8], big: bool) -> (String, usize) {
    let mut lost = usize::from(!bytes.len().is_multiple_of(4));
    let unit = |four: &[u8]| {
        let four = [four[0], four[1], four[2], four[3]];
        if big { u32::from_be_bytes(four) } else { u32::from_le_bytes(four) }
    };
    let text = bytes.chunks_exact(4).map(|four| {
        char::from_u32(unit(four)).unwrap_or_else(|| {
            lost += 1;
            char::REPLACEMENT_CHARACTER
        })
    });
    (text.collect(), lost)
}

/// Converts line ends: old Macs, and some terminals' logs, end lines with a lone CR.
fn line_ends(bytes: &mut Cow<'_, [u8]>) {
    if memchr::memchr(b'\r', bytes).is_none() || memchr::memchr(b'\n', bytes).is_some() {
        return;
    }
    bytes.to_mut().iter_mut().filter(|b| **b == b'\r').for_each(|b| *b = b'\n');
}
