//! Parses keys as people type them.
use base64::Engine;
use keys::{DATA_PREFIX, codec, data_key, escape, hex_upper};

use crate::{
    Error, Result,
    key_styles::{bracketed, unescape},
    tidb::TableKey,
};

/// The format in which a key is typed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "clap", derive(clap::ValueEnum))]
pub enum KeyFormat {
    /// TiKV's escaped form of a key with `z`, hexadecimal after `0x`, TiDB's `t100_r5` and
    /// `{tableID=1, handle=5}`, Go's and Rust's quoted strings and lists of bytes, or unambiguous hexadecimal
    /// and base64.
    #[default]
    Auto,
    /// The user key itself, byte for byte: the command encodes it and adds `z` as it needs.
    Raw,
    /// Hexadecimal, with or without `0x`.
    Hex,
    /// Escaped: `\n \r \t \" \\`, `\ooo` in octal, and the escapes of Go's and Rust's strings.
    Escaped,
    /// Base64, in the standard or the URL alphabet.
    Base64,
    /// A table's key: `t100_r5`, `t100_i2_{1,"a"}`.
    Tidb,
}

/// The purpose of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyUse {
    /// A transactional key: `z` and the memcomparable user key.
    Mvcc,
    /// A bound of a range of transactional keys, which may be a prefix of one.
    MvccBound,
    /// Any RocksDB key.
    Raw,
}

/// A RocksDB key, and a note for the user if its text is ambiguous or was completed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParsedKey {
    /// The key as RocksDB has it.
    pub key: Vec<u8>,
    /// The other meanings of the text, or the part that was added.
    pub note: Option<String>,
}

impl ParsedKey {
    fn plain(key: Vec<u8>) -> ParsedKey {
        ParsedKey { key, note: None }
    }
}

/// Parses `text` as a RocksDB key.
pub fn parse_key(text: &str, format: KeyFormat, usage: KeyUse) -> Result<ParsedKey> {
    match format {
        KeyFormat::Raw => Ok(ParsedKey::plain(from_user_key(text.as_bytes(), usage))),
        KeyFormat::Hex => Ok(complete(&hex(text)?, usage)),
        KeyFormat::Escaped => Ok(complete(&bracketed(text).map_or_else(|| escaped(text), Ok)?, usage)),
        KeyFormat::Base64 => Ok(complete(&base64(text)?, usage)),
        KeyFormat::Tidb => Ok(ParsedKey::plain(from_user_key(&tidb(text)?, usage))),
        KeyFormat::Auto => auto(text, usage),
    }
}

/// Parses hexadecimal with or without `0x`.
pub fn hex(text: &str) -> Result<Vec<u8>> {
    let digits = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X")).unwrap_or(text);
    // Go's `% x` has a space between bytes.
    let digits: String = digits.split(' ').collect();
    keys::hex_decode(&digits).map_err(|e| {
        Error::other(format!("expected a key in hexadecimal, found {text:?}: {e}; see --key-format"))
    })
}

/// Parses the escaped form of TiKV, Go or Rust.
pub fn escaped(text: &str) -> Result<Vec<u8>> {
    unescape(text).map_err(|at| {
        Error::other(format!(
            "expected a key in escaped form, found {text:?} with an unknown escape at byte {at}; see --key-format"
        ))
    })
}

/// Parses base64, padded or not.
pub fn base64(text: &str) -> Result<Vec<u8>> {
    decode_base64(text)
        .ok_or_else(|| Error::other(format!("expected a key in base64, found {text:?}; see --key-format")))
}

fn decode_base64(text: &str) -> Option<Vec<u8>> {
    let bare = text.trim_end_matches('=');
    let (standard, url) =
        (base64::engine::general_purpose::STANDARD_NO_PAD, base64::engine::general_purpose::URL_SAFE_NO_PAD);
    standard.decode(bare).or_else(|_| url.decode(bare)).ok()
}

/// Parses a table's key, such as `t100_r5`, into the user key.
pub fn tidb(text: &str) -> Result<Vec<u8>> {
    TableKey::parse(text).and_then(|key| key.encode()).ok_or_else(|| {
        Error::other(format!(
            "expected a key of a TiDB table such as t100, t100_r5, t100_r{{\"a\",1}} or t100_i2_{{1,\"a\"}}, found {text:?}; \
             see --key-format"
        ))
    })
}

/// The user key and timestamp in an encoded key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inner {
    /// The decoded user key.
    pub user_key: Vec<u8>,
    /// The timestamp after the user key, in CF default and write.
    pub ts: Option<u64>,
}

/// Decodes a key in memcomparable form, with or without `z`. Returns `None` if its padding is not valid.
pub fn inner(key: &[u8]) -> Option<Inner> {
    let encoded = |mut rest: &[u8]| {
        let user_key = codec::decode_bytes_from(&mut rest).ok()?;
        let ts = match rest.len() {
            0 => None,
            8 => Some(codec::decode_u64_desc(&mut rest).ok()?),
            _ => return None,
        };
        Some(Inner { user_key, ts })
    };
    key.strip_prefix(&[DATA_PREFIX]).and_then(encoded).or_else(|| encoded(key))
}

/// An interpretation of a key's text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Reading {
    /// Name of the form as a `--key-format`; `printed` for forms with brackets or quotes.
    pub form: &'static str,
    /// The decoded bytes.
    pub bytes: Vec<u8>,
    /// The user key in the bytes.
    pub inner: Inner,
}

/// Lists the interpretations of `text`: only those as a memcomparable key if there are any, otherwise all.
pub fn readings(text: &str) -> Vec<Reading> {
    let digits = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"));
    let hexadecimal = keys::hex_decode(digits.unwrap_or(text)).ok().filter(|_| !text.is_empty());
    if let Some(bytes) = bracketed(text) {
        let inner = inner(&bytes).unwrap_or_else(|| Inner { user_key: bytes.clone(), ts: None });
        return vec![Reading { form: "printed", bytes, inner }];
    }
    let escaped = unescape(text).ok();
    let forms = [("escaped", escaped.clone()), ("hex", hexadecimal), ("base64", decode_base64(text))];
    let whole = |bytes: Vec<u8>| Inner { user_key: bytes, ts: None };
    let checked: Vec<Reading> = forms
        .iter()
        .filter_map(|(form, bytes)| {
            let bytes = bytes.clone()?;
            Some(Reading { form, inner: inner(&bytes)?, bytes })
        })
        .collect();
    if !checked.is_empty() {
        return checked;
    }
    let mut all = Vec::new();
    let mut add = |form, bytes: Vec<u8>| all.push(Reading { form, inner: whole(bytes.clone()), bytes });
    if let Ok(bytes) = tidb(text) {
        add("tidb", bytes);
    }
    if let (Some(bytes), true) = (&forms[1].1, digits.is_some()) {
        add("hex", bytes.clone());
        return all;
    }
    if let Some(bytes) = escaped.filter(|bytes| bytes != text.as_bytes()) {
        add("escaped", bytes);
    }
    if text.bytes().all(|b| (0x20..0x7f).contains(&b)) || !text.is_ascii() {
        add("raw", text.as_bytes().to_vec());
    }
    // Up to two digits are more likely text.
    if let Some(bytes) = forms[1].1.clone().filter(|bytes| bytes.len() > 1) {
        add("hex", bytes);
    }
    if let Some(bytes) = forms[2].1.clone().filter(|bytes| bytes.len() > 5 && text.ends_with('=')) {
        add("base64", bytes);
    }
    all
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

/// Adds `z` and the memcomparable form to `key` if it lacks them.
fn complete(key: &[u8], usage: KeyUse) -> ParsedKey {
    if is_end(key, usage) {
        return ParsedKey::plain(key.to_vec());
    }
    if key.first() == Some(&DATA_PREFIX) {
        let encoded = codec::encoded_prefix_len(&key[1..]).is_ok();
        let note = (!encoded && usage == KeyUse::Mvcc).then(|| {
            format!(
                "note: {} starts with z but the rest is not memcomparable: it is used unchanged; for a user key that \
                 starts with z, give --key-format raw",
                escape(key)
            )
        });
        return ParsedKey { key: key.to_vec(), note };
    }
    // Local keys (01 ...) are also complete.
    if usage == KeyUse::Raw && key.first().is_none_or(|b| *b == keys::LOCAL_PREFIX) {
        return ParsedKey::plain(key.to_vec());
    }
    let encoded = codec::encoded_prefix_len(key).is_ok();
    let whole = if encoded || usage == KeyUse::Raw { data_key(key) } else { from_user_key(key, usage) };
    let note = format!("note: read as {} ({})", escape(&whole), hex_upper(&whole));
    ParsedKey { key: whole, note: Some(note) }
}

fn auto(text: &str, usage: KeyUse) -> Result<ParsedKey> {
    if text.starts_with("0x") || text.starts_with("0X") {
        return Ok(complete(&hex(text)?, usage));
    }
    if let Some(bytes) = bracketed(text) {
        return Ok(complete(&bytes, usage));
    }
    let key = escaped(text)?;
    let digits = (!text.is_empty()).then(|| keys::hex_decode(text).ok()).flatten();
    if inner(&key).is_none() && digits.as_deref().and_then(inner).is_none() {
        if let Some(bytes) = decode_base64(text).filter(|bytes| inner(bytes).is_some()) {
            return Ok(complete(&bytes, usage));
        }
        if let Ok(user_key) = tidb(text) {
            let note = format!(
                "note: {text} is read as a key of a TiDB table; for a user key with this text, give --key-format raw"
            );
            let whole = data_key(&codec::encode_bytes(&user_key));
            return Ok(ParsedKey { key: whole, note: Some(note) });
        }
    }
    match digits {
        // No transactional key starts with a hexadecimal digit, so this is hexadecimal.
        Some(bytes) if usage != KeyUse::Raw && bytes.first() == Some(&DATA_PREFIX) => {
            Ok(complete(&bytes, usage))
        }
        Some(bytes) if usage == KeyUse::Raw => {
            let note = format!(
                "note: {text:?} is read as text; as hexadecimal it would be {}: write 0x{text} or give --key-format",
                escape(&bytes)
            );
            Ok(ParsedKey { key, note: Some(note) })
        }
        _ => Ok(ParsedKey { note: hint(text, &key, usage), key }),
    }
}

/// Suggests a `--key-format` for a key that TiKV's tool does not accept.
fn hint(text: &str, key: &[u8], usage: KeyUse) -> Option<String> {
    if key.is_empty() || usage == KeyUse::Raw || is_end(key, usage) {
        return None;
    }
    let after_z = key.strip_prefix(&[DATA_PREFIX]);
    match after_z {
        Some(rest) if usage == KeyUse::MvccBound || codec::encoded_prefix_len(rest).is_ok() => None,
        Some(_) => Some(format!(
            "note: {text:?} starts with z but the rest is not memcomparable; for the user key {text:?}, give \
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
    fn all_forms_of_a_key_parse_to_the_same_bytes() {
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
            ("emswMDAwAAAA/A==", KeyFormat::Auto),
            (r#""zk0000\x00\x00\x00\xfc""#, KeyFormat::Auto),
            (r#""k0000""#, KeyFormat::Auto),
            (r"zk0000\x00\x00\x00\xfc", KeyFormat::Auto),
            ("[122, 107, 48, 48, 48, 48, 0, 0, 0, 252]", KeyFormat::Auto),
            ("[]byte{0x6b, 0x30, 0x30, 0x30, 0x30}", KeyFormat::Auto),
            ("6b 30 30 30 30", KeyFormat::Hex),
            ("emswMDAwAAAA_A", KeyFormat::Base64),
            ("azAwMDA=", KeyFormat::Base64),
        ] {
            assert_eq!(key(text, format, KeyUse::Mvcc), want, "{text} {format:?}");
        }
    }

    #[test]
    fn a_tables_key_is_recognized() {
        let parsed = parse_key("t100_r5", KeyFormat::Auto, KeyUse::Mvcc).unwrap();
        assert!(parsed.note.unwrap().contains("--key-format raw"));
        let user_key = inner(&parsed.key).unwrap().user_key;
        assert_eq!(TableKey::decode(&user_key).unwrap().to_string(), "t100_r5");
        assert_eq!(key("t100_r5", KeyFormat::Tidb, KeyUse::MvccBound), parsed.key);
        assert_eq!(key("t100_r5", KeyFormat::Auto, KeyUse::Raw), parsed.key);
        assert!(tidb("t100_x").is_err());
    }

    #[test]
    fn readings_of_memcomparable_keys_are_unique() {
        let forms = |text: &str| readings(text).iter().map(|r| r.form).collect::<Vec<_>>();
        for text in [r"zk0000\000\000\000\374", r"k0000\000\000\000\374"] {
            assert_eq!(forms(text), ["escaped"]);
        }
        assert_eq!(forms("7A6B30303030000000FC"), ["hex"]);
        assert_eq!(forms("emswMDAwAAAA/A=="), ["base64"]);
        assert_eq!(forms("t100_r5"), ["tidb", "raw"]);
        assert_eq!(forms("0x6162"), ["hex"]);
        assert_eq!(forms("6162"), ["raw", "hex"]);
        assert_eq!(forms("k0000"), ["raw"]);
        let ts = readings("7a6100000000000000f8fffffffffffffffe");
        assert_eq!(ts[0].inner, Inner { user_key: b"a".to_vec(), ts: Some(1) });
    }

    #[test]
    fn ambiguous_keys_have_a_note() {
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
    fn errors_refer_to_the_key_format_option() {
        for (text, format) in [("0x7", KeyFormat::Auto), ("z\\9", KeyFormat::Auto), ("xyz", KeyFormat::Hex)] {
            let error = parse_key(text, format, KeyUse::Mvcc).unwrap_err().to_string();
            assert!(error.contains("--key-format"), "{error}");
        }
    }
}
