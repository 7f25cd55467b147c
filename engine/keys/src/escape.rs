//! Keys as text, and text as keys: TiKV's octal escapes, hexadecimal.
use crate::{Error, Result};

/// Returns `data` as tikv-ctl and TiKV's logs print it: printable ASCII unchanged, other bytes as `\ooo`.
pub fn escape(data: &[u8]) -> String {
    let mut text = String::with_capacity(data.len() * 4);
    for &byte in data {
        match byte {
            b'\n' => text.push_str("\\n"),
            b'\r' => text.push_str("\\r"),
            b'\t' => text.push_str("\\t"),
            b'"' => text.push_str("\\\""),
            b'\\' => text.push_str("\\\\"),
            0x20..0x7f => text.push(char::from(byte)),
            _ => {
                text.push('\\');
                for shift in [6, 3, 0] {
                    text.push(char::from(b'0' + ((byte >> shift) & 7)));
                }
            }
        }
    }
    text
}

/// Reads text written by [`escape`], and also `\'` and `\xhh`.
pub fn unescape(text: &str) -> Result<Vec<u8>> {
    let input = text.as_bytes();
    let mut data = Vec::with_capacity(input.len());
    let mut at = 0;
    while let Some(&byte) = input.get(at) {
        let (value, width) = if byte == b'\\' {
            unescape_one(&input[at + 1..]).ok_or_else(|| bad_text("escaped bytes", text, at))?
        } else {
            (byte, 1)
        };
        data.push(value);
        at += width;
    }
    Ok(data)
}

/// Parses one escape after its backslash; returns the byte, and the length of the escape with the backslash.
fn unescape_one(rest: &[u8]) -> Option<(u8, usize)> {
    match rest.first()? {
        b'"' => Some((b'"', 2)),
        b'\'' => Some((b'\'', 2)),
        b'\\' => Some((b'\\', 2)),
        b'n' => Some((b'\n', 2)),
        b'r' => Some((b'\r', 2)),
        b't' => Some((b'\t', 2)),
        b'x' => Some((digits(rest.get(1..3)?, 16)?, 4)),
        b'0'..=b'3' => Some((digits(rest.get(..3)?, 8)?, 4)),
        _ => None,
    }
}

fn digits(text: &[u8], radix: u32) -> Option<u8> {
    let value = text.iter().try_fold(0, |acc, d| Some(acc * radix + char::from(*d).to_digit(radix)?))?;
    u8::try_from(value).ok()
}

fn bad_text(expected: &'static str, text: &str, position: usize) -> Error {
    Error::BadText { expected, text: text.to_owned(), position }
}

/// Reads hexadecimal of either case.
pub fn hex_decode(text: &str) -> Result<Vec<u8>> {
    let bad = |position| bad_text("hexadecimal", text, position);
    let (pairs, rest) = text.as_bytes().as_chunks::<2>();
    if !rest.is_empty() {
        return Err(bad(text.len()));
    }
    pairs.iter().enumerate().map(|(i, pair)| digits(pair, 16).ok_or_else(|| bad(2 * i))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::hex::{hex_lower, hex_upper};

    #[test]
    fn escape_prints_as_tikv_does() {
        assert_eq!(escape(b"zt\x80\0_r'\"\\\n\xff"), r#"zt\200\000_r'\"\\\n\377"#);
        assert_eq!(unescape(r"\x7at\200\'\t").unwrap(), b"zt\x80'\t");
    }

    #[test]
    fn every_byte_round_trips() {
        let all: Vec<u8> = (0..=255).collect();
        assert_eq!(unescape(&escape(&all)).unwrap(), all);
        assert_eq!(hex_decode(&hex_upper(&all)).unwrap(), all);
        assert_eq!(hex_decode(&hex_lower(&all)).unwrap(), all);
    }

    #[test]
    fn bad_text_names_the_position() {
        for text in ["ab\\", "ab\\9", "ab\\x1", "ab\\12", "ab\\400", "ab\\q"] {
            assert_eq!(unescape(text), Err(bad_text("escaped bytes", text, 2)), "{text}");
        }
        assert_eq!(hex_decode("00g0"), Err(bad_text("hexadecimal", "00g0", 2)));
        assert_eq!(hex_decode("000"), Err(bad_text("hexadecimal", "000", 3)));
    }
}
