//! What a database holds when its CURRENT or MANIFEST is lost: every SST that lies in the directory.

use std::{
    path::{Path, PathBuf},
    sync::Arc,
};

use super::{
    Error, Result, Table,
    manifest::{self, FamilyState, FileMeta, VersionState},
    options,
};

/// The sequence number and type behind a key that stands for any version of it.
const ANY_VERSION: [u8; 8] = [0xff; 8];

/// Whether `dir` has SSTs, and so may be a database without its CURRENT.
pub fn has_tables(dir: &Path) -> bool {
    tables(dir).is_ok_and(|tables| !tables.is_empty())
}

/// Numbers and paths of the SSTs in `dir`.
pub(super) fn tables(dir: &Path) -> Result<Vec<(u64, PathBuf)>> {
    numbered(dir, |name| name.strip_suffix(".sst")?.parse().ok())
}

/// Files of `dir` whose names `number` knows, in the order of their numbers.
fn numbered(dir: &Path, number: impl Fn(&str) -> Option<u64>) -> Result<Vec<(u64, PathBuf)>> {
    let io = |source| Error::Io { path: dir.to_owned(), source };
    let mut files = Vec::new();
    for entry in std::fs::read_dir(dir).map_err(io)? {
        let path = entry.map_err(io)?.path();
        if let Some(number) = path.file_name().and_then(|name| name.to_str()).and_then(&number) {
            files.push((number, path));
        }
    }
    files.sort();
    Ok(files)
}

/// The state of `dir` by its MANIFEST or, with the damage in it, by what else there is.
pub fn read(dir: &Path) -> Result<VersionState> {
    manifest::read(dir).or_else(|e| state(dir, &e, &[]))
}

/// The state of `dir`, where reading CURRENT and the MANIFEST failed with `why`: from the newest MANIFEST that can be
/// read and has the families `needed`, or from the SSTs themselves. Fails with `why` when there is neither.
pub fn state(dir: &Path, why: &Error, needed: &[&str]) -> Result<VersionState> {
    let manifests = numbered(dir, |name| name.strip_prefix("MANIFEST-")?.parse().ok())?;
    for (_, path) in manifests.iter().rev() {
        if let Ok(mut state) = manifest::read_file(path).and_then(|state| state.with_families(needed)) {
            state.tell_unknown(dir);
            let more = format!("read from {} instead, the newest there is", path.display());
            state.damages.push(why.clone().in_full(&more));
            return Ok(state);
        }
    }
    from_tables(dir, why)?.with_families(needed).map_err(|_| why.clone())
}

fn from_tables(dir: &Path, why: &Error) -> Result<VersionState> {
    let tables = tables(dir)?;
    if tables.is_empty() {
        return Err(why.clone());
    }
    let mut state = VersionState { path: dir.to_owned(), ..Default::default() };
    for (id, name) in options::families(dir).into_iter().enumerate() {
        state.families.insert(id as u32, family(name));
    }
    let mut read = 0;
    for (number, path) in &tables {
        match describe(*number, path) {
            Ok((id, name, file)) => {
                state.families.entry(id).or_insert_with(|| family(name)).files.insert(*number, file);
                read += 1;
            }
            Err(e) => state.damages.push(e.also("it is left out")),
        }
    }
    if read == 0 {
        return Err(why.clone());
    }
    let more = format!(
        "read from the {read} SSTs of the directory instead. Levels are not known, and files that a compaction had \
         replaced may bring back what was deleted"
    );
    state.damages.insert(0, why.clone().in_full(&more));
    Ok(state)
}

fn family(name: String) -> FamilyState {
    FamilyState { name, comparator: "leveldb.BytewiseComparator".into(), ..Default::default() }
}

/// Id and name of the column family of the SST at `path`, and what a MANIFEST would say of it.
fn describe(number: u64, path: &Path) -> Result<(u32, String, FileMeta)> {
    let table = Arc::new(Table::open(path)?);
    let properties = table.properties();
    let id = properties.number("rocksdb.column.family.id").and_then(|id| id.try_into().ok()).unwrap_or(0);
    let name = properties.text("rocksdb.column.family.name").filter(|name| !name.is_empty());
    let index = table.index()?;
    let mut iter = table.iter()?;
    let first = match iter.advance() {
        Ok(true) => iter.key().user_key.to_vec(),
        // A damaged first block: nothing is known of where the keys begin.
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
