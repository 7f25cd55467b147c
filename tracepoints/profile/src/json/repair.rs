//! Repairs almost valid JSON: the forms of Python (`NaN`, `None`), JavaScript (`undefined`, single quotes,
//! comments, unquoted names), C (`nan`, `1.#INF`, raw control characters, `.5`), and of writers that append.
use std::borrow::Cow;

use super::walk::{comment_end, is_bare, single_quoted_end};

/// Replaces forbidden forms with valid ones; an invalid number becomes text, so that no reader takes it for a
/// number.
pub fn repair(text: &[u8]) -> Vec<u8> {
    let text: Cow<'_, str> = String::from_utf8_lossy(text);
    let text = text.as_bytes();
    let mut out = Out { text: Vec::with_capacity(text.len() + 16), comma: false, after_value: false };
    let mut at = 0;
    while let Some(byte) = text.get(at) {
        at = match byte {
            b'"' => {
                out.before_value();
                string(text, at, &mut out.text)
            }
            b'\'' if single_quoted_end(text, at).is_some() => {
                out.before_value();
                string(text, at, &mut out.text)
            }
            b'/' if comment_end(text, at).is_some() => comment_end(text, at).unwrap_or(text.len()),
            b'{' | b'[' => {
                out.before_value();
                out.text.push(*byte);
                out.after_value = false;
                at + 1
            }
            b'}' | b']' => {
                (out.comma, out.after_value) = (false, true);
                out.text.push(*byte);
                at + 1
            }
            b',' => {
                out.comma = out.after_value;
                at + 1
            }
            b':' => {
                (out.comma, out.after_value) = (false, false);
                out.text.push(b':');
                at + 1
            }
            b if is_bare(*b) => {
                let len = text[at..].iter().position(|b| !is_bare(*b)).unwrap_or(text.len() - at);
                out.before_value();
                word(&String::from_utf8_lossy(&text[at..at + len]), &mut out.text);
                at + len
            }
            blank => {
                out.text.push(if blank.is_ascii_whitespace() && *blank != 0x0c { *blank } else { b' ' });
                at + 1
            }
        };
    }
    out.text
}

struct Out {
    text: Vec<u8>,
    /// Whether a comma was read; it is written when a value follows.
    comma: bool,
    after_value: bool,
}

impl Out {
    /// Writes a comma between two values, even if the text lacks it.
    fn before_value(&mut self) {
        if self.comma || self.after_value {
            self.text.push(b',');
        }
        (self.comma, self.after_value) = (false, true);
    }
}

/// Copies the text in quotes at `at`; returns its end offset.
fn string(text: &[u8], at: usize, out: &mut Vec<u8>) -> usize {
    let quote = text[at];
    out.push(b'"');
    let mut i = at + 1;
    while let Some(byte) = text.get(i).filter(|b| **b != quote) {
        i += match byte {
            b'\\' => escape(&text[i..], out),
            b'"' => {
                out.extend_from_slice(b"\\\"");
                1
            }
            0..=0x1f => {
                out.extend_from_slice(format!("\\u{byte:04x}").as_bytes());
                1
            }
            _ => {
                out.push(*byte);
                1
            }
        };
    }
    out.push(b'"');
    (i + 1).min(text.len())
}

/// Copies an escape; returns its length.
fn escape(text: &[u8], out: &mut Vec<u8>) -> usize {
    match text.get(1) {
        Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => {
            out.extend_from_slice(&text[..2]);
            2
        }
        Some(b'\'') => {
            out.push(b'\'');
            2
        }
        Some(b'u') => match (unit(text), text.get(6..).and_then(unit)) {
            (Some(0xd800..=0xdbff), Some(0xdc00..=0xdfff)) => {
                out.extend_from_slice(&text[..12]);
                12
            }
            // Half of a surrogate pair is not a character.
            (Some(0xd800..=0xdfff), _) => {
                out.extend_from_slice(b"\\ufffd");
                6
            }
            (Some(_), _) => {
                out.extend_from_slice(&text[..6]);
                6
            }
            (None, _) => literal(out),
        },
        Some(b'x') => match hex(text.get(2..4)) {
            Some(byte) => {
                out.extend_from_slice(format!("\\u{byte:04x}").as_bytes());
                4
            }
            None => literal(out),
        },
        _ => literal(out),
    }
}

/// Escapes a backslash that begins no escape, as in a path of Windows.
fn literal(out: &mut Vec<u8>) -> usize {
    out.extend_from_slice(b"\\\\");
    1
}

fn unit(text: &[u8]) -> Option<u32> {
    if !text.starts_with(b"\\u") {
        return None;
    }
    hex(text.get(2..6))
}

fn hex(digits: Option<&[u8]>) -> Option<u32> {
    let digits = std::str::from_utf8(digits?).ok()?;
    digits.bytes().all(|b| b.is_ascii_hexdigit()).then(|| u32::from_str_radix(digits, 16).ok())?
}

/// Copies or replaces an unquoted word.
fn word(word: &str, out: &mut Vec<u8>) {
    let lower = word.to_ascii_lowercase();
    let text = match lower.as_str() {
        "true" | "false" | "null" => lower,
        "none" | "undefined" | "nil" => "null".into(),
        _ => match number(&lower) {
            Some(number) => number,
            None => serde_json::to_string(word).unwrap_or_else(|_| "null".into()),
        },
    };
    out.extend_from_slice(text.as_bytes());
}

/// Converts a number to JSON's form; returns `None` for numbers that JSON lacks.
fn number(word: &str) -> Option<String> {
    if word.starts_with(|c: char| c.is_ascii_digit() || c == '-') && serde_json::from_str::<f64>(word).is_ok()
    {
        return Some(word.to_owned());
    }
    let (sign, digits) = match word.strip_prefix('-') {
        Some(digits) => ("-", digits),
        None => ("", word.strip_prefix('+').unwrap_or(word)),
    };
    if digits.starts_with("nan") || digits.starts_with("1.#qnan") || digits.starts_with("1.#ind") {
        return Some("\"NaN\"".into());
    }
    if digits == "inf" || digits == "infinity" || digits.starts_with("1.#inf") {
        return Some(format!("\"{sign}Infinity\""));
    }
    if !digits.starts_with(|c: char| c.is_ascii_digit() || c == '.') {
        return None;
    }
    if let Some(hex) = digits.strip_prefix("0x") {
        return u64::from_str_radix(hex, 16).ok().map(|n| format!("{sign}{n}"));
    }
    if let Ok(n) = digits.parse::<u64>() {
        return Some(format!("{sign}{n}"));
    }
    let x = digits.parse::<f64>().ok()?;
    Some(if x.is_finite() { format!("{sign}{x:?}") } else { format!("\"{sign}Infinity\"") })
}

/// Closes a truncated document: after its last complete value, with the missing brackets.
pub fn close(text: &[u8]) -> Vec<u8> {
    let mut open: Vec<u8> = Vec::new();
    // End of the last complete value, and its depth.
    let mut safe = (0, 0);
    let mut at = 0;
    while let Some(byte) = text.get(at) {
        let end = match byte {
            b'"' => super::value_end(text, at),
            b if is_bare(*b) => super::value_end(text, at).filter(|end| *end < text.len()),
            b'{' | b'[' => {
                open.push(if *byte == b'{' { b'}' } else { b']' });
                // An empty container is a complete value.
                safe = (at + 1, open.len());
                at += 1;
                continue;
            }
            b'}' | b']' if open.last() == Some(byte) => {
                open.pop();
                Some(at + 1)
            }
            // Mismatched brackets end the document here.
            b'}' | b']' => None,
            _ => {
                at += 1;
                continue;
            }
        };
        let Some(end) = end else { break };
        let is_name = text.get(super::begin(text, end)) == Some(&b':');
        let is_value =
            !is_name && (open.last() != Some(&b'}') || after_colon(text, at) || matches!(byte, b'}' | b']'));
        if is_value {
            safe = (end, open.len());
        }
        at = end;
        if open.is_empty() {
            break;
        }
    }
    let mut out = text[..safe.0].to_vec();
    // `open` has at least the brackets open at that point, since closing one moves the safe point.
    out.extend(open.iter().take(safe.1).rev());
    out
}

fn after_colon(text: &[u8], at: usize) -> bool {
    text[..at].iter().rfind(|b| !b.is_ascii_whitespace()) == Some(&b':')
}
