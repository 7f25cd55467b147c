//! Splits the text of a gate into words, numbers, texts and signs.
use super::error::GateError;

/// A word of a gate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Token {
    /// A name, such as `commit_ts`.
    Word(String),
    Number(u64),
    /// A text in quotes.
    Text(Vec<u8>),
    /// An operator or a bracket.
    Sign(&'static str),
}

impl Token {
    /// Formats the token as an error shows it.
    pub(super) fn shown(&self) -> String {
        match self {
            Token::Word(word) => word.clone(),
            Token::Number(n) => n.to_string(),
            Token::Text(text) => format!("\"{}\"", crate::printable::escape_readable(text)),
            Token::Sign(sign) => (*sign).to_owned(),
        }
    }
}

/// Signs, the longer ones first.
const SIGNS: [&str; 15] = ["==", "!=", "<=", ">=", "&&", "||", "<", ">", "(", ")", "!", "=", "#", ".", ","];

/// Splits a condition; each token has its column, from 1.
pub(super) fn tokens(text: &str) -> Result<Vec<(usize, Token)>, GateError> {
    let mut out = Vec::new();
    let mut rest = text;
    while !rest.trim_start().is_empty() {
        rest = rest.trim_start();
        let column = text.len() - rest.len() + 1;
        let (token, length) = token(rest).map_err(|problem| GateError::condition(problem, column, text))?;
        out.push((column, token));
        rest = &rest[length..];
    }
    Ok(out)
}

fn token(rest: &str) -> Result<(Token, usize), String> {
    if let Some(quote) = rest.chars().next().filter(|c| matches!(c, '"' | '\'')) {
        let Some(end) = rest[1..].find(quote) else {
            return Err(format!("expected {quote} at the end of the text, found none"));
        };
        return Ok((Token::Text(unescape(&rest[1..=end])?), end + 2));
    }
    if let Some(sign) = SIGNS.iter().find(|s| rest.starts_with(**s)) {
        return Ok((Token::Sign(sign), sign.len()));
    }
    let length = rest.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(rest.len());
    let word = &rest[..length];
    match word.chars().next() {
        None => Err(format!(
            "expected a name, a number or a sign, found `{}`",
            rest.chars().next().unwrap_or(' ')
        )),
        Some(c) if c.is_ascii_digit() => Ok((Token::Number(number(word)?), length)),
        Some(_) => Ok((Token::Word(word.to_owned()), length)),
    }
}

/// Parses a number: decimal or 0x hex, with `_` between digits, or with a unit of time.
fn number(word: &str) -> Result<u64, String> {
    let wrong = || format!("expected a number such as 7, 0x1f, 5ms or 2s, found `{word}`");
    let digits = word.replace('_', "");
    if let Some(hex) = digits.strip_prefix("0x") {
        return u64::from_str_radix(hex, 16).map_err(|_| wrong());
    }
    let units = [("ns", 1), ("us", 1_000), ("ms", 1_000_000), ("s", 1_000_000_000)];
    let (plain, unit) =
        units.iter().find_map(|(u, ns)| Some((digits.strip_suffix(u)?, *ns))).unwrap_or((&digits, 1));
    plain.parse::<u64>().ok().and_then(|n| n.checked_mul(unit)).ok_or_else(wrong)
}

/// Resolves `\xhh`, `\n`, `\t` and `\\`, as keys are printed.
fn unescape(text: &str) -> Result<Vec<u8>, String> {
    let wrong = || format!("expected \\xhh, \\n, \\t or \\\\ after a backslash, found `{text}`");
    let mut out = Vec::new();
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        if byte != b'\\' {
            out.push(byte);
            continue;
        }
        out.push(match bytes.next().ok_or_else(wrong)? {
            b'n' => b'\n',
            b't' => b'\t',
            b'\\' => b'\\',
            b'x' => {
                let mut digit = || bytes.next().and_then(|b| char::from(b).to_digit(16)).ok_or_else(wrong);
                (digit()? << 4 | digit()?) as u8
            }
            _ => return Err(wrong()),
        });
    }
    Ok(out)
}
