//! CURRENT and MANIFEST: the SSTs and logs of the database. CURRENT names the MANIFEST, a log (see
//! [`super::log`]) whose records are version edits (RocksDB `db/version_edit.cc`). A version edit is a
//! sequence of tags and fields:
//!
//! ```text
//! tag (varint)   fields: v varint, s varint length and as many bytes
//! 1              s name of the comparator
//! 2              v number of the family's oldest log
//! 3              v next file number
//! 4              v last sequence number
//! 5              v level, s key of the last compaction; skipped
//! 6              v level, v number of a deleted SST
//! 7              v level, v number, v bytes, s smallest key, s largest key of a new SST
//! 9, 203         v skipped
//! 10             v number of the oldest log
//! 100            as 7, then v smallest and v largest sequence number
//! 102            as 100, with v path after the number
//! 103            as 100, then pairs of v tag and s value, ended by tag 1: 12 unique id, 13 epoch number
//! 200            v id of the column family of this edit
//! 201            s name of a new column family
//! 202            the column family is dropped
//! 300            v number of further edits in the atomic group
//! 400, 401       blob files; skipped
//! 8192 and up    bit 13 is set: skipped if unknown
//! ```
use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::{Path, PathBuf},
};

use super::{
    format::tables,
    log::{LogReader, Record},
};
use crate::{
    encryption::Keyring,
    io::{Cursor, Damage, FileError, Result, read_whole},
};

const SAFE_TO_IGNORE: u32 = 1 << 13;
const EPOCH_NUMBER: u32 = 13;
const FILE_TAG_UNSAFE: u32 = 1 << 6;
const UNIQUE_ID: u32 = 12;

/// An SST as the MANIFEST describes it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileMeta {
    /// Level.
    pub level: u32,
    /// File number, which is also the file's name.
    pub number: u64,
    /// Size in bytes.
    pub size: u64,
    /// The smallest key, an encoded internal key.
    pub smallest: Vec<u8>,
    /// The largest key, an encoded internal key.
    pub largest: Vec<u8>,
    /// The smallest sequence number.
    pub smallest_seqno: u64,
    /// The largest sequence number.
    pub largest_seqno: u64,
    /// Age of the data: greater is newer; 0 if the MANIFEST does not say.
    pub epoch: u64,
    /// First 8 bytes of the unique id, which identify the session that wrote the file.
    pub session: Option<u64>,
}

/// A column family's current state.
#[derive(Clone, Debug, Default)]
pub struct FamilyState {
    /// Name.
    pub name: String,
    /// Number of the oldest log with changes that are not in the family's SSTs.
    pub log_number: u64,
    /// Name of the order of keys.
    pub comparator: String,
    /// SSTs by file number.
    pub files: BTreeMap<u64, FileMeta>,
}

/// The state after all edits of the MANIFEST.
#[derive(Clone, Debug, Default)]
pub struct VersionState {
    /// Path of the MANIFEST.
    pub path: PathBuf,
    /// Column families by id.
    pub families: BTreeMap<u32, FamilyState>,
    /// The last sequence number.
    pub last_sequence: u64,
    /// The next file number.
    pub next_file: u64,
    /// Number of the oldest log with changes that are not in SSTs.
    pub min_log: u64,
    /// Size of the MANIFEST in bytes when it was read.
    pub manifest_len: u64,
    /// Offset of the last version edit, if it is incomplete.
    pub torn_at: Option<u64>,
    /// Anomalies that lose no data, or need not.
    pub warnings: Vec<String>,
    /// Damage in spite of which the state was read.
    pub damages: Vec<Damage>,
}

/// A version edit: the changes of a record of the MANIFEST.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Edit {
    /// Id of the column family.
    pub family: u32,
    /// Creates the family with this name.
    pub add: Option<String>,
    /// Drops the family.
    pub drop: bool,
    /// Number of the oldest log that the family needs.
    pub log_number: Option<u64>,
    /// The next file number.
    pub next_file: Option<u64>,
    /// The last sequence number.
    pub last_sequence: Option<u64>,
    /// Number of the oldest log that any family needs.
    pub min_log: Option<u64>,
    /// Name of the order of keys.
    pub comparator: Option<String>,
    /// Number of further edits in the atomic group.
    pub atomic_rest: Option<u32>,
    /// Levels and numbers of removed SSTs.
    pub deleted: Vec<(u32, u64)>,
    /// New SSTs.
    pub added: Vec<FileMeta>,
}

/// Number of characters of a damaged CURRENT in an error.
const MAX_SHOWN: usize = 40;

/// Reads CURRENT and the MANIFEST it names.
pub fn read(dir: &Path, keyring: &Keyring) -> Result<VersionState> {
    let current = dir.join("CURRENT");
    let bytes = read_whole(&current, keyring)?;
    let text = String::from_utf8_lossy(&bytes);
    let name = text.trim_end_matches('\n');
    if !name.starts_with("MANIFEST-") || name.contains('/') || text == name {
        let shown: String = text.chars().take(MAX_SHOWN).collect();
        let rest = if shown.len() < text.len() {
            format!(" and more, {} bytes", bytes.len())
        } else {
            String::new()
        };
        let what = format!("expected MANIFEST-<number> and a line end, found {shown:?}{rest}");
        return Err(FileError::corrupt(current, 0, what));
    }
    let mut state = read_file(&dir.join(name), keyring).map_err(|e| match e {
        FileError::Io { path, source } if source.kind() == io::ErrorKind::NotFound => {
            let what = format!("{source}, although {} at byte 0 names this file", current.display());
            FileError::Io { path, source: io::Error::new(io::ErrorKind::NotFound, what) }
        }
        e => e,
    })?;
    state.report_unknown_ssts(dir);
    Ok(state)
}

/// Reads the MANIFEST at `path`.
pub fn read_file(path: &Path, keyring: &Keyring) -> Result<VersionState> {
    let data = read_whole(path, keyring)?;
    replay(path.to_owned(), &data)
}

/// Applies all edits of the MANIFEST `data`; errors name it `path`.
pub fn replay(path: PathBuf, data: &[u8]) -> Result<VersionState> {
    let mut state =
        VersionState { path: path.clone(), manifest_len: data.len() as u64, ..Default::default() };
    state.families.insert(0, FamilyState { name: "default".into(), ..Default::default() });
    let mut reader = LogReader::new(data, 0);
    let mut group = Vec::new();
    loop {
        match reader.next_record() {
            Record::End => {
                let (offset, torn) = (reader.offset(), reader.is_torn());
                // A damaged length looks like a torn write at the end, but whole records follow it.
                if reader.resync() {
                    let what = format!(
                        "expected the end of the file after an incomplete version edit, found a whole one at byte {}: the \
                         length of the edit here is damaged",
                        reader.offset()
                    );
                    return Err(FileError::corrupt(path, offset, what));
                }
                state.torn_at = torn.then_some(offset);
                break;
            }
            Record::Corrupt { offset, what } => return Err(FileError::corrupt(path, offset, what)),
            Record::Data { offset, data } => {
                let edit = parse(&data).ok_or_else(|| {
                    let what =
                        "a version edit does not decode: the file is damaged, or a newer RocksDB wrote it";
                    FileError::corrupt(&path, offset, what)
                })?;
                let last = edit.atomic_rest.unwrap_or(0) == 0;
                group.push(edit);
                // An atomic group counts only if it is complete.
                if last {
                    group.drain(..).for_each(|edit| state.apply(edit));
                }
            }
        }
    }
    if state.families.values().all(|family| family.comparator.is_empty()) {
        let what = "expected a version edit with a comparator, found none: the file is empty or truncated";
        return Err(FileError::corrupt(path, 0, what));
    }
    state.families.retain(|_, family| !family.name.is_empty());
    Ok(state)
}

impl VersionState {
    /// Number of the oldest log that is replayed.
    pub fn oldest_log(&self) -> u64 {
        let of_families = self.families.values().map(|family| family.log_number).min().unwrap_or(0);
        of_families.max(self.min_log)
    }

    /// Checks that the state has the column families `needed`.
    pub fn with_families(self, needed: &[&str]) -> Result<VersionState> {
        let has = |name: &str| self.families.values().any(|family| family.name == name);
        match needed.iter().find(|name| !has(name)) {
            Some(name) => {
                let what = format!(
                    "expected a version edit that creates column family {name}, found none up to here: the file was \
                     truncated, or it is another program's"
                );
                Err(FileError::corrupt(self.path, self.manifest_len, what))
            }
            None => Ok(self),
        }
    }

    /// If the MANIFEST ends within an edit, reports the SSTs of `dir` that no whole edit names.
    pub(super) fn report_unknown_ssts(&mut self, dir: &Path) {
        let Some(offset) = self.torn_at else { return };
        let known: BTreeSet<u64> =
            self.families.values().flat_map(|family| family.files.keys().copied()).collect();
        let found = tables(dir).unwrap_or_default().into_iter().filter(|(number, _)| !known.contains(number));
        let unknown: Vec<String> = found.map(|(number, _)| format!("{number:06}.sst")).collect();
        let what =
            format!("the last version edit is incomplete, the file ends at byte {}", self.manifest_len);
        if unknown.is_empty() {
            let path = self.path.display();
            self.warnings.push(format!(
                "{path} at byte {offset}: {what}; the other edits name every SST of the directory"
            ));
        } else {
            let what = format!(
                "{what}; no whole edit names {}: these SSTs are not read, and their data may not be in a log",
                unknown.join(", ")
            );
            self.damages.push(Damage::at(&self.path, offset, what));
        }
    }

    /// Applies `edit` to the state.
    pub fn apply(&mut self, edit: Edit) {
        self.last_sequence = edit.last_sequence.unwrap_or(self.last_sequence);
        self.next_file = edit.next_file.unwrap_or(self.next_file).max(self.next_file);
        self.min_log = edit.min_log.unwrap_or(self.min_log).max(self.min_log);
        if edit.drop {
            self.families.remove(&edit.family);
            return;
        }
        let family = self.families.entry(edit.family).or_default();
        if let Some(name) = edit.add {
            family.name = name;
        }
        if let Some(number) = edit.log_number {
            family.log_number = family.log_number.max(number);
        }
        if let Some(comparator) = edit.comparator {
            family.comparator = comparator;
        }
        // An edit that moves a file to another level deletes and adds it.
        for (_, number) in edit.deleted {
            family.files.remove(&number);
        }
        family.files.extend(edit.added.into_iter().map(|file| (file.number, file)));
    }
}

/// Decodes a version edit. Returns `None` if it is damaged or has an unknown tag that must not be ignored.
pub fn parse(record: &[u8]) -> Option<Edit> {
    let mut cursor = Cursor::new(record);
    let mut edit = Edit::default();
    while !cursor.is_empty() {
        let tag = cursor.varint32()?;
        field(tag, &mut cursor, &mut edit)?;
    }
    Some(edit)
}

fn field(tag: u32, cursor: &mut Cursor<'_>, edit: &mut Edit) -> Option<()> {
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    match tag {
        1 => edit.comparator = Some(text(cursor.slice()?)),
        2 => edit.log_number = Some(cursor.varint()?),
        4 => edit.last_sequence = Some(cursor.varint()?),
        3 => edit.next_file = Some(cursor.varint()?),
        10 => edit.min_log = Some(cursor.varint()?),
        // A reader does not need the previous log and the greatest family id.
        9 | 203 => drop(cursor.varint()?),
        5 => drop((cursor.varint32()?, cursor.slice()?)),
        6 => {
            edit.deleted.push((cursor.varint32()?, cursor.varint()?));
        }
        7 | 100 | 102 | 103 => edit.added.push(new_file(tag, cursor)?),
        200 => edit.family = cursor.varint32()?,
        201 => edit.add = Some(text(cursor.slice()?)),
        202 => edit.drop = true,
        300 => edit.atomic_rest = Some(cursor.varint32()?),
        400 | 401 => return blob_file(tag, cursor),
        // An added WAL, whose fields have no length before them.
        t if t == SAFE_TO_IGNORE + 4 => {
            cursor.varint()?;
            while cursor.varint32()? != 1 {
                cursor.varint()?;
            }
        }
        t if t == SAFE_TO_IGNORE + 5 => drop(cursor.varint()?),
        t if t & SAFE_TO_IGNORE != 0 => drop(cursor.slice()?),
        _ => return None,
    }
    Some(())
}

fn new_file(tag: u32, cursor: &mut Cursor<'_>) -> Option<FileMeta> {
    let mut file = FileMeta { level: cursor.varint32()?, number: cursor.varint()?, ..Default::default() };
    if tag == 102 {
        cursor.varint32()?;
    }
    file.size = cursor.varint()?;
    file.smallest = cursor.slice()?.to_vec();
    file.largest = cursor.slice()?.to_vec();
    if tag != 7 {
        file.smallest_seqno = cursor.varint()?;
        file.largest_seqno = cursor.varint()?;
    }
    if tag == 103 {
        loop {
            let custom = cursor.varint32()?;
            if custom == 1 {
                break;
            }
            let value = cursor.slice()?;
            if custom == EPOCH_NUMBER {
                file.epoch = Cursor::new(value).varint().unwrap_or_default();
            }
            if custom == UNIQUE_ID {
                file.session = value.first_chunk().map(|number| u64::from_le_bytes(*number));
            }
            // A file with another path than the first is not in this directory.
            if custom & FILE_TAG_UNSAFE != 0 && value != [0] {
                return None;
            }
        }
    }
    let keys_fit = file.smallest.len() >= 8 && file.largest.len() >= 8;
    keys_fit.then_some(file)
}

fn blob_file(tag: u32, cursor: &mut Cursor<'_>) -> Option<()> {
    for _ in 0..3 {
        cursor.varint()?;
    }
    if tag == 400 {
        cursor.slice()?;
        cursor.slice()?;
    }
    while cursor.varint32()? != 0 {
        cursor.slice()?;
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_damaged_current_is_shown_in_part() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("CURRENT"), [0; 4096]).unwrap();
        let error = read(dir.path(), &Keyring::default()).unwrap_err().to_string();
        assert!(error.contains("and more, 4096 bytes") && error.len() < 400, "{error}");
    }
}
