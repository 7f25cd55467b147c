//! `--to-hex`, `--to-escaped`, `--encode`, `--decode`.
use clap::{ArgGroup, Args};
use keys::{codec, escape, hex_upper};
use serde_json::json;

use crate::{
    Result,
    key::{escaped, hex},
    print::output::Output,
};

/// Conversions of keys, which need neither a directory nor a server.
#[derive(Clone, Debug, Default, Args)]
#[command(group = ArgGroup::new("conversion").multiple(false), next_help_heading = "Conversions of keys")]
pub struct Convert {
    /// Convert a hexadecimal key to escaped form
    #[arg(long = "to-escaped", value_name = "HEX", group = "conversion")]
    pub hex_to_escaped: Option<String>,
    /// Convert an escaped key to hexadecimal
    #[arg(long = "to-hex", value_name = "ESCAPED", group = "conversion")]
    pub escaped_to_hex: Option<String>,
    /// Decode a memcomparable key in escaped form
    #[arg(long, value_name = "ESCAPED", group = "conversion")]
    pub decode: Option<String>,
    /// Encode a key in escaped form as memcomparable
    #[arg(long, value_name = "ESCAPED", group = "conversion")]
    pub encode: Option<String>,
}

impl Convert {
    /// Whether a conversion was requested.
    pub fn is_some(&self) -> bool {
        [&self.hex_to_escaped, &self.escaped_to_hex, &self.decode, &self.encode]
            .into_iter()
            .any(Option::is_some)
    }
}

/// Runs the requested conversion; clap lets one be given at most.
pub fn run(convert: &Convert, out: &mut Output<'_>) -> Result<()> {
    if let Some(text) = &convert.hex_to_escaped {
        print(escape(&hex(text)?), out)?;
    }
    if let Some(text) = &convert.escaped_to_hex {
        print(hex_upper(&escaped(text)?), out)?;
    }
    if let Some(text) = &convert.encode {
        print(hex_upper(&codec::encode_bytes(&escaped(text)?)), out)?;
    }
    convert.decode.as_deref().map_or(Ok(()), |text| decode(text, out))
}

fn print(key: String, out: &mut Output<'_>) -> Result<()> {
    out.either(|| key.clone(), || json!({ "key": key }))
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
