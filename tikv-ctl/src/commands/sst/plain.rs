//! `sst PATH` of a snapshot's lock file (`..._lock.sst`), which despite its extension is not an SST.
use std::path::Path;

use keys::hex_upper;
use serde_json::json;
use store_files::io::read_whole;

use crate::{
    Error, Result,
    commands::data::key_json,
    encryption::Keyring,
    print::{line::Line, output::Output},
    snapshot::LockFile,
};

/// Magic numbers at the end of SSTs: a file that has one is an SST under any name.
const SST_MAGICS: [u64; 2] = [0x88e2_41b7_85f4_cff7, 0xdb47_7524_8b80_fb57];

/// Whether `path` has the name of a snapshot's lock file.
pub fn is_named_so(path: &Path) -> bool {
    let name = path.file_stem().and_then(|name| name.to_str()).unwrap_or_default();
    let name = name.trim_end_matches(|c: char| c.is_ascii_digit()).trim_end_matches('_');
    name.ends_with("_lock") && path.extension().is_some_and(|extension| extension == "sst")
}

/// Prints the pairs of `path`; returns `false` and prints nothing if it is an SST after all.
pub fn run(path: &Path, keyring: &Keyring, out: &mut Output<'_>) -> Result<bool> {
    let bytes = read_whole(path, keyring)?;
    let magic = bytes.last_chunk::<8>().map(|magic| u64::from_le_bytes(*magic));
    if magic.is_some_and(|magic| SST_MAGICS.contains(&magic)) {
        return Ok(false);
    }
    let pairs = LockFile::new(&bytes);
    let damage = if out.is_json() {
        let mut list = out.list();
        let (_, damage) = write(pairs, |key, value| {
            let mut object = key_json(key);
            object["value"] = json!(hex_upper(value));
            list.push(out, &object)
        })?;
        list.end(out)?;
        damage
    } else {
        let mut text = Line::default();
        let (count, damage) = write(pairs, |key, value| {
            text.clear();
            text.push(b"'");
            text.escaped(key);
            text.push(b"' => ");
            text.escaped(value);
            text.push(b"\n");
            out.bytes(text.as_bytes())
        })?;
        out.line(format!("\nTotal keys: {count}"))?;
        damage
    };
    match damage {
        None => Ok(true),
        Some((at, what)) => Err(Error::other(format!(
            "{} at byte {at} of {}: {what}; take the snapshot again from its sender",
            path.display(),
            bytes.len()
        ))),
    }
}

fn write(
    pairs: LockFile<'_>,
    mut add: impl FnMut(&[u8], &[u8]) -> Result<()>,
) -> Result<(u64, Option<(usize, &'static str)>)> {
    let mut count = 0;
    for pair in pairs {
        match pair {
            Ok((key, value)) => add(key, value)?,
            Err(damage) => return Ok((count, Some(damage))),
        }
        count += 1;
    }
    Ok((count, None))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lock_files_are_known_by_their_names() {
        assert!(
            is_named_so(Path::new("/s/gen_1_6_7_lock.sst"))
                && is_named_so(Path::new("rev_1_6_7_lock_0001.sst"))
        );
        assert!(!is_named_so(Path::new("000012.sst")));
    }
}
