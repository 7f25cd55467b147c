//! The lock file of a snapshot (`..._lock.sst`): pairs of keys and values one behind the other, and no SST for its name
//! (TiKV `store::snap::io::build_plain_cf_file`).

use std::path::Path;

use keys::{codec, hex_upper};
use serde_json::json;

use crate::{Error, Result, commands::data::key_json, line::Line, lsm::read_whole, output::Output};

/// The magic numbers that end SSTs; what has one is an SST by whatever name.
const SST_MAGICS: [u64; 2] = [0x88e2_41b7_85f4_cff7, 0xdb47_7524_8b80_fb57];

/// Whether `path` is named as a snapshot's lock file.
pub fn is_named_so(path: &Path) -> bool {
    let name = path.file_stem().and_then(|name| name.to_str()).unwrap_or_default();
    let name = name.trim_end_matches(|c: char| c.is_ascii_digit()).trim_end_matches('_');
    name.ends_with("_lock") && path.extension().is_some_and(|extension| extension == "sst")
}

/// Prints the pairs of `path`; `false`, and nothing is printed, when it is an SST after all.
pub fn run(path: &Path, out: &mut Output<'_>) -> Result<bool> {
    let bytes = read_whole(path)?;
    let magic = bytes.last_chunk::<8>().map(|magic| u64::from_le_bytes(*magic));
    if magic.is_some_and(|magic| SST_MAGICS.contains(&magic)) {
        return Ok(false);
    }
    let (pairs, damage) = parse(&bytes);
    if out.is_json() {
        let row = |(key, value): &(&[u8], &[u8])| {
            let mut object = key_json(key);
            object["value"] = json!(hex_upper(value));
            object
        };
        out.json(&pairs.iter().map(row).collect::<Vec<_>>())?;
    } else {
        let mut text = Line::default();
        for (key, value) in &pairs {
            text.push(b"'");
            text.escaped(key);
            text.push(b"' => ");
            text.escaped(value);
            text.push(b"\n");
        }
        out.bytes(text.as_bytes())?;
        out.line(format!("\nTotal keys: {}", pairs.len()))?;
    }
    match damage {
        None => Ok(true),
        Some((at, what)) => Err(Error::other(format!(
            "{} at byte {at} of {}: {what}; take the snapshot again from its sender",
            path.display(),
            bytes.len()
        ))),
    }
}

type Pair<'a> = (&'a [u8], &'a [u8]);

/// The pairs, and where and why they end too early.
fn parse(bytes: &[u8]) -> (Vec<Pair<'_>>, Option<(usize, &'static str)>) {
    let (mut rest, mut pairs) = (bytes, Vec::new());
    loop {
        let at = bytes.len() - rest.len();
        match codec::decode_compact_bytes(&mut rest) {
            Ok([]) if rest.is_empty() => return (pairs, None),
            Ok([]) => {
                return (pairs, Some((at, "the end of a snapshot's lock file, met with bytes behind it")));
            }
            Ok(key) => match codec::decode_compact_bytes(&mut rest) {
                Ok(value) => pairs.push((key, value)),
                Err(_) => {
                    return (
                        pairs,
                        Some((at, "a key and a value expected, the file ends within: it was cut short")),
                    );
                }
            },
            Err(_) => {
                return (pairs, Some((at, "a key or the end expected, the file ends: it was cut short")));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pairs_end_with_an_empty_key() {
        let whole = [2, b'k', 4, b'v', b'w'].map(|b: u8| b);
        let file = [2, b'k', 4, b'v', b'w', 0];
        assert_eq!(parse(&file), (vec![(&b"k"[..], &b"vw"[..])], None));
        assert_eq!(parse(&whole).1.map(|(at, _)| at), Some(5));
        assert_eq!(parse(&file[..3]).1.map(|(at, _)| at), Some(0));
        assert_eq!(parse(&[0, 7]).1.map(|(at, _)| at), Some(0));
        assert!(
            is_named_so(Path::new("/s/gen_1_6_7_lock.sst"))
                && is_named_so(Path::new("rev_1_6_7_lock_0001.sst"))
        );
        assert!(!is_named_so(Path::new("000012.sst")));
    }
}
