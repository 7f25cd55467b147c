//! `ldb manifest_dump`: prints the levels and files that a MANIFEST results in.
use std::path::Path;

use keys::hex_upper;
use serde_json::json;

use super::options::ParsedArgs;
use crate::{
    Error, Result,
    cli::Global,
    commands::{files, open::load_keys_around},
    encryption::Keyring,
    lsm::{
        FileMeta, InternalKey,
        manifest::{FamilyState, VersionState, read_file},
        read_manifest,
    },
    print::output::Output,
};

/// Reads a MANIFEST, or the one that a directory's CURRENT names, and replays it; reports damage. Also returns
/// the keys of encrypted files.
pub fn read(path: &Path, global: &Global, out: &mut Output<'_>) -> Result<(Keyring, VersionState)> {
    let (keyring, _) = load_keys_around(path, global, out)?;
    let state = if path.is_dir() { read_manifest(path, &keyring)? } else { read_file(path, &keyring)? };
    state.warnings.iter().for_each(|warning| out.note(&format!("warning: {warning}")));
    Ok((keyring, state))
}

/// Prints the whole state, or one file of it.
pub fn run(path: &Path, given: &ParsedArgs, global: &Global, out: &mut Output<'_>) -> Result<()> {
    if given.has("verbose") {
        let (keyring, _) = load_keys_around(path, global, out)?;
        return files::manifest(path, &keyring, out);
    }
    let (_, state) = read(path, global, out)?;
    let hex = given.has("hex");
    if let Some(number) = given.number("sst_file_number")? {
        return one(&state, number, hex, out);
    }
    if out.is_json() {
        let families = state.families.iter().map(|(id, family)| {
            json!({ "id": id, "name": family.name, "log_number": family.log_number,
                    "comparator": family.comparator, "files": family.files.values().map(file_json).collect::<Vec<_>>() })
        });
        return out.json(&families.collect::<Vec<_>>());
    }
    for (id, family) in &state.families {
        out.line(format!("--------------- Column family \"{}\"  (ID {id}) --------------", family.name))?;
        out.line(format!("log number: {}\ncomparator: {}", family.log_number, family.comparator))?;
        let last = family.files.values().map(|file| file.level).max().unwrap_or(0);
        for level in 0..=last.max(6) {
            out.line(format!("--- level {level} ---"))?;
            for file in family.files.values().filter(|file| file.level == level) {
                out.line(format!(" {}", file_text(file, hex)))?;
            }
        }
    }
    Ok(())
}

fn file_json(file: &FileMeta) -> serde_json::Value {
    json!({ "number": file.number, "level": file.level, "size": file.size,
            "smallest": hex_upper(&file.smallest), "largest": hex_upper(&file.largest) })
}

/// Formats a file as RocksDB prints it: number, size, sequence numbers and bounds.
fn file_text(file: &FileMeta, hex: bool) -> String {
    let shown = |key: &[u8]| if hex { hex_upper(key) } else { keys::escape(key) };
    let bound = |encoded: &[u8]| match InternalKey::decode(encoded) {
        Some(key) => {
            format!("'{}' seq:{}, type:{}", shown(key.user_key), key.sequence(), key.value_type().to_u8())
        }
        None => format!("'{}'", shown(encoded)),
    };
    format!(
        "{}:{}[{} .. {}][{} .. {}]",
        file.number,
        file.size,
        file.smallest_seqno,
        file.largest_seqno,
        bound(&file.smallest),
        bound(&file.largest)
    )
}

/// Returns the file with this number, its column family and that family's id.
pub fn find(state: &VersionState, number: u64) -> Option<(u32, &FamilyState, &FileMeta)> {
    state.families.iter().find_map(|(id, family)| Some((*id, family, family.files.get(&number)?)))
}

fn one(state: &VersionState, number: u64, hex: bool, out: &mut Output<'_>) -> Result<()> {
    let Some((id, family, file)) = find(state, number) else {
        let path = state.path.display();
        return Err(Error::other(format!("{path}: expected the live SST {number}, found none")));
    };
    let text = file_text(file, hex);
    out.either(
        || format!("{text} at level {} for Column family {:?}  (ID {id})", file.level, family.name),
        || {
            let mut object = file_json(file);
            object["cf"] = json!(family.name);
            object
        },
    )
}
