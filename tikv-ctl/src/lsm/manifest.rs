//! CURRENT and MANIFEST: which SST files and logs make up the database.

use std::{
    collections::{BTreeMap, BTreeSet},
    io,
    path::{Path, PathBuf},
};

use super::{
    Cursor, Error, Result,
    file::read_whole,
    log::{LogReader, Record},
    rescue::tables,
};

const SAFE_TO_IGNORE: u32 = 1 << 13;
const EPOCH_NUMBER: u32 = 13;
const FILE_TAG_UNSAFE: u32 = 1 << 6;
const UNIQUE_ID: u32 = 12;

/// An SST as the MANIFEST tells of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileMeta {
    /// Its level.
    pub level: u32,
    /// Its number, which is its name.
    pub number: u64,
    /// Bytes.
    pub size: u64,
    /// The least key; an encoded internal key.
    pub smallest: Vec<u8>,
    /// The greatest key; an encoded internal key.
    pub largest: Vec<u8>,
    /// The least sequence number.
    pub smallest_seqno: u64,
    /// The greatest sequence number.
    pub largest_seqno: u64,
    /// How new its data is: greater for newer; 0 where it is not told.
    pub epoch: u64,
    /// The session that wrote it, by the number that its unique id begins with.
    pub session: Option<u64>,
}

/// A column family's current state.
#[derive(Clone, Debug, Default)]
pub struct FamilyState {
    /// Its name.
    pub name: String,
    /// Logs below this number hold nothing of this family that is not in its SSTs.
    pub log_number: u64,
    /// The order of its keys.
    pub comparator: String,
    /// By file number.
    pub files: BTreeMap<u64, FileMeta>,
}

/// What the MANIFEST says in the end.
#[derive(Clone, Debug, Default)]
pub struct VersionState {
    /// The MANIFEST.
    pub path: PathBuf,
    /// By column family id.
    pub families: BTreeMap<u32, FamilyState>,
    /// The greatest sequence number.
    pub last_sequence: u64,
    /// The next number of a file.
    pub next_file: u64,
    /// Logs below this number hold nothing that is not in SSTs.
    pub min_log: u64,
    /// Bytes of the MANIFEST that were there to read.
    pub manifest_len: u64,
    /// Where its last version edit begins, if that is not whole.
    pub torn_at: Option<u64>,
    /// What was wrong but is no loss, or need be none.
    pub warnings: Vec<String>,
    /// What was wrong and could be read around.
    pub damages: Vec<Error>,
}

/// One version edit: what a record of the MANIFEST changes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Edit {
    /// The column family's id.
    pub family: u32,
    /// Makes the family, by this name.
    pub add: Option<String>,
    /// Drops the family.
    pub drop: bool,
    /// Logs below this number are of no use to the family any more.
    pub log_number: Option<u64>,
    /// The next number of a file.
    pub next_file: Option<u64>,
    /// The greatest sequence number.
    pub last_sequence: Option<u64>,
    /// Logs below this number are of no use to any family.
    pub min_log: Option<u64>,
    /// The order of keys.
    pub comparator: Option<String>,
    /// How many edits of its atomic group follow.
    pub atomic_rest: Option<u32>,
    /// Levels and numbers of SSTs that go.
    pub deleted: Vec<(u32, u64)>,
    /// SSTs that come.
    pub added: Vec<FileMeta>,
}

/// Reads CURRENT and the MANIFEST it names.
pub fn read(dir: &Path) -> Result<VersionState> {
    let current = dir.join("CURRENT");
    let bytes = read_whole(&current)?;
    let text = String::from_utf8_lossy(&bytes);
    let name = text.trim_end_matches('\n');
    if !name.starts_with("MANIFEST-") || name.contains('/') || text == name {
        let what = format!("expected MANIFEST-<number> and a line end, met {text:?}");
        return Err(Error::Corruption { path: current, offset: 0, what });
    }
    let mut state = read_file(&dir.join(name)).map_err(|e| match e {
        Error::Io { path, source } if source.kind() == io::ErrorKind::NotFound => {
            let what = format!("{source}, though {} at byte 0 names it", current.display());
            Error::Io { path, source: io::Error::new(io::ErrorKind::NotFound, what) }
        }
        e => e,
    })?;
    state.tell_unknown(dir);
    Ok(state)
}

/// Reads the MANIFEST at `path`.
pub fn read_file(path: &Path) -> Result<VersionState> {
    let data = read_whole(path)?;
    replay(path.to_owned(), &data)
}

/// What the MANIFEST `data` adds up to; errors name it `path`.
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
                // A false length ends a file as a torn write does, but whole records follow.
                if reader.resync() {
                    let what = format!(
                        "it seems to end here, but a whole version edit is at byte {}",
                        reader.offset()
                    );
                    return Err(bad(&path, offset, what));
                }
                state.torn_at = torn.then_some(offset);
                break;
            }
            Record::Corrupt { offset, what } => return Err(Error::Corruption { path, offset, what }),
            Record::Data { offset, data } => {
                let edit = parse(&data)
                    .ok_or_else(|| bad(&path, offset, "a version edit that does not decode".into()))?;
                let last = edit.atomic_rest.unwrap_or(0) == 0;
                group.push(edit);
                // An atomic group counts only when its last edit is there.
                if last {
                    group.drain(..).for_each(|edit| state.apply(edit));
                }
            }
        }
    }
    if state.families.values().all(|family| family.comparator.is_empty()) {
        return Err(bad(
            &path,
            0,
            "no version edit names a comparator: the file is empty or cut short".into(),
        ));
    }
    state.families.retain(|_, family| !family.name.is_empty());
    Ok(state)
}

fn bad(path: &Path, offset: u64, what: String) -> Error {
    Error::Corruption { path: path.to_owned(), offset, what }
}

impl VersionState {
    /// The number of the oldest log that is replayed.
    pub fn oldest_log(&self) -> u64 {
        let of_families = self.families.values().map(|family| family.log_number).min().unwrap_or(0);
        of_families.max(self.min_log)
    }

    /// The same, if it has the column families `needed`.
    pub fn with_families(self, needed: &[&str]) -> Result<VersionState> {
        let has = |name: &str| self.families.values().any(|family| family.name == name);
        match needed.iter().find(|name| !has(name)) {
            Some(name) => {
                let what = format!(
                    "no version edit up to here makes column family {name}: the file was cut short, or this is another \
                     program's RocksDB"
                );
                Err(bad(&self.path, self.manifest_len, what))
            }
            None => Ok(self),
        }
    }

    /// Where the MANIFEST ends within an edit: tells which SSTs of `dir` no whole edit names.
    pub(super) fn tell_unknown(&mut self, dir: &Path) {
        let Some(offset) = self.torn_at else { return };
        let known: BTreeSet<u64> =
            self.families.values().flat_map(|family| family.files.keys().copied()).collect();
        let found = tables(dir).unwrap_or_default().into_iter().filter(|(number, _)| !known.contains(number));
        let unknown: Vec<String> = found.map(|(number, _)| format!("{number:06}.sst")).collect();
        let what = format!("the last version edit (of {} bytes in all) is not whole", self.manifest_len);
        if unknown.is_empty() {
            let path = self.path.display();
            self.warnings.push(format!(
                "{path} at byte {offset}: {what}; every SST that is here is known all the same"
            ));
        } else {
            let what = format!(
                "{what}; {} of this directory are in no whole edit: what they hold is not read, and may be in no log",
                unknown.join(", ")
            );
            self.damages.push(bad(&self.path, offset, what));
        }
    }

    /// Changes the state as `edit` says.
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
        // A file that moves to another level is deleted and added in one edit.
        for (_, number) in edit.deleted {
            family.files.remove(&number);
        }
        family.files.extend(edit.added.into_iter().map(|file| (file.number, file)));
    }
}

/// Decodes a record of the MANIFEST.
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
        // Previous log, greatest family: nothing that a reader needs.
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
        // Logs in the MANIFEST, in the form that has no length before it.
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
            // A path other than the first would have the file elsewhere.
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
