//! Keys on the command line, and their forms in the output.
use keys::{escape, hex_upper};
use serde_json::{Value, json};

use crate::{
    Result,
    key::{KeyFormat, KeyUse, parse_key},
    print::output::Output,
};

/// Help text of a key.
pub const RAW_KEY_HINT: &str = "Raw key (generally starts with \"z\") in escaped form; see --key-format";

/// Help text of the end of a range.
pub const RANGE_END_HINT: &str = "Key at which the range ends (exclusive), in the form of --from";

/// Parses a key, and notes how it was read.
pub fn read_key(text: &str, format: KeyFormat, usage: KeyUse, out: &mut Output<'_>) -> Result<Vec<u8>> {
    let parsed = parse_key(text, format, usage)?;
    if let Some(note) = parsed.note {
        out.note(&note);
    }
    Ok(parsed.key)
}

/// Returns a RocksDB key in its forms.
pub fn key_json(key: &[u8]) -> Value {
    let user_key = key.strip_prefix(&[keys::DATA_PREFIX]).and_then(|mut rest| {
        let raw = keys::codec::decode_bytes_from(&mut rest).ok()?;
        matches!(rest.len(), 0 | 8).then(|| escape(&raw))
    });
    json!({ "key": escape(key), "key_hex": hex_upper(key), "user_key": user_key })
}
