//! The state of a database whose CURRENT or MANIFEST is lost, rebuilt from the SSTs in its directory.
use std::{path::Path, sync::Arc};

use super::{
    format::{COMPARATOR, manifests, tables},
    manifest::{self, FamilyState, FileMeta, VersionState},
    options,
    table::Table,
};
use crate::{
    encryption::Keyring,
    io::{Context, FileError, Result},
};

/// The sequence number and type of a key bound that includes all versions.
const ANY_VERSION: [u8; 8] = [0xff; 8];

/// Whether `dir` has SSTs and so may be a database without its CURRENT.
pub fn has_tables(dir: &Path) -> bool {
    tables(dir).is_ok_and(|tables| !tables.is_empty())
}

/// Reads the state of `dir` from its MANIFEST. If that fails, adds the damage and reads it as [`state`] does.
pub fn read(dir: &Path, keyring: &Keyring) -> Result<VersionState> {
    manifest::read(dir, keyring).or_else(|e| state(dir, &e, &[], keyring))
}

/// Reads the state of `dir` after CURRENT and the MANIFEST failed with `why`: from the newest readable
/// MANIFEST that has the column families `needed`, otherwise from the SSTs.
///
/// # Errors
/// `why`, if neither is possible.
pub fn state(dir: &Path, why: &FileError, needed: &[&str], keyring: &Keyring) -> Result<VersionState> {
    let manifests = manifests(dir)?;
    for (_, path) in manifests.iter().rev() {
        if let Ok(mut state) =
            manifest::read_file(path, keyring).and_then(|state| state.with_families(needed))
        {
            state.report_unknown_ssts(dir);
            let more = format!("read from {} instead, the newest readable MANIFEST", path.display());
            state.damages.push(why.clone().context(Context::More(&more)).into());
            return Ok(state);
        }
    }
    from_tables(dir, why, keyring)?.with_families(needed).map_err(|_| why.clone())
}

fn from_tables(dir: &Path, why: &FileError, keyring: &Keyring) -> Result<VersionState> {
    let tables = tables(dir)?;
    if tables.is_empty() {
        return Err(why.clone());
    }
    let mut state = VersionState { path: dir.to_owned(), ..Default::default() };
    for (id, name) in options::families(dir, keyring).into_iter().enumerate() {
        state.families.insert(id as u32, family(name));
    }
    let mut read = 0;
    for (number, path) in &tables {
        match describe(*number, path, keyring) {
            Ok((id, name, file)) => {
                state.families.entry(id).or_insert_with(|| family(name)).files.insert(*number, file);
                read += 1;
            }
            Err(e) => state.damages.push(e.context(Context::More("the file is skipped")).into()),
        }
    }
    if read == 0 {
        return Err(why.clone());
    }
    let more = format!(
        "read from the {read} SSTs of the directory instead. Levels are unknown, and files that a compaction had \
         replaced may bring back deleted keys"
    );
    state.damages.insert(0, why.clone().context(Context::More(&more)).into());
    Ok(state)
}

fn family(name: String) -> FamilyState {
    FamilyState { name, comparator: COMPARATOR.into(), ..Default::default() }
}

/// Reads the SST at `path`. Returns its column family's id and name, and its description for a MANIFEST.
fn describe(number: u64, path: &Path, keyring: &Keyring) -> Result<(u32, String, FileMeta)> {
    let table = Arc::new(Table::open(path, keyring)?);
    let properties = table.properties();
    let id = properties.number("rocksdb.column.family.id").and_then(|id| id.try_into().ok()).unwrap_or(0);
    let name = properties.text("rocksdb.column.family.name").filter(|name| !name.is_empty());
    let index = table.index()?;
    let mut iter = table.iter()?;
    let first = match iter.advance() {
        Ok(true) => iter.key().user_key.to_vec(),
        // The first block is damaged, so the first key is unknown.
        _ => Vec::new(),
    };
    let mut last = index.len().checked_sub(1).map_or(Vec::new(), |at| index.separator(at).to_vec());
    let mut smallest = first;
    for (start, end, _) in table.range_deletions().unwrap_or_default() {
        smallest = smallest.min(start);
        last = last.max(end);
    }
    let bound = |key: Vec<u8>| [key, ANY_VERSION.to_vec()].concat();
    let file = FileMeta {
        level: 0,
        number,
        size: table.file().size(),
        smallest: bound(smallest),
        largest: bound(last),
        ..Default::default()
    };
    Ok((id, name.unwrap_or_else(|| "default".into()), file))
}
