//! Parses keys as TiKV, PD, TiDB, Go and Rust print them: their escapes, quotes, lists of bytes, and TiDB's
//! braces.
use keys::codec;

use crate::tidb::{Datum, TableKey, TableKeyKind};

/// Decodes escapes: TiKV's (`\000`), Go's `%q` (`\x00`, `\a`, `\u00e9`, `\U0001f600`) and Rust's (`\0`,
/// `\u{e9}`). Other text stands for itself.
///
/// # Errors
/// The offset in `text` of an unknown escape.
pub fn unescape(text: &str) -> Result<Vec<u8>, usize> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        bytes.extend_from_slice(&rest.as_bytes()[..at]);
        let escape = &rest[at + 1..];
        let len = one(escape, &mut bytes).ok_or(text.len() - rest.len() + at)?;
        rest = &escape[len..];
    }
    bytes.extend_from_slice(rest.as_bytes());
    Ok(bytes)
}

/// Decodes one escape after its backslash. Returns its length in bytes.
fn one(escape: &str, out: &mut Vec<u8>) -> Option<usize> {
    let number = |digits: Option<&str>, radix| {
        let digits = digits.filter(|digits| digits.chars().all(|c| c.is_digit(radix)))?;
        u32::from_str_radix(digits, radix).ok()
    };
    let character = |digits: Option<&str>, out: &mut Vec<u8>| {
        let c = char::from_u32(number(digits, 16)?)?;
        out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
        Some(())
    };
    let plain = match escape.bytes().next()? {
        b @ (b'"' | b'\'' | b'\\' | b'`') => b,
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'a' => 0x07,
        b'b' => 0x08,
        b'v' => 0x0b,
        b'f' => 0x0c,
        b'x' => {
            out.push(number(escape.get(1..3), 16)? as u8);
            return Some(3);
        }
        b'u' if escape.starts_with("u{") => {
            let end = escape.find('}')?;
            character(escape.get(2..end).filter(|digits| !digits.is_empty()), out)?;
            return Some(end + 1);
        }
        b'u' => return character(escape.get(1..5), out).map(|()| 5),
        b'U' => return character(escape.get(1..9), out).map(|()| 9),
        b'0'..=b'3' => {
            if let Some(byte) = number(escape.get(..3), 8) {
                out.push(u8::try_from(byte).ok()?);
                return Some(3);
            }
            // Rust's NUL.
            escape.starts_with('0').then_some(0)?
        }
        _ => return None,
    };
    out.push(plain);
    Some(1)
}

/// Parses a key in a form with brackets or quotes: `"..."`, `b"..."`, `[116, 128]`, `[116 128]`,
/// `[]byte{0x74, 0x80}`, `{tableID=1, handle=5}`. Returns a user key or a RocksDB key; `None` if the text is
/// in another form.
pub fn bracketed(text: &str) -> Option<Vec<u8>> {
    let text = text.trim();
    let quoted = |open: &str, close| text.strip_prefix(open)?.strip_suffix(close);
    if let Some(inner) = quoted("\"", '"').or_else(|| quoted("b\"", '"')) {
        return unescape(inner).ok();
    }
    if let Some(inner) = quoted("[]byte{", '}').or_else(|| quoted("[", ']')) {
        return list(inner);
    }
    quoted("{", '}').filter(|inner| inner.contains('=')).and_then(tidb)
}

/// Parses bytes, decimal or after `0x`, separated by commas or spaces.
fn list(text: &str) -> Option<Vec<u8>> {
    let byte = |text: &str| match text.strip_prefix("0x") {
        Some(digits) => u8::from_str_radix(digits, 16).ok(),
        None => text.parse().ok(),
    };
    text.split([',', ' ']).filter(|part| !part.is_empty()).map(byte).collect()
}

/// Parses a key as TiDB's messages show it (`prettyWriteKey`).
fn tidb(inner: &str) -> Option<Vec<u8>> {
    let field = |name: &str| {
        let (_, rest) = inner.split_once(&format!("{name}="))?;
        let end = match rest.strip_prefix('{') {
            Some(list) => list.find('}')? + 2,
            None => rest.find(',').unwrap_or(rest.len()),
        };
        Some(rest[..end].trim())
    };
    if field("metaKey") == Some("true") {
        return meta(field("key")?, field("field")?);
    }
    let table_id = field("tableID")?.parse().ok()?;
    let values = |text: &str| {
        let inner = text.strip_prefix('{').and_then(|text| text.strip_suffix('}'));
        let parts = inner.unwrap_or(text).split(',').map(str::trim).filter(|part| !part.is_empty());
        parts.map(Datum::parse).collect::<Option<Vec<_>>>()
    };
    let kind = match (field("indexID"), field("handle")) {
        (Some(index), _) => {
            TableKeyKind::Index(index.parse().ok()?, values(field("indexValues").unwrap_or_default())?)
        }
        (None, Some(handle)) if !handle.starts_with('{') => TableKeyKind::Row(handle.parse().ok()?),
        (None, Some(handle)) => TableKeyKind::CommonRow(values(handle)?),
        (None, None) => TableKeyKind::Table,
    };
    TableKey { table_id, kind }.encode()
}

/// Encodes the key of a field of a hash in TiDB's metadata.
fn meta(key: &str, field: &str) -> Option<Vec<u8>> {
    let mut bytes = b"m".to_vec();
    codec::encode_bytes_to(&mut bytes, key.as_bytes());
    codec::encode_u64(&mut bytes, u64::from(b'h'));
    codec::encode_bytes_to(&mut bytes, field.as_bytes());
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::tidb::table::meta_text;

    #[test]
    fn escapes_of_tikv_go_and_rust_decode() {
        for (text, bytes) in [
            (r"z\000\377\n\\", &b"z\0\xff\n\\"[..]),
            (r"z\x00\xFF\a\v", b"z\0\xff\x07\x0b"),
            (r"z\0a\u{e9}\u00e9\U000000e9", "z\0aééé".as_bytes()),
            (r"\0001", b"\x001"),
            ("plain é", "plain é".as_bytes()),
        ] {
            assert_eq!(unescape(text).unwrap(), bytes, "{text}");
        }
        for (text, at) in [(r"ab\9", 2), (r"\x0", 0), (r"a\", 1), (r"\u{}", 0), (r"\400", 0), (r"\xzz", 0)] {
            assert_eq!(unescape(text), Err(at), "{text}");
        }
    }

    #[test]
    fn keys_in_brackets_and_quotes_parse() {
        for text in [
            r#""t\x80\x00\n""#,
            r#"b"t\x80\0\n""#,
            "[116, 128, 0, 10]",
            "[116 128 0 10]",
            "[]byte{0x74, 0x80, 0x0, 0xa}",
        ] {
            assert_eq!(bracketed(text).as_deref(), Some(&b"t\x80\0\n"[..]), "{text}");
        }
        for text in ["t100", "[256]", "{", "{}", "{a}", "[x]", "\"open", "{tableID=x}"] {
            assert_eq!(bracketed(text), None, "{text}");
        }
        assert_eq!(bracketed("[]"), Some(Vec::new()));
    }

    #[test]
    fn keys_in_tidbs_messages_parse() {
        let text = |key: &str| TableKey::decode(&bracketed(key).unwrap()).unwrap().to_string();
        assert_eq!(text("{tableID=49, handle=5}"), "t49_r5");
        assert_eq!(text("{tableID=49, tableName=test.t, handle=-1}"), "t49_r-1");
        assert_eq!(text("{tableID=49, indexID=2, indexValues={7, abc, }}"), "t49_i2_{7,\"abc\"}");
        assert_eq!(text("{tableID=49, handle={a, 3}}"), "t49_r{\"a\",3}");
        let meta = bracketed("{metaKey=true, key=DB:1, field=TID:108}").unwrap();
        assert_eq!(meta_text(&meta).unwrap(), "m DB:1 hash field TID:108");
    }

    proptest! {
        #[test]
        fn arbitrary_text_never_panics(text in ".{0,40}") {
            let _ = unescape(&text);
            let _ = bracketed(&text);
            let _ = bracketed(&format!("{{{text}}}"));
            let _ = bracketed(&format!("\"{text}\""));
        }
    }
}
