//! Keys as people type them.

use keys::{DATA_PREFIX, codec, data_key, escape, hex_upper, unescape};

use crate::{Error, Result};

/// How the text of a key is read.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum KeyFormat {
    /// TiKV's escaped form of a key with `z`, or hexadecimal after `0x`, or hexadecimal that can be nothing else.
    #[default]
    Auto,
    /// The user key itself, byte for byte: it is encoded and given its `z` as the command needs.
    Raw,
    /// Hexadecimal, with or without `0x`.
    Hex,
    /// Escaped: `\n \r \t \" \\` and `\ooo` in octal.
    Escaped,
}

/// What a key is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyUse {
    /// A transactional key: `z` and the memcomparable user key.
    Mvcc,
    /// A bound of transactional keys: it may be a prefix of one.
    MvccBound,
    /// Any RocksDB key.
    Raw,
}

/// A RocksDB key, and what the reader should know about how its text was understood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParsedKey {
    pub key: Vec<u8>,
    pub note: Option<String>,
}

impl ParsedKey {
    fn plain(key: Vec<u8>) -> ParsedKey {
        ParsedKey { key, note: None }
    }
}

/// Reads `text` as a RocksDB key.
pub fn parse_key(text: &str, format: KeyFormat, usage: KeyUse) -> Result<ParsedKey> {
    match format {
        KeyFormat::Raw => Ok(ParsedKey::plain(from_user_key(text.as_bytes(), usage))),
        KeyFormat::Hex => Ok(complete(&hex(text)?, usage)),
        KeyFormat::Escaped => Ok(complete(&escaped(text)?, usage)),
        KeyFormat::Auto => auto(text, usage),
    }
}

/// Reads hexadecimal with or without `0x`.
pub fn hex(text: &str) -> Result<Vec<u8>> {
    let digits = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")).unwrap_or(text);
    keys::hex_decode(digits)
        .map_err(|e| Error::other(format!("key {text:?} is not hexadecimal: {e}; see --key-format")))
}

/// Reads TiKV's escaped form.
pub fn escaped(text: &str) -> Result<Vec<u8>> {
    unescape(text)
        .map_err(|e| Error::other(format!("key {text:?} is not in escaped form: {e}; see --key-format")))
}

fn from_user_key(user_key: &[u8], usage: KeyUse) -> Vec<u8> {
    match usage {
        KeyUse::Raw => data_key(user_key),
        KeyUse::Mvcc | KeyUse::MvccBound if user_key.is_empty() => data_key(user_key),
        KeyUse::Mvcc | KeyUse::MvccBound => data_key(&codec::encode_bytes(user_key)),
    }
}

/// Whether `key` is `{`, the end of all data.
fn is_end(key: &[u8], usage: KeyUse) -> bool {
    usage == KeyUse::MvccBound && key == keys::DATA_MAX_KEY
}

/// Adds what `key` lacks: its `z`, and the memcomparable form.
fn complete(key: &[u8], usage: KeyUse) -> ParsedKey {
    if is_end(key, usage) {
        return ParsedKey::plain(key.to_vec());
    }
    if key.first() == Some(&DATA_PREFIX) {
        let encoded = codec::encoded_prefix_len(&key[1..]).is_ok();
        let note = (!encoded && usage == KeyUse::Mvcc).then(|| {
            format!(
                "note: {} starts with z but what follows is not memcomparable: it is taken as it is; for a user key \
                 that starts with z give --key-format raw",
                escape(key)
            )
        });
        return ParsedKey { key: key.to_vec(), note };
    }
    // Local keys (01 ...) are complete, too.
    if usage == KeyUse::Raw && key.first().is_none_or(|b| *b == keys::LOCAL_PREFIX) {
        return ParsedKey::plain(key.to_vec());
    }
    let encoded = codec::encoded_prefix_len(key).is_ok();
    let whole = if encoded || usage == KeyUse::Raw { data_key(key) } else { from_user_key(key, usage) };
    let note = format!("note: taken as {} ({})", escape(&whole), hex_upper(&whole));
    ParsedKey { key: whole, note: Some(note) }
}

fn auto(text: &str, usage: KeyUse) -> Result<ParsedKey> {
    if text.starts_with("0x") || text.starts_with("0X") {
        return Ok(complete(&hex(text)?, usage));
    }
    let key = escaped(text)?;
    let digits = (!text.is_empty()).then(|| keys::hex_decode(text).ok()).flatten();
    match digits {
        // No transactional key starts with a hexadecimal digit's letter, so this can only be the other form.
        Some(bytes) if usage != KeyUse::Raw && bytes.first() == Some(&DATA_PREFIX) => {
            Ok(complete(&bytes, usage))
        }
        Some(bytes) if usage == KeyUse::Raw => {
            let note = format!(
                "note: {text:?} is taken as text; as hexadecimal it would be {}: write 0x{text} or give --key-format",
                escape(&bytes)
            );
            Ok(ParsedKey { key, note: Some(note) })
        }
        _ => Ok(ParsedKey { note: hint(text, &key, usage), key }),
    }
}

/// What to try where a key is not one that TiKV's tool takes.
fn hint(text: &str, key: &[u8], usage: KeyUse) -> Option<String> {
    if key.is_empty() || usage == KeyUse::Raw || is_end(key, usage) {
        return None;
    }
    let after_z = key.strip_prefix(&[DATA_PREFIX]);
    match after_z {
        Some(rest) if usage == KeyUse::MvccBound || codec::encoded_prefix_len(rest).is_ok() => None,
        Some(_) => Some(format!(
            "note: {text:?} starts with z but what follows is not memcomparable; for the user key {text:?} give \
             --key-format raw"
        )),
        None => Some(format!(
            "note: {text:?} is ambiguous: for the user key give --key-format raw, for hexadecimal --key-format hex, \
             for an encoded key without z --key-format escaped"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str, format: KeyFormat, usage: KeyUse) -> Vec<u8> {
        parse_key(text, format, usage).unwrap().key
    }

    #[test]
    fn all_forms_of_one_key_are_the_same_key() {
        let want = b"zk0000\0\0\0\xfc".to_vec();
        for (text, format) in [
            (r"zk0000\000\000\000\374", KeyFormat::Auto),
            ("7A6B30303030000000FC", KeyFormat::Auto),
            ("0x7a6b30303030000000fc", KeyFormat::Auto),
            ("0x6b30303030000000fc", KeyFormat::Auto),
            ("k0000", KeyFormat::Raw),
            ("6B30303030000000FC", KeyFormat::Hex),
            ("6B30303030", KeyFormat::Hex),
            (r"k0000\000\000\000\374", KeyFormat::Escaped),
            ("k0000", KeyFormat::Escaped),
        ] {
            assert_eq!(key(text, format, KeyUse::Mvcc), want, "{text} {format:?}");
        }
    }

    #[test]
    fn what_is_ambiguous_says_so() {
        let parsed = parse_key("k0000", KeyFormat::Auto, KeyUse::Mvcc).unwrap();
        assert_eq!(parsed.key, b"k0000");
        assert!(parsed.note.unwrap().contains("ambiguous"));
        let parsed = parse_key("7a61", KeyFormat::Auto, KeyUse::Raw).unwrap();
        assert_eq!(parsed.key, b"7a61");
        assert!(parsed.note.unwrap().contains("0x7a61"));
        assert!(parse_key("zebra", KeyFormat::Auto, KeyUse::Mvcc).unwrap().note.is_some());
        for bound in ["zebra", "{"] {
            assert_eq!(parse_key(bound, KeyFormat::Auto, KeyUse::MvccBound).unwrap().note, None);
        }
    }

    #[test]
    fn raw_keys_need_no_encoding() {
        assert_eq!(key("zraw:0001", KeyFormat::Auto, KeyUse::Raw), b"zraw:0001");
        assert_eq!(key("raw:0001", KeyFormat::Raw, KeyUse::Raw), b"zraw:0001");
        assert_eq!(key("0x0101", KeyFormat::Auto, KeyUse::Raw), [1, 1]);
        assert_eq!(key("", KeyFormat::Auto, KeyUse::Raw), b"");
    }

    #[test]
    fn a_key_in_no_form_names_the_place() {
        for (text, format) in [("0x7", KeyFormat::Auto), ("z\\9", KeyFormat::Auto), ("xyz", KeyFormat::Hex)] {
            let error = parse_key(text, format, KeyUse::Mvcc).unwrap_err().to_string();
            assert!(error.contains("--key-format"), "{error}");
        }
    }
}
