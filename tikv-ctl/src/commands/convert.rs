//! `--to-hex`, `--to-escaped`, `--encode`, `--decode`.

use keys::{codec, escape, hex_upper};
use serde_json::json;

use crate::{
    Result,
    cli::Convert,
    key::{escaped, hex},
    output::Output,
};

/// Converts what was asked for; `false` when nothing was.
pub fn run(convert: &Convert, out: &mut Output<'_>) -> Result<bool> {
    let result = if let Some(text) = &convert.hex_to_escaped {
        escape(&hex(text)?)
    } else if let Some(text) = &convert.escaped_to_hex {
        hex_upper(&escaped(text)?)
    } else if let Some(text) = &convert.encode {
        hex_upper(&codec::encode_bytes(&escaped(text)?))
    } else if let Some(text) = &convert.decode {
        return decode(text, out).map(|()| true);
    } else {
        return Ok(false);
    };
    out.either(|| result.clone(), || json!({ "key": result }))?;
    Ok(true)
}

/// Prints the user key, or what is wrong, as TiKV's tool does: with exit code 0.
fn decode(text: &str, out: &mut Output<'_>) -> Result<()> {
    match codec::decode_bytes(&escaped(text)?) {
        Ok(key) => out.either(|| escape(&key), || json!({ "key": escape(&key) })),
        Err(e) => {
            let what = match &e {
                keys::Error::UnexpectedEof { .. } => "eof".to_owned(),
                other => other.to_string(),
            };
            out.either(|| format!("decode meets error: {what}"), || json!({ "error": e.to_string() }))
        }
    }
}
