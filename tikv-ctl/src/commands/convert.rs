//! `--to-hex`, `--to-escaped`, `--encode`, `--decode`.

use keys::{codec, escape, hex_upper};
use serde_json::json;

use crate::{
    Result,
    cli::Convert,
    key::{escaped, hex},
    output::Output,
};

/// Runs the requested conversion; `false` if none was requested.
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

/// Prints the user key or the error, with exit code 0 as TiKV's tool does.
fn decode(text: &str, out: &mut Output<'_>) -> Result<()> {
    let encoded = escaped(text)?;
    // Bytes after the key, such as a timestamp, are skipped.
    match codec::decode_bytes_from(&mut encoded.as_slice()) {
        Ok(key) => out.either(|| escape(&key), || json!({ "key": escape(&key) })),
        Err(e) => {
            let what = match &e {
                keys::Error::UnexpectedEof { .. } => "eof".to_owned(),
                keys::Error::BadPadding { .. } => "bad format key(padding)".to_owned(),
                other => other.to_string(),
            };
            out.either(|| format!("decode meets error: {what}"), || json!({ "error": e.to_string() }))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoded(text: &str) -> String {
        let (mut out, mut notes) = (Vec::new(), Vec::new());
        let mut output = Output::new(crate::Format::Text, &mut out, &mut notes);
        decode(text, &mut output).unwrap();
        output.flush().unwrap();
        drop(output);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_key_decodes_as_in_tikvs_tool() {
        let key = "ab\\000\\000\\000\\000\\000\\000\\371";
        assert_eq!(decoded(key), "ab\n");
        assert_eq!(decoded(&format!("{key}\\371x\\021N\\337W\\377\\376")), "ab\n");
        assert_eq!(decoded("zzz"), "decode meets error: eof\n");
        assert_eq!(decoded("abcdefgh\\001"), "decode meets error: bad format key(padding)\n");
    }
}
